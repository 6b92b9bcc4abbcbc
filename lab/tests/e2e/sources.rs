//! Who says to be somebody that he is not (G15, G16): forged addresses, and devices that the
//! operator has pinned to their hardware.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::canary::{PATIENCE, answered, ways_out};
use pgw_lab::lab::eventually;
use pgw_lab::net::{C1, GATEWAY, GATEWAY_LAN, NOBODY, ORIGIN, STRANGER, UNUSED};
use pgw_lab::raw::{self, Packet};
use pgw_lab::rest::{AGENT, Mapped};
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command, netns};
use reqwest::Method;
use serde_json::json;
use tokio::net::UdpSocket;

crate::tests![
    a_forged_source_does_not_get_out,
    a_name_asked_for_by_nobody_is_not_looked_up,
    a_pinned_address_is_of_no_use_to_other_hardware,
    a_pinned_device_gains_nothing_by_another_address,
    the_hardware_that_could_be_pinned_is_shown,
];

fn datagram(source: Ipv4Addr, to: Ipv4Addr, port: u16, word: &str) -> Packet {
    Packet::udp(SocketAddrV4::new(source, 5000), SocketAddrV4::new(to, port), word.as_bytes())
}

/// The kernel's own check of sources is off, so that nothing but the rules stands in the way.
fn trust_every_source() -> Result<()> {
    for link in ["all", "ens19", "eth0"] {
        netns::sysctl(GATEWAY, &format!("net/ipv4/conf/{link}/rp_filter"), "0")?;
    }
    Ok(())
}

async fn counted(counter: &str) -> Result<u64> {
    let listed = command::ok(GATEWAY, &["nft", "list", "counter", "inet", "pgw_filter", counter]).await?;
    let mut words = listed.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1).and_then(|number| number.parse().ok()).with_context(|| listed.clone())
}

/// Whatever was sent before has passed or has been dropped when the stranger's packet is out.
async fn all_has_passed(lab: &Lab) -> Result<()> {
    let before = lab.leaks(STRANGER.name).await?.total();
    raw::send(STRANGER.name, &datagram(STRANGER.ip, ORIGIN, 9999, "last"))?;
    eventually("the stranger's packet is out", async || {
        Ok((lab.leaks(STRANGER.name).await?.total() > before).then_some(()))
    })
    .await
}

async fn a_forged_source_does_not_get_out(mut lab: Lab) -> Result<()> {
    trust_every_source()?;
    let forged = || {
        let tcp = Packet::tcp(SocketAddrV4::new(NOBODY, 5000), SocketAddrV4::new(ORIGIN, 80));
        [datagram(NOBODY, ORIGIN, 9999, "forged"), tcp, Packet::new(NOBODY, ORIGIN, 47, vec![0; 8])]
    };
    let send = || forged().iter().try_for_each(|packet| raw::send(C1.name, packet));
    send()?;
    all_has_passed(&lab).await?;
    let before = lab.leaks("nobody").await?;
    ensure!(before.total() == 3, "without pgw they get out: {before:?}");
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    send()?;
    all_has_passed(&lab).await?;
    let leaked = lab.leaks("nobody").await?.since(&before);
    ensure!(leaked.total() == 0, "forged packets got out: {leaked:?}");
    ensure!(counted("spoofed").await? == 3, "{} were counted", counted("spoofed").await?);
    Ok(())
}

async fn a_name_asked_for_by_nobody_is_not_looked_up(lab: Lab) -> Result<()> {
    trust_every_source()?;
    let resolver = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).await?;
    let leases = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).await?;
    let heard = async |socket: &UdpSocket| -> Result<String> {
        let mut word = [0; 32];
        let length = tokio::time::timeout(PATIENCE, socket.recv(&mut word)).await.context("silence")??;
        Ok(String::from_utf8_lossy(word.get(..length).unwrap_or_default()).into_owned())
    };
    let (nobody, everybody) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
    let questions = [datagram(NOBODY, GATEWAY_LAN, 53, "forged"), datagram(nobody, everybody, 53, "hidden")];
    for question in &questions {
        raw::send(C1.name, question)?;
        heard(&resolver).await.context("without pgw it is asked")?;
    }
    let ready = lab.gateway().await?;
    let mac = mac_of(C1.name).await?;
    ready.rest.post("/v1/clients", json!({ "name": "c1", "ip_cidr": C1.ip, "mac": mac })).await?;
    questions.iter().try_for_each(|question| raw::send(C1.name, question))?;
    raw::send(STRANGER.name, &datagram(STRANGER.ip, GATEWAY_LAN, 53, "the stranger's"))?;
    let first = heard(&resolver).await?;
    ensure!(first == "the stranger's", "the resolver of the gateway heard {first:?}");
    // Pinned, and without an address: it gets one.
    raw::send(C1.name, &datagram(nobody, everybody, 67, "discover"))?;
    let asked = heard(&leases).await?;
    ensure!(asked == "discover", "{asked:?}");
    Ok(())
}

async fn mac_of(ns: &str) -> Result<String> {
    let link = command::ok(ns, &["ip", "-o", "link", "show", "eth0"]).await?;
    let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).map(str::to_owned).with_context(|| link.clone())
}

async fn pin(ready: &pgw_lab::lab::Ready, mapping: &Mapped, mac: Option<&str>) -> Result<()> {
    let now = ready.rest.patch(&format!("/v1/clients/{}", mapping.client), json!({ "mac": mac })).await?;
    ensure!(now.get("mac") == Some(&json!(mac)), "{now}");
    Ok(())
}

/// Another card in the device, at the same address.
async fn change_hardware(mac: &str) -> Result<()> {
    command::ok(C1.name, &["ip", "link", "set", "dev", "eth0", "address", mac]).await?;
    command::ok(GATEWAY, &["ip", "neigh", "flush", "dev", "ens19"]).await.map(drop)
}

async fn a_pinned_address_is_of_no_use_to_other_hardware(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let upstream = Kind::Squid.ip().to_string();
    let (own, other) = (mac_of(C1.name).await?, "02:00:5e:10:00:77");
    let before = lab.leaks(C1.name).await?;
    for (hardware, pinned, open) in [
        (own.as_str(), Some(own.as_str()), true),
        (other, Some(own.as_str()), false),
        (other, None, true),
        (other, Some(other), true),
        (own.as_str(), Some(other), false),
    ] {
        change_hardware(hardware).await?;
        // The answer says that it holds: there is nothing to wait for.
        pin(&ready, &mapping, pinned).await?;
        let seen = lab.seen_as(C1, "http://origin/").await;
        let what = format!("{hardware} where {pinned:?} is pinned: {seen:?}");
        ensure!(seen.as_ref().ok() == open.then_some(&upstream), "{what}");
        if !open {
            let ways = answered(C1.name, &ways_out(), PATIENCE).await?;
            ensure!(ways.is_empty(), "{what}, and it got an answer from {ways:?}");
            ensure!(counted("impostor").await? > 0, "{what}, and nobody counted it");
        }
    }
    // Somebody beside the right device says to be it, to its forwarder and past it.
    pin(&ready, &mapping, Some(&own)).await?;
    let known = counted("impostor").await?;
    for port in [80, 8443] {
        let (from, to) = (SocketAddrV4::new(C1.ip, 5001), SocketAddrV4::new(ORIGIN, port));
        raw::send(STRANGER.name, &Packet::tcp(from, to))?;
    }
    all_has_passed(&lab).await?;
    ensure!(counted("impostor").await? == known + 2, "an impostor was let through");
    let leaked = lab.leaks(C1.name).await?.since(&before);
    ensure!(leaked.total() == 0, "packets left the gateway: {leaked:?}");
    Ok(())
}

async fn a_pinned_device_gains_nothing_by_another_address(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let own = mac_of(C1.name).await?;
    let before = lab.leaks("nobody").await?;
    for (pinned, out) in [(Some(own.as_str()), 0), (None, 1)] {
        pin(&ready, &mapping, pinned).await?;
        raw::send(C1.name, &datagram(UNUSED, ORIGIN, 9999, "as somebody else"))?;
        all_has_passed(&lab).await?;
        let left = lab.leaks("nobody").await?.since(&before).total();
        ensure!(left == out, "with {pinned:?} pinned, {left} packets of the new address got out");
    }
    // At its own address it is what it was.
    pin(&ready, &mapping, Some(&own)).await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    Ok(())
}

async fn the_hardware_that_could_be_pinned_is_shown(lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    lab.seen_as(STRANGER, "http://origin/").await?;
    let told = ready.rest.send(Method::GET, &format!("{AGENT}/agent/neighbours"), None).await?;
    ensure!(told.status == 200, "{told:?}");
    let items = told.body.get("items").and_then(|items| items.as_array()).context("there are no items")?;
    let at = |ip: Ipv4Addr| items.iter().find(|item| item.get("ip") == Some(&json!(ip)));
    let mac = mac_of(STRANGER.name).await?;
    ensure!(at(STRANGER.ip).is_some_and(|item| item.get("mac") == Some(&json!(mac))), "{}", told.text);
    ensure!(at(ORIGIN).is_none(), "the WAN is nobody's LAN: {}", told.text);
    Ok(())
}
