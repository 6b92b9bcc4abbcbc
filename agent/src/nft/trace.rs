//! Walks a packet through a ruleset and says in words what becomes of it. It knows no rule by
//! heart: what it cannot judge fails the test.

use std::net::Ipv4Addr;

use pgw_core::active::Desired;
use pgw_core::dns::DnsChoice;
use pgw_core::ports::PortRange;
use pgw_core::settings::{ClosedAction, Unregistered};

use super::drill::{CLOSED, DEVICES, DEVICES6, STRANGER};
use super::plan::{Policy, plan};
use super::ruleset::{Elements, Match, Rule, Ruleset, Set, Verdict};

const LAN: &str = "ens19";
const WAN: &str = "eth0";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

#[derive(Debug, Clone)]
struct Packet {
    /// Where it comes from and where it would leave; no exit when it is for the gateway.
    from: &'static str,
    to: Option<&'static str>,
    /// None is IPv6.
    source: Option<Ipv4Addr>,
    protocol: Protocol,
    port: u16,
    established: bool,
    reply: bool,
    /// Translated by some nat table, not necessarily ours.
    dnat: bool,
}

/// What one chain says.
enum Said {
    Accept,
    Drop,
    Reject,
    Redirect(u16),
    /// Nothing: the policy of all our chains is accept.
    End,
}

fn met(matched: &Match, packet: &Packet, elements: &Elements) -> bool {
    let in_set = |set: &Set| {
        packet.source.is_some_and(|ip| match set {
            Set::Clients => elements.clients.contains(&ip),
            Set::Open => elements.open.contains(&ip),
            Set::ClientPort | Set::ClientPorts => panic!("{set:?} is not a set of addresses"),
        })
    };
    let has_port = packet.protocol != Protocol::Icmp;
    match matched {
        Match::From(interface) => packet.from == interface,
        Match::NotFromLoopback => packet.from != "lo",
        Match::LeavesBesides(interface) => {
            packet.to.expect("only a forwarded packet leaves") != interface.as_str()
        }
        Match::Ipv6 => packet.source.is_none(),
        Match::Tcp => packet.protocol == Protocol::Tcp,
        Match::Udp => packet.protocol == Protocol::Udp,
        Match::TcpTo(port) => packet.protocol == Protocol::Tcp && packet.port == *port,
        Match::UdpTo(port) => packet.protocol == Protocol::Udp && packet.port == *port,
        Match::Source(net) => packet.source.is_some_and(|ip| net.holds(ip.into())),
        // The one net that is asked for: nobody here writes to the drill's devices.
        Match::Destination(net) => {
            assert!([DEVICES, DEVICES6].contains(net), "{net:?}");
            false
        }
        Match::Dns => has_port && packet.port == 53,
        Match::ForwarderRange(range) => has_port && range.contains(packet.port),
        Match::Web => packet.protocol == Protocol::Tcp && [80, 443].contains(&packet.port),
        Match::ToGateway => packet.to.is_none(),
        Match::SourceIn(set) => in_set(set),
        Match::OwnForwarder => {
            packet.protocol == Protocol::Tcp
                && packet.source.is_some_and(|ip| elements.client_ports.contains(&(ip, packet.port)))
        }
        Match::OwnForwarderOrItsDns => {
            has_port && packet.source.is_some_and(|ip| elements.client_ports.contains(&(ip, packet.port)))
        }
        Match::CameByRedirect => packet.dnat,
        Match::ReplyDirection => packet.reply,
        Match::Established => packet.established,
    }
}

fn walk(chain: &[Rule], packet: &Packet, rules: &Ruleset) -> Said {
    for rule in chain {
        if !rule.matches.iter().all(|matched| met(matched, packet, &rules.elements)) {
            continue;
        }
        return match rule.verdict {
            Verdict::Accept => Said::Accept,
            Verdict::Drop | Verdict::CountAndDrop => Said::Drop,
            Verdict::Return | Verdict::CountAndReturn => Said::End,
            Verdict::CountedAt(place) => match walk(&place.rules(), packet, rules) {
                Said::End => continue,
                said => said,
            },
            Verdict::EndsAt(place) => walk(&place.rules(), packet, rules),
            Verdict::Closed => walk(&rules.skeleton.closed, packet, rules),
            Verdict::TcpReset | Verdict::Prohibited => Said::Reject,
            // Without an entry in the map the rule is not met, and the next one is asked.
            Verdict::RedirectToOwnForwarder => {
                match packet.source.and_then(|ip| rules.elements.client_port.get(&ip)) {
                    Some(port) => Said::Redirect(*port),
                    None => continue,
                }
            }
        };
    }
    Said::End
}

fn fate(packet: &Packet, rules: &Ruleset) -> String {
    let mut packet = packet.clone();
    // nat chains see the first packet of a connection only, and `ip pgw` sees no IPv6.
    if packet.source.is_some() && !packet.established && !packet.dnat {
        match walk(&rules.skeleton.prerouting, &packet, rules) {
            Said::Redirect(port) => {
                packet = Packet { to: None, port, dnat: true, ..packet };
            }
            Said::End => {}
            Said::Accept | Said::Drop | Said::Reject => panic!("prerouting only redirects"),
        }
    }
    let chain = if packet.to.is_none() { &rules.skeleton.input } else { &rules.skeleton.forward };
    let said = match walk(chain, &packet, rules) {
        Said::Accept | Said::End if packet.to.is_some() => walk(&rules.skeleton.postrouting, &packet, rules),
        said => said,
    };
    match (said, packet.to) {
        (Said::Drop, _) => "dropped".to_owned(),
        (Said::Reject, _) => "rejected".to_owned(),
        (Said::Redirect(_), _) => panic!("only prerouting redirects"),
        (Said::Accept | Said::End, Some(interface)) => format!("leaves by {interface}"),
        (Said::Accept | Said::End, None) => format!("reaches {}", packet.port),
    }
}

/// `who what to`: `mapped tcp 443 wan`, `closed udp 53 gateway`, …; then perhaps
/// `established`, `reply`, `dnat`.
fn packet(words: &str) -> Packet {
    let words: Vec<&str> = words.split_whitespace().collect();
    let [who, protocol, port, to, more @ ..] = words.as_slice() else { panic!("{words:?}") };
    let (from, source) = match *who {
        "mapped" => (LAN, Some([10, 0, 0, 3].into())),
        "other-mapped" => (LAN, Some([10, 0, 0, 4].into())),
        "closed" => (LAN, Some([10, 0, 0, 5].into())),
        "stranger" => (LAN, Some([10, 0, 0, 99].into())),
        "drill-closed" => (LAN, Some(CLOSED)),
        "drill-stranger" => (LAN, Some(STRANGER)),
        "lan-v6" => (LAN, None),
        "internet" => (WAN, Some([198, 51, 100, 7].into())),
        "internet-v6" => (WAN, None),
        "mapped-from-wan" => (WAN, Some([10, 0, 0, 3].into())),
        "gateway" => ("lo", Some([127, 0, 0, 1].into())),
        other => panic!("who is {other}?"),
    };
    let mut packet = Packet {
        from,
        to: match *to {
            "gateway" => None,
            "wan" => Some(WAN),
            "vpn" => Some("wg0"),
            "lan" => Some(LAN),
            other => panic!("where is {other}?"),
        },
        source,
        protocol: match *protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "icmp" => Protocol::Icmp,
            other => panic!("what is {other}?"),
        },
        port: port.parse().unwrap(),
        established: false,
        reply: false,
        dnat: false,
    };
    for word in more {
        match *word {
            "established" => packet.established = true,
            "reply" => packet.reply = true,
            "dnat" => packet.dnat = true,
            other => panic!("{other} is not understood"),
        }
    }
    packet
}

/// `mapped` has 15001, `other-mapped` 15002, `closed` none.
fn ruleset(unregistered: Unregistered, closed_action: ClosedAction) -> Ruleset {
    ruleset_with(unregistered, closed_action, DnsChoice::Upstream)
}

fn ruleset_with(unregistered: Unregistered, closed_action: ClosedAction, dns: DnsChoice) -> Ruleset {
    let ports = PortRange::spanning(15001, 15999);
    let policy = Policy { lan_if: LAN.to_owned(), ports, unregistered, closed_action, dns };
    let desired = Desired {
        mapped: [([10, 0, 0, 3].into(), 15001), ([10, 0, 0, 4].into(), 15002)].into(),
        closed: [[10, 0, 0, 5].into()].into(),
        ..Desired::default()
    };
    plan(&desired, &policy).unwrap()
}

fn ask(rules: &Ruleset, questions: &[(&str, &str)]) {
    for (words, answer) in questions {
        assert_eq!(fate(&packet(words), rules), *answer, "{words}");
    }
}

#[test]
fn a_mapped_device_leaves_by_its_own_forwarder_or_not_at_all() {
    ask(
        &ruleset(Unregistered::Allow, ClosedAction::Drop),
        &[
            ("mapped tcp 443 wan", "reaches 15001"),
            ("mapped tcp 80 wan", "reaches 15001"),
            ("other-mapped tcp 443 wan", "reaches 15002"),
            ("mapped tcp 443 vpn", "reaches 15001"),
            ("mapped tcp 8443 wan", "dropped"),
            ("mapped tcp 22 vpn", "dropped"),
            ("mapped udp 443 wan", "dropped"),
            ("mapped icmp 0 wan", "dropped"),
            ("mapped tcp 443 wan established", "dropped"),
            ("mapped udp 443 wan established", "dropped"),
            ("mapped tcp 5000 wan established reply", "dropped"),
            ("mapped tcp 22 lan", "leaves by ens19"),
        ],
    );
}

#[test]
fn a_closed_device_has_no_way_out() {
    ask(
        &ruleset(Unregistered::Allow, ClosedAction::Drop),
        &[
            ("closed tcp 443 wan", "dropped"),
            ("closed tcp 80 vpn", "dropped"),
            ("closed udp 443 wan", "dropped"),
            ("closed icmp 0 wan", "dropped"),
            ("closed tcp 443 wan established", "dropped"),
            ("closed udp 53 gateway", "dropped"),
            ("closed tcp 53 gateway", "dropped"),
            ("lan-v6 udp 53 gateway", "dropped"),
            ("closed tcp 22 gateway", "reaches 22"),
            // The connection was redirected while the device was mapped.
            ("closed tcp 15003 gateway established dnat", "dropped"),
        ],
    );
}

#[test]
fn nothing_of_the_leak_drill_ever_leaves() {
    let questions =
        ["tcp 443 wan", "tcp 443 vpn", "udp 53 wan", "udp 443 wan", "icmp 0 wan", "tcp 22 wan established"]
            .map(|what| [format!("drill-closed {what}"), format!("drill-stranger {what}")]);
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        let rules = ruleset(unregistered, ClosedAction::Drop);
        for question in questions.as_flattened() {
            assert_eq!(fate(&packet(question), &rules), "dropped", "{question}");
        }
    }
}

#[test]
fn ipv6_from_the_lan_leaves_by_no_interface() {
    ask(
        &ruleset(Unregistered::Allow, ClosedAction::Drop),
        &[
            ("lan-v6 tcp 443 wan", "dropped"),
            ("lan-v6 udp 443 vpn", "dropped"),
            ("lan-v6 tcp 443 wan established", "dropped"),
            ("lan-v6 tcp 443 lan", "leaves by ens19"),
            ("lan-v6 tcp 22 gateway", "reaches 22"),
        ],
    );
}

#[test]
fn a_forwarder_is_reached_by_its_own_device_through_the_redirect_and_by_nobody_else() {
    ask(
        &ruleset(Unregistered::Allow, ClosedAction::Drop),
        &[
            ("mapped tcp 15001 gateway dnat", "reaches 15001"),
            ("mapped tcp 15001 gateway established dnat", "reaches 15001"),
            ("mapped tcp 15001 gateway", "dropped"),
            ("mapped tcp 15001 gateway established", "dropped"),
            ("mapped tcp 15002 gateway", "dropped"),
            ("mapped tcp 15002 gateway dnat", "dropped"),
            ("mapped tcp 15999 gateway", "dropped"),
            ("mapped udp 15001 gateway", "dropped"),
            ("mapped udp 15001 gateway dnat", "reaches 15001"),
            ("mapped udp 15001 gateway established dnat", "reaches 15001"),
            ("mapped udp 15002 gateway dnat", "dropped"),
            ("closed udp 15001 gateway dnat", "dropped"),
            ("stranger udp 15001 gateway dnat", "dropped"),
            ("closed tcp 15001 gateway", "dropped"),
            ("stranger tcp 15001 gateway", "dropped"),
            ("stranger tcp 15001 gateway dnat", "dropped"),
            ("lan-v6 tcp 15001 gateway", "dropped"),
            ("internet tcp 15001 gateway", "dropped"),
            ("internet-v6 udp 15001 gateway", "dropped"),
            ("mapped-from-wan tcp 15001 gateway dnat", "dropped"),
            ("gateway tcp 15001 gateway", "reaches 15001"),
            ("stranger tcp 15000 gateway", "reaches 15000"),
            ("stranger tcp 16000 gateway", "reaches 16000"),
            // The gateway's own connection, with a local port of that range.
            ("internet tcp 15001 gateway established reply", "reaches 15001"),
        ],
    );
}

#[test]
fn the_gateway_itself_answers_mapped_devices_but_not_their_dns() {
    ask(
        &ruleset(Unregistered::Allow, ClosedAction::Drop),
        &[
            ("mapped tcp 443 gateway", "reaches 443"),
            ("mapped tcp 80 gateway", "reaches 80"),
            ("closed tcp 443 gateway", "reaches 443"),
        ],
    );
}

#[test]
fn dns_of_a_mapped_device_goes_to_its_own_forwarder_whomever_it_asks() {
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        ask(
            &ruleset(unregistered, ClosedAction::Drop),
            &[
                ("mapped udp 53 wan", "reaches 15001"),
                ("mapped tcp 53 wan", "reaches 15001"),
                ("mapped udp 53 vpn", "reaches 15001"),
                ("mapped udp 53 lan", "reaches 15001"),
                ("mapped udp 53 gateway", "reaches 15001"),
                ("mapped tcp 53 gateway", "reaches 15001"),
                ("other-mapped udp 53 gateway", "reaches 15002"),
                // From before the redirect: conntrack remembers the old way, and it is closed.
                ("mapped udp 53 gateway established", "dropped"),
                ("mapped tcp 53 gateway established", "dropped"),
                ("mapped udp 53 wan established", "dropped"),
                ("mapped tcp 853 wan", "dropped"),
                ("closed udp 53 wan", "dropped"),
                ("closed tcp 53 wan", "dropped"),
                ("closed udp 53 gateway", "dropped"),
                ("closed tcp 53 gateway", "dropped"),
                ("lan-v6 udp 53 gateway", "dropped"),
                ("mapped-from-wan udp 53 gateway", "reaches 53"),
            ],
        );
    }
}

#[test]
fn with_dns_gateway_mapped_devices_ask_the_gateway_and_nobody_else() {
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        ask(
            &ruleset_with(unregistered, ClosedAction::Drop, DnsChoice::Gateway),
            &[
                ("mapped udp 53 gateway", "reaches 53"),
                ("mapped tcp 53 gateway", "reaches 53"),
                ("mapped udp 53 wan", "dropped"),
                ("mapped tcp 53 wan", "dropped"),
                ("mapped udp 15001 gateway dnat", "dropped"),
                ("mapped tcp 15001 gateway dnat", "reaches 15001"),
                ("closed udp 53 gateway", "dropped"),
                ("lan-v6 udp 53 gateway", "dropped"),
            ],
        );
    }
}

#[test]
fn a_device_that_nobody_registered_is_left_alone() {
    ask(
        &ruleset(Unregistered::Allow, ClosedAction::Drop),
        &[
            ("stranger tcp 443 wan", "leaves by eth0"),
            ("stranger udp 443 wan", "leaves by eth0"),
            ("stranger icmp 0 vpn", "leaves by wg0"),
            ("stranger udp 53 gateway", "reaches 53"),
            ("internet tcp 443 lan established reply", "leaves by ens19"),
            ("internet tcp 443 gateway", "reaches 443"),
        ],
    );
}

#[test]
fn with_unregistered_drop_nothing_leaves_the_lan_but_what_is_mapped() {
    ask(
        &ruleset(Unregistered::Drop, ClosedAction::Drop),
        &[
            ("mapped tcp 443 wan", "reaches 15001"),
            ("stranger tcp 443 wan", "dropped"),
            ("stranger tcp 443 wan established", "dropped"),
            ("stranger udp 443 vpn", "dropped"),
            ("stranger udp 53 gateway", "dropped"),
            ("stranger tcp 22 gateway", "reaches 22"),
            ("stranger tcp 22 lan", "leaves by ens19"),
            ("closed udp 53 gateway", "dropped"),
            ("lan-v6 udp 53 gateway", "dropped"),
            ("internet tcp 443 lan established reply", "leaves by ens19"),
        ],
    );
}

#[test]
fn with_closed_action_reject_what_is_closed_is_told_at_once() {
    ask(
        &ruleset(Unregistered::Drop, ClosedAction::Reject),
        &[
            ("closed tcp 443 wan", "rejected"),
            ("closed udp 443 wan", "rejected"),
            ("closed icmp 0 wan", "rejected"),
            ("closed udp 53 gateway", "rejected"),
            ("mapped udp 443 wan", "rejected"),
            ("lan-v6 tcp 443 wan", "rejected"),
            ("stranger tcp 443 wan", "rejected"),
            // Scanners learn nothing from the range.
            ("stranger tcp 15001 gateway", "dropped"),
            ("mapped tcp 443 wan", "reaches 15001"),
        ],
    );
}
