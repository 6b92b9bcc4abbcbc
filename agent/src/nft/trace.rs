//! Asks in words what becomes of a packet, of the very text that nft is given. It knows no rule
//! by heart: a word that it does not understand fails the test. What it says is put to the test
//! itself: the lab asks the kernel the same.

mod questions;
mod text;
mod tunnels;
mod walk;
mod ways;

use std::net::Ipv4Addr;

use pgw_core::active::{ActiveTunnels, Desired};
use pgw_core::dns::DnsChoice;
use pgw_core::mac::Mac;
use pgw_core::settings::{ClosedAction, Unregistered};

use super::drill::{CLOSED, STRANGER};
use super::plan::{Policy, plan};
use super::render;
use crate::testing::policy;
use text::Text;

const LAN: &str = "ens19";
const WAN: &str = "eth0";
/// Of the device at 10.0.0.6, and of one with two addresses, 10.0.0.7 and 10.0.0.8.
const PINNED: &str = "02:00:5e:10:00:06";
const TWICE: &str = "02:00:5e:10:00:07";
const OTHER: &str = "02:00:5e:10:00:99";

#[derive(Debug, Clone)]
struct Packet {
    /// Where it comes from and where it would leave; no exit when it is for the gateway.
    from: &'static str,
    to: Option<&'static str>,
    /// None is IPv6.
    source: Option<Ipv4Addr>,
    /// Where it matters.
    destination: Option<Ipv4Addr>,
    /// None where there are none, as in a tunnel.
    mac: Option<&'static str>,
    protocol: &'static str,
    port: Option<u16>,
    established: bool,
    reply: bool,
    /// Translated by some nat table, not necessarily ours.
    dnat: bool,
}

impl Packet {
    /// The LAN is 10.0.0.0/24, and all else is on the WAN.
    fn has_a_way_back(&self) -> bool {
        self.source.is_none_or(|ip| match ip.octets() {
            [10, 0, 0, 1] | [127, ..] => false,
            // The kernel lets those pass who do not have an address yet.
            [0, ..] => self.destination.is_some(),
            [10, 0, 0, _] => self.from == LAN,
            // As a drill routes them.
            [192, 0, 2, 240 | 241] => self.from == LAN,
            _ => self.from == WAN,
        })
    }
}

/// `who what port to`: `mapped tcp 443 wan`, `closed udp 53 gateway`, …, with port 0 for what
/// has none; then perhaps `established`, `reply`, `dnat`.
fn packet(words: &str) -> Packet {
    let words: Vec<&str> = words.split_whitespace().collect();
    let [who, protocol, port, to, more @ ..] = words.as_slice() else { panic!("{words:?}") };
    let device = |last: u8, mac: &'static str| (LAN, Some([10, 0, 0, last].into()), Some(mac));
    let (from, source, mac) = match *who {
        "mapped" => device(3, OTHER),
        "other-mapped" => device(4, OTHER),
        "closed" => device(5, OTHER),
        "stranger" => device(99, OTHER),
        "pinned" => device(6, PINNED),
        "pinned-by-another" => device(6, OTHER),
        "pinned-by-nobody" => (LAN, Some([10, 0, 0, 6].into()), None),
        "pinned-elsewhere" => device(99, PINNED),
        "pinned-as-mapped" => device(3, PINNED),
        "pinned-asking" => (LAN, Some(Ipv4Addr::UNSPECIFIED), Some(PINNED)),
        "pinned-v6" => (LAN, None, Some(PINNED)),
        "first-of-two" => device(7, TWICE),
        "second-of-two" => device(8, TWICE),
        "without-address" => (LAN, Some(Ipv4Addr::UNSPECIFIED), Some(OTHER)),
        "nobody" => (LAN, Some([192, 0, 2, 77].into()), Some(OTHER)),
        "as-gateway" => device(1, OTHER),
        "as-loopback" => (LAN, Some(Ipv4Addr::LOCALHOST), Some(OTHER)),
        "drill-closed" => (LAN, Some(CLOSED), Some(OTHER)),
        "drill-stranger" => (LAN, Some(STRANGER), Some(OTHER)),
        "lan-v6" => (LAN, None, Some(OTHER)),
        "internet" => (WAN, Some([198, 51, 100, 7].into()), Some(OTHER)),
        "internet-v6" => (WAN, None, Some(OTHER)),
        "closed-elsewhere" => ("br7", Some([10, 0, 0, 5].into()), Some(OTHER)),
        "mapped-elsewhere" => ("br7", Some([10, 0, 0, 3].into()), Some(OTHER)),
        "mapped-from-wan" => (WAN, Some([10, 0, 0, 3].into()), Some(OTHER)),
        "gateway" => ("lo", Some(Ipv4Addr::LOCALHOST), None),
        other => panic!("who is {other}?"),
    };
    let (to, destination) = match *to {
        "gateway" => (None, None),
        "everybody" => (None, Some(Ipv4Addr::BROADCAST)),
        "wan" => (Some(WAN), None),
        // With a program that routes multicast, or with bc_forwarding.
        "wan-multicast" => (Some(WAN), Some([239, 1, 1, 1].into())),
        "wan-broadcast" => (Some(WAN), Some([203, 0, 113, 255].into())),
        "vpn" => (Some("wg0"), None),
        "lan" => (Some(LAN), None),
        other => panic!("where is {other}?"),
    };
    let protocol = ["tcp", "udp", "icmp", "sctp", "udplite", "gre", "esp", "ipip", "igmp"]
        .into_iter()
        .find(|known| known == protocol)
        .unwrap_or_else(|| panic!("what is {protocol}?"));
    let port = Some(port.parse().unwrap()).filter(|port| *port != 0);
    let mut packet = Packet {
        from,
        to,
        source,
        destination,
        mac,
        protocol,
        port,
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

fn usual() -> Policy {
    Policy { lan_if: LAN.to_owned(), wan_if: WAN.to_owned(), ..policy() }
}

/// 12000 is open by TCP, 12001 by UDP and 12002 by both; the forwarders' ports lie in the middle.
fn tunnels() -> ActiveTunnels {
    ActiveTunnels { range: [10_000, 32_000], tcp: [12_000, 12_002].into(), udp: [12_001, 12_002].into() }
}

fn with(unregistered: Unregistered) -> Policy {
    Policy { unregistered, ..usual() }
}

/// `mapped` has 15001, `other-mapped` 15002, `pinned` 15003, `closed` and the two none.
fn text(policy: &Policy) -> Text {
    let ip = |last: u8| Ipv4Addr::new(10, 0, 0, last);
    let mac = |text: &str| text.parse::<Mac>().unwrap();
    let desired = Desired {
        mapped: [(ip(3), 15001), (ip(4), 15002), (ip(6), 15003)].into(),
        closed: [ip(5), ip(7), ip(8)].into(),
        pins: [(ip(6), mac(PINNED)), (ip(7), mac(TWICE)), (ip(8), mac(TWICE))].into(),
        tunnels: Some(tunnels()),
        ..Desired::default()
    };
    Text::read(&render::replace(&plan(&desired, policy).unwrap()))
}

#[track_caller]
fn ask(policy: &Policy, questions: &[(&str, &str)]) {
    let text = text(policy);
    let answer = |words: &str| walk::fate(&packet(words), &text);
    let wrong: Vec<String> = questions
        .iter()
        .filter(|(words, expected)| answer(words) != *expected)
        .map(|(words, expected)| format!("{words}: {}, not {expected}", answer(words)))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_word_that_is_not_understood_fails_the_question() {
    let ruleset = render::replace(&plan(&Desired::default(), &usual()).unwrap());
    for (known, unknown) in [
        ("oifname != \"ens19\"", "oifgroup != 7"),
        ("priority raw;", "priority mangle;"),
        ("policy accept;", "policy drop;"),
        ("goto closed", "jump elsewhere"),
        ("ct state established,related", "ct mark 7"),
        ("meta nfproto ipv4 fib", "ct state new fib"),
    ] {
        assert!(ruleset.contains(known), "{known}");
        let changed = ruleset.replace(known, unknown);
        let asked = std::panic::catch_unwind(|| {
            let text = Text::read(&changed);
            for words in ["stranger tcp 443 wan", "lan-v6 tcp 443 wan", "internet tcp 443 lan"] {
                walk::fate(&packet(words), &text);
            }
        });
        assert!(asked.is_err(), "{unknown} was understood");
    }
}
