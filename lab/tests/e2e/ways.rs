//! Every way out, tried with real packets, beyond what programs would send (G1, G2). What is
//! tried is what `agent/src/nft/trace/ways.rs` asks in words.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::canary::{self, LONG, PATIENCE, Way, answered, ways_out};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, Device, GATEWAY, GATEWAY_LAN, GATEWAY_WAN, ORIGIN, STRANGER};
use pgw_lab::raw::{self, Packet};
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command, netns};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt};

crate::tests![
    what_no_program_sends_stays_in_as_well,
    ipv6_by_link_local_next_hop_and_advertised_route_stays_in,
    who_knocks_from_the_wan_gets_no_answer_from_a_registered_device,
];

const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;
const GRE: u8 = 47;
const ESP: u8 = 50;
const IPV6: u8 = 41;
const IGMP: u8 = 2;
/// Loose source routing by one address, and a byte to fill up.
const SOURCE_ROUTE: [u8; 4] = [131, 7, 4, 0];
const ROUTER_ALERT: [u8; 4] = [148, 4, 0, 0];

/// Every packet but those of TCP and UDP to an address, which `canary` tries.
fn packets(device: Device) -> Vec<(&'static str, Vec<Packet>)> {
    let at = |ip, port| SocketAddrV4::new(ip, port);
    let (own, origin) = (at(device.ip, 5000), at(ORIGIN, 9999));
    let bare = |protocol| vec![Packet::new(device.ip, ORIGIN, protocol, vec![0; 32])];
    let udp = Packet::udp(own, origin, b"canary");
    let with_options =
        |packet: &Packet, options: &[u8]| vec![Packet { options: options.to_vec(), ..packet.clone() }];
    let source_route = {
        let [kind, length, pointer, fill] = SOURCE_ROUTE;
        let [a, b, c, d] = ORIGIN.octets();
        with_options(
            &Packet { destination: GATEWAY_LAN, ..udp.clone() },
            &[kind, length, pointer, a, b, c, d, fill],
        )
    };
    let whole = Packet::udp(own, origin, &[7; 32]);
    let (first, rest) = whole.payload.split_at(24);
    let part = |payload: &[u8], offset, more| Packet {
        payload: payload.to_vec(),
        identifier: 7,
        offset,
        more,
        ..whole.clone()
    };
    vec![
        ("tcp", vec![Packet::tcp(own, at(ORIGIN, 25))]),
        ("udp", vec![udp.clone()]),
        ("sctp", bare(SCTP)),
        ("udplite", bare(UDP_LITE)),
        ("gre", bare(GRE)),
        ("esp", bare(ESP)),
        ("ipv6 in ipv4", bare(IPV6)),
        ("igmp", bare(IGMP)),
        ("udp with an option", with_options(&udp, &ROUTER_ALERT)),
        ("udp by source route", source_route),
        ("udp in fragments", vec![part(first, 0, true), part(rest, 3, false)]),
        ("udp to everybody there", vec![Packet::udp(own, at([203, 0, 113, 255].into(), 9999), b"canary")]),
    ]
}

async fn what_no_program_sends_stays_in_as_well(mut lab: Lab) -> Result<()> {
    // A gateway as careless as can be, so that nothing but the rules stands in the way.
    for setting in ["accept_source_route", "bc_forwarding"] {
        for link in ["all", "ens19"] {
            netns::sysctl(GATEWAY, &format!("net/ipv4/conf/{link}/{setting}"), "1")?;
        }
    }
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    ready.rest.add_client(C2).await?;
    let before = [lab.leaks(C1.name).await?, lab.leaks(C2.name).await?];
    let kinds = packets(C1).into_iter().zip(packets(C2)).zip(packets(STRANGER));
    for (((what, of_c1), (_, of_c2)), (_, of_stranger)) in kinds {
        let stranger = lab.leaks(STRANGER.name).await?.total();
        for (device, packets) in [(C1, of_c1), (C2, of_c2), (STRANGER, of_stranger)] {
            packets.iter().try_for_each(|packet| raw::send(device.name, packet))?;
        }
        // Sent last: what the others sent has passed, or has been dropped.
        eventually(&format!("{what} of the stranger gets out, or nothing was tried"), async || {
            Ok((lab.leaks(STRANGER.name).await?.total() > stranger).then_some(()))
        })
        .await?;
        for (device, before) in [C1, C2].iter().zip(&before) {
            let leaked = lab.leaks(device.name).await?.since(before);
            ensure!(leaked.total() == 0, "{what} of {} got out: {leaked:?}", device.name);
        }
    }
    Ok(())
}

fn ways_by_ipv6() -> Vec<Way> {
    ways_out().into_iter().filter(Way::is_v6).collect()
}

async fn ipv6_by_link_local_next_hop_and_advertised_route_stays_in(mut lab: Lab) -> Result<()> {
    // The gateway learns its own way out from an advertisement, the devices theirs from nobody.
    netns::sysctl(GATEWAY, "net/ipv6/conf/eth0/accept_ra", "2")?;
    command::ok(GATEWAY, &["ip", "-6", "route", "del", "default"]).await?;
    advertise("origin")?;
    eventually("the gateway has a route by advertisement", async || {
        let routes = command::ok(GATEWAY, &["ip", "-6", "route", "show", "default"]).await?;
        Ok(routes.contains("proto ra").then_some(()))
    })
    .await?;
    let links =
        command::ok(GATEWAY, &["ip", "-6", "-o", "addr", "show", "dev", "ens19", "scope", "link"]).await?;
    let own = links.split_whitespace().find_map(|word| word.strip_suffix("/64"));
    let next_hop = own.context("the gateway has no link-local address")?;
    for device in [C1, C2] {
        let route = ["ip", "-6", "route", "replace", "default", "via", next_hop, "dev", "eth0"];
        command::ok(device.name, &route).await?;
        let open = answered(device.name, &ways_by_ipv6(), LONG).await?;
        ensure!(open.len() == ways_by_ipv6().len(), "without pgw only {open:?} are ways out");
    }
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    ready.rest.add_client(C2).await?;
    for device in [C1, C2] {
        let before = lab.leaks(device.name).await?;
        let open = answered(device.name, &ways_by_ipv6(), PATIENCE).await?;
        ensure!(open.is_empty(), "{} got an answer from {open:?}", device.name);
        let leaked = lab.leaks(device.name).await?.since(&before);
        ensure!(leaked.total() == 0, "packets of {} left the gateway: {leaked:?}", device.name);
    }
    Ok(())
}

/// As a router of the link `eth0`, for half an hour.
fn advertise(ns: &str) -> Result<()> {
    const ROUTER_ADVERTISEMENT: [u8; 16] = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    netns::inside(ns, || {
        let family = AddressFamily::INET6;
        let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6))?;
        // Proof that it comes from the link itself.
        sockopt::set_ipv6_multicast_hops(&socket, 255)?;
        let link = name_to_index(&socket, "eth0")?;
        let everybody = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 0, 0, link);
        sendto(&socket, &ROUTER_ADVERTISEMENT, SendFlags::empty(), &everybody)?;
        Ok(())
    })
}

async fn who_knocks_from_the_wan_gets_no_answer_from_a_registered_device(mut lab: Lab) -> Result<()> {
    let ready: Ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    ready.rest.add_client(C2).await?;
    let way_in = ["ip", "route", "add", "10.64.0.0/24", "via", &GATEWAY_WAN.to_string()];
    command::ok("origin", &way_in).await?;
    let mut doors = Vec::new();
    for device in [C1, C2, STRANGER] {
        // The kernel answers for it.
        doors.push(netns::inside(device.name, || {
            Ok(std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 7777))?)
        })?);
    }
    for device in [C1, C2] {
        let before = lab.leaks(device.name).await?;
        let visit = canary::connect("origin", (device.ip, 7777).into(), PATIENCE).await;
        ensure!(visit.is_err(), "{} answered", device.name);
        let leaked = lab.leaks(device.name).await?.since(&before);
        ensure!(leaked.total() == 0, "an answer of {} got out: {leaked:?}", device.name);
    }
    canary::connect("origin", (STRANGER.ip, 7777).into(), LONG).await.map(drop)
}
