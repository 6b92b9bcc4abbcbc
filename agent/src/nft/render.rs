//! What pgw does to a packet, in nft's words. Each batch is one transaction: nft loads all of
//! it or nothing.

use std::borrow::Cow;
use std::fmt::Write;

use pgw_core::ports::PortRange;

use super::diff::Changes;
use super::drill::Place;
use super::ruleset::{Counter, Elements, Match, Net, Rule, Ruleset, Set, Skeleton, Table, Verdict};

/// A batch that replaces both tables whatever is there. `add` first, because `delete` of what
/// is absent fails, and the nft of Debian 12 has no `destroy`.
pub fn replace(ruleset: &Ruleset) -> String {
    let mut out = String::new();
    for table in Table::ALL {
        let name = full_name(table);
        line(&mut out, 0, &format!("add table {name}"));
        line(&mut out, 0, &format!("delete table {name}"));
        line(&mut out, 0, &format!("table {name} {{"));
        table_body(&mut out, table, ruleset);
        line(&mut out, 0, "}");
    }
    out
}

/// A batch that deletes and adds elements. Deletes come first: adding a key that is there with
/// another value is refused.
pub fn changes(changes: &Changes) -> String {
    let mut out = String::new();
    for (verb, elements) in [("delete", &changes.delete), ("add", &changes.add)] {
        for set in Set::ALL {
            let written = match verb {
                "delete" => keys(elements, set),
                _ => entries(elements, set),
            };
            if !written.is_empty() {
                let table = full_name(set.table());
                line(&mut out, 0, &format!("{verb} element {table} {} {{", set.name()));
                line(&mut out, 1, &written.join(",\n\t"));
                line(&mut out, 0, "}");
            }
        }
    }
    out
}

/// The text without elements: what is compared to know whether the rules themselves changed.
pub fn skeleton(skeleton: &Skeleton) -> String {
    replace(&Ruleset { skeleton: skeleton.clone(), elements: Elements::default() })
}

pub fn full_name(table: Table) -> String {
    format!("{} {}", table.family(), table.name())
}

fn line(out: &mut String, depth: usize, text: &str) {
    for _ in 0..depth {
        out.push('\t');
    }
    out.push_str(text);
    out.push('\n');
}

fn table_body(out: &mut String, table: Table, Ruleset { skeleton, elements }: &Ruleset) {
    for set in Set::ALL.into_iter().filter(|set| set.table() == table) {
        let (kind, types, about) = declaration(set);
        line(out, 1, &format!("{kind} {} {{", set.name()));
        line(out, 2, &format!("type {types}"));
        if set == Set::TunnelRange {
            line(out, 2, "flags interval");
        }
        line(out, 2, &format!("comment {about:?}"));
        let entries = entries(elements, set);
        if !entries.is_empty() {
            line(out, 2, "elements = {");
            line(out, 3, &entries.join(",\n\t\t\t"));
            line(out, 2, "}");
        }
        line(out, 1, "}");
    }
    match table {
        Table::Nat => {
            let hook = "type nat hook prerouting priority dstnat; policy accept;";
            chain(out, "prerouting", Some(hook), &skeleton.prerouting);
        }
        Table::Filter => {
            for counter in Counter::ALL {
                line(out, 1, &format!("counter {} {{ }}", counter.name()));
            }
            // Before the chains that go to it.
            chain(out, "closed", None, &skeleton.closed);
            for place in Place::ALL {
                chain(out, place.chain(), None, &place.rules());
            }
            // Before conntrack: a forged packet neither begins a flow nor disturbs one.
            let hook = "type filter hook prerouting priority raw; policy accept;";
            chain(out, "sources", Some(hook), &skeleton.sources);
            let hook = |name| format!("type filter hook {name} priority filter; policy accept;");
            chain(out, "input", Some(&hook("input")), &skeleton.input);
            chain(out, "forward", Some(&hook("forward")), &skeleton.forward);
            // The sources are still those that the devices have.
            let hook = "type filter hook postrouting priority srcnat - 10; policy accept;";
            chain(out, "postrouting", Some(hook), &skeleton.postrouting);
        }
    }
}

fn declaration(set: Set) -> (&'static str, &'static str, &'static str) {
    match set {
        Set::ClientPort => ("map", "ipv4_addr : inet_service", "mapped device to the port of its forwarder"),
        Set::ClientPorts => ("set", "ipv4_addr . inet_service", "which forwarder a mapped device may reach"),
        Set::Clients => ("set", "ipv4_addr", "every registered device, open or closed"),
        Set::Open => ("set", "ipv4_addr", "the mapped ones among the registered devices"),
        Set::Pins => ("set", "ether_addr . ipv4_addr", "which hardware address a pinned device has"),
        Set::Pinned => ("set", "ipv4_addr", "the addresses of pinned devices"),
        Set::PinnedMacs => ("set", "ether_addr", "the hardware addresses of pinned devices"),
        Set::TunnelTcp => ("set", "inet_service", "the open TCP ports of reverse tunnels"),
        Set::TunnelUdp => ("set", "inet_service", "the open UDP ports of reverse tunnels"),
        Set::TunnelRange => ("set", "inet_service", "the ports that reverse tunnels may have"),
    }
}

fn entries(elements: &Elements, set: Set) -> Vec<String> {
    match set {
        Set::ClientPort => elements.client_port.iter().map(|(ip, port)| format!("{ip} : {port}")).collect(),
        Set::ClientPorts
        | Set::Clients
        | Set::Open
        | Set::Pins
        | Set::Pinned
        | Set::PinnedMacs
        | Set::TunnelTcp
        | Set::TunnelUdp
        | Set::TunnelRange => keys(elements, set),
    }
}

fn keys(elements: &Elements, set: Set) -> Vec<String> {
    match set {
        Set::ClientPort => elements.client_port.keys().map(ToString::to_string).collect(),
        Set::ClientPorts => elements.client_ports.iter().map(|(ip, port)| format!("{ip} . {port}")).collect(),
        Set::Clients => elements.clients.iter().map(ToString::to_string).collect(),
        Set::Open => elements.open.iter().map(ToString::to_string).collect(),
        Set::Pins => elements.pins.iter().map(|(mac, ip)| format!("{mac} . {ip}")).collect(),
        Set::Pinned => elements.pinned.iter().map(ToString::to_string).collect(),
        Set::PinnedMacs => elements.pinned_macs.iter().map(ToString::to_string).collect(),
        Set::TunnelTcp => elements.tunnel_tcp.iter().map(ToString::to_string).collect(),
        Set::TunnelUdp => elements.tunnel_udp.iter().map(ToString::to_string).collect(),
        Set::TunnelRange => elements.tunnel_range.iter().map(|(from, to)| span(*from, *to)).collect(),
    }
}

fn chain(out: &mut String, name: &str, hook: Option<&str>, rules: &[Rule]) {
    line(out, 1, &format!("chain {name} {{"));
    if let Some(hook) = hook {
        line(out, 2, hook);
    }
    for rule in rules {
        line(out, 2, &sentence(rule));
    }
    line(out, 1, "}");
}

fn sentence(rule: &Rule) -> String {
    let mut out = String::new();
    for matched in &rule.matches {
        out.push_str(&phrase(matched));
        out.push(' ');
    }
    if let Some(counter) = rule.counter {
        // Writing to a String cannot fail.
        let _infallible = write!(out, "counter name {:?} ", counter.name());
    }
    out.push_str(&verdict(rule.verdict));
    let _infallible = write!(out, " comment {:?}", rule.why);
    out
}

fn phrase(matched: &Match) -> String {
    match matched {
        Match::From(interface) => format!("iifname {interface:?}"),
        Match::NotFromLoopback => "iifname != \"lo\"".to_owned(),
        Match::LeavesBesides(interface) => format!("oifname != {interface:?}"),
        Match::LeavesBy(interface) => format!("oifname {interface:?}"),
        Match::Ipv4 => "meta nfproto ipv4".to_owned(),
        Match::Ipv6 => "meta nfproto ipv6".to_owned(),
        Match::Tcp => "meta l4proto tcp".to_owned(),
        Match::Udp => "meta l4proto udp".to_owned(),
        Match::TcpTo(port) => format!("tcp dport {port}"),
        Match::UdpTo(port) => format!("udp dport {port}"),
        Match::Source(net) => addresses("saddr", *net),
        Match::Destination(net) => addresses("daddr", *net),
        Match::Dns => "meta l4proto { tcp, udp } th dport 53".to_owned(),
        Match::ForwarderRange(range) => format!("meta l4proto {{ tcp, udp }} th dport {}", ports(range)),
        Match::Web => "tcp dport { 80, 443 }".to_owned(),
        Match::ToGateway => "fib daddr type local".to_owned(),
        Match::SourceIn(set) => format!("ip saddr @{}", set.name()),
        Match::NoWayBack => "fib saddr . iif oif missing".to_owned(),
        Match::AsksForAddress => "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp dport 67".to_owned(),
        Match::NoSource => "ip saddr 0.0.0.0".to_owned(),
        Match::Pinned => format!("ether saddr . ip saddr @{}", Set::Pins.name()),
        Match::PinnedMac => format!("ether saddr @{}", Set::PinnedMacs.name()),
        Match::OwnForwarder => format!("ip saddr . tcp dport @{}", Set::ClientPorts.name()),
        Match::OwnForwarderOrItsDns => {
            format!("meta l4proto {{ tcp, udp }} ip saddr . th dport @{}", Set::ClientPorts.name())
        }
        Match::OpenTunnelTcp => format!("tcp dport @{}", Set::TunnelTcp.name()),
        Match::OpenTunnelUdp => format!("udp dport @{}", Set::TunnelUdp.name()),
        Match::TunnelRange => format!("meta l4proto {{ tcp, udp }} th dport @{}", Set::TunnelRange.name()),
        Match::CameByRedirect => "ct status dnat".to_owned(),
        Match::ReplyDirection => "ct direction reply".to_owned(),
        Match::Established => "ct state established,related".to_owned(),
    }
}

fn ports(range: &PortRange) -> String {
    span(range.base(), range.max())
}

fn span(from: u16, to: u16) -> String {
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

fn addresses(end: &str, net: Net) -> String {
    match net {
        Net::V4(address, 32) => format!("ip {end} {address}"),
        Net::V4(address, bits) => format!("ip {end} {address}/{bits}"),
        Net::V6(address, 128) => format!("ip6 {end} {address}"),
        Net::V6(address, bits) => format!("ip6 {end} {address}/{bits}"),
    }
}

fn verdict(verdict: Verdict) -> Cow<'static, str> {
    match verdict {
        Verdict::Accept => "accept".into(),
        Verdict::Drop => "drop".into(),
        Verdict::Return => "return".into(),
        Verdict::Closed => "goto closed".into(),
        Verdict::RedirectToOwnForwarder => "redirect to :ip saddr map @client_port".into(),
        Verdict::TcpReset => "reject with tcp reset".into(),
        Verdict::Prohibited => "reject with icmpx admin-prohibited".into(),
        Verdict::CountAndReturn => "counter return".into(),
        Verdict::CountAndDrop => "counter drop".into(),
        Verdict::CountedAt(place) => format!("jump {}", place.chain()).into(),
        Verdict::EndsAt(place) => format!("goto {}", place.chain()).into(),
    }
}
