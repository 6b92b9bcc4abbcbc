//! Names of a device are asked for through its own upstream, whomever it asks (G2).

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::names::{Answer, PORT, ask_tcp, ask_udp, resolve};
use pgw_lab::net::{C1, C2, GATEWAY_LAN, GATEWAY_WAN, ORIGIN};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use serde_json::json;
use tokio::net::TcpListener;

crate::tests![
    whomever_a_device_asks_the_question_leaves_by_its_own_upstream,
    a_name_that_was_asked_for_by_a_former_upstream_is_asked_for_again,
    without_an_upstream_a_device_learns_no_name,
    with_dns_left_to_the_gateway_its_own_resolver_is_asked_and_nobody_else,
];

const PATIENCE: Duration = Duration::from_secs(8);
/// Silence is proven by waiting; nobody answers after half of this.
const SILENCE: Duration = Duration::from_secs(2);
const ANYBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

async fn whomever_a_device_asks_the_question_leaves_by_its_own_upstream(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    lab.mapped(&ready, C2, &[Kind::Microsocks]).await?;
    for (device, kind) in [(C1, Kind::Squid), (C2, Kind::Microsocks)] {
        let vigil = Vigil::begin(device).await?;
        for (n, resolver) in [ANYBODY, GATEWAY_LAN, GATEWAY_WAN, ORIGIN].into_iter().enumerate() {
            let seen = ask_udp(device.name, resolver, &format!("u{n}.example.com"), PATIENCE).await?;
            ensure!(seen == Some(Answer::Address(kind.ip())), "udp to {resolver}: {seen:?}");
            let seen = ask_tcp(device.name, resolver, &format!("t{n}.example.com"), PATIENCE).await?;
            ensure!(seen == Answer::Address(kind.ip()), "tcp to {resolver}: {seen:?}");
        }
        vigil.end(&[kind.ip()]).await?;
    }
    Ok(())
}

async fn a_name_that_was_asked_for_by_a_former_upstream_is_asked_for_again(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    lab.upstream(Kind::Microsocks).await?;
    let other = ready.rest.add_proxy(Kind::Microsocks).await?;
    let ask = async || ask_udp(C1.name, ANYBODY, "www.example.com", PATIENCE).await;
    ensure!(ask().await? == Some(Answer::Address(Kind::Squid.ip())));
    ready.rest.patch(&format!("/v1/mappings/{}", mapping.id), json!({ "proxy_id": other })).await?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    let seen = ask().await?;
    ensure!(seen == Some(Answer::Address(Kind::Microsocks.ip())), "{seen:?}");
    Ok(())
}

async fn without_an_upstream_a_device_learns_no_name(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    lab.kill_upstream(Kind::Squid).await?;
    // Who asks while the forwarder is still there is told that it failed; later nobody answers.
    let no_name = |seen: Option<Answer>| matches!(seen, None | Some(Answer::Code(2)));
    let seen = ask_udp(C1.name, ANYBODY, "www.example.com", PATIENCE).await?;
    ensure!(no_name(seen), "{seen:?}");
    ready.rest.wait_state(&mapping, "FAILED").await?;
    for resolver in [ANYBODY, GATEWAY_LAN, ORIGIN] {
        let seen = ask_udp(C1.name, resolver, "www.example.com", SILENCE).await?;
        ensure!(no_name(seen), "{resolver} answered {seen:?}");
        let seen = ask_tcp(C1.name, resolver, "www.example.com", SILENCE).await.ok();
        ensure!(no_name(seen), "{resolver} answered {seen:?} by tcp");
    }
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn with_dns_left_to_the_gateway_its_own_resolver_is_asked_and_nobody_else(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway_with(&[("PGW_DNS", "gateway")]).await?;
    tokio::spawn(resolve(TcpListener::bind((GATEWAY_LAN, PORT)).await?));
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    let seen = ask_tcp(C1.name, GATEWAY_LAN, "www.example.com", PATIENCE).await?;
    ensure!(seen == Answer::Address(C1.ip), "the gateway's own resolver was asked by {seen:?}");
    for resolver in [ANYBODY, ORIGIN] {
        let seen = ask_udp(C1.name, resolver, "www.example.com", SILENCE).await?;
        ensure!(seen.is_none(), "{resolver} answered {seen:?}");
        ensure!(ask_tcp(C1.name, resolver, "www.example.com", SILENCE).await.is_err(), "{resolver} answered");
    }
    ready.rest.patch(&format!("/v1/mappings/{}", mapping.id), json!({ "enabled": false })).await?;
    let seen = ask_tcp(C1.name, GATEWAY_LAN, "www.example.com", SILENCE).await.ok();
    ensure!(seen.is_none(), "a closed device was told {seen:?}");
    vigil.end(&[Kind::Squid.ip()]).await
}
