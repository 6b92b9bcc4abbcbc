//! Cables, addresses, rules.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;

use super::FAR;
use crate::net::GATEWAY;
use crate::{command, names, net, netns};

pub(super) const DEVICE_NS: &str = "device";
pub(super) const FAR_NS: &str = "far";
pub(crate) const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 2);
/// The device's other address.
pub(crate) const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 3);
/// The gateway's own.
pub(crate) const LAN: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
pub(crate) const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// Of the kernel, in all three: many short connections are no trouble, and none of them is in
/// the way of the next contestant.
const SYSCTLS: [(&str, &str); 4] = [
    ("net/ipv4/ip_local_port_range", "2048 65000"),
    ("net/ipv4/tcp_max_tw_buckets", "2000"),
    ("net/ipv4/tcp_max_syn_backlog", "65536"),
    ("net/core/somaxconn", "65536"),
];

pub(super) async fn cables() -> Result<()> {
    net::private_files("127.0.0.1 localhost\n").await?;
    net::attach(GATEWAY).await?;
    let lines = format!(
        "netns add {DEVICE_NS}\nnetns add {FAR_NS}\n\
         link add name lan type veth peer name eth0 netns {DEVICE_NS}\n\
         link add name wan type veth peer name eth0 netns {FAR_NS}\n\
         link set lo up\nlink set lan up\nlink set wan up\naddr add {LAN}/24 dev lan\naddr add {WAN}/24 dev wan\n\
         route add default via {FAR}\n"
    );
    net::batch(GATEWAY, &lines).await?;
    for (ns, own, via) in [(DEVICE_NS, DEVICE, LAN), (FAR_NS, FAR, WAN)] {
        let lines = format!(
            "link set lo up\nlink set eth0 up\naddr add {own}/24 dev eth0\nroute add default via {via}\n"
        );
        net::batch(ns, &lines).await?;
    }
    for ns in [GATEWAY, DEVICE_NS, FAR_NS] {
        for (name, value) in SYSCTLS {
            netns::sysctl(ns, name, value)?;
        }
    }
    // Or a connection on its way to the far end sits on the port of the next contestant.
    netns::sysctl(GATEWAY, "net/ipv4/ip_local_reserved_ports", "15001-15999")?;
    netns::sysctl(GATEWAY, "net/ipv4/ip_forward", "1")
}

pub(super) async fn device_is(address: Ipv4Addr) -> Result<()> {
    let lines =
        format!("addr replace {address}/24 dev eth0\nroute replace default via {LAN} src {address}\n");
    net::batch(DEVICE_NS, &lines).await
}

/// A gateway as pgw makes it, as far as packets see it: redirects by a map, and source NAT for
/// whatever is not redirected.
pub(super) async fn rules(redirects: &[(Ipv4Addr, u16)], names: Option<u16>) -> Result<()> {
    let map: Vec<String> = redirects.iter().map(|(from, to)| format!("{from} : {to}")).collect();
    let mut rules = String::from("table ip bench {\n");
    if !map.is_empty() {
        writeln!(
            rules,
            " map port {{ type ipv4_addr : inet_service\n  elements = {{ {} }}\n }}",
            map.join(", ")
        )?;
    }
    rules.push_str(" chain in {\n  type nat hook prerouting priority dstnat;\n");
    if !map.is_empty() {
        rules.push_str("  iifname \"lan\" meta l4proto tcp redirect to :ip daddr map @port\n");
    }
    if let Some(port) = names {
        writeln!(rules, "  iifname \"lan\" udp dport {} redirect to :{port}", names::PORT)?;
    }
    rules.push_str(
        " }\n chain out {\n  type nat hook postrouting priority srcnat;\n  oifname \"wan\" masquerade\n }\n}\n",
    );
    command::ok_with(GATEWAY, &["nft", "-f", "-"], &rules).await?;
    // It exists since the rules do. Closed connections would crowd the table.
    netns::sysctl(GATEWAY, "net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")
}
