//! What the leak drill needs of the rules. One address is a closed client for good, in the same
//! set as every other; its packets are counted where they meet the rules, and counted and dropped
//! where they would leave. All of it is there all the time: a drill changes no rule, so there is
//! nothing that one which was killed could leave behind, and nothing of it ever gets out.
//!
//! The addresses are of the ranges that are set aside for documentation: no device has them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Deserialize;
use serde_json::Value;

use super::listing::ListingError;
use super::ruleset::{Match, Net, Rule, Verdict};

/// Registered and closed.
pub const CLOSED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 240);
/// On the LAN as well, and registered nowhere.
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 241);
/// Not on the LAN: on the drill's own cable.
pub const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 242);
/// "On the internet".
pub const TARGET: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 244);
/// By IPv6 nobody is registered, and everybody on the LAN is closed.
pub const CLOSED6: Ipv6Addr = ipv6(0x240);
pub const ELSEWHERE6: Ipv6Addr = ipv6(0x242);
pub const TARGET6: Ipv6Addr = ipv6(0x244);
/// All of the drill's devices; the target is outside.
pub const DEVICES: Net = Net::V4(CLOSED, 30);
pub const DEVICES6: Net = Net::V6(CLOSED6, 126);

const fn ipv6(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0x7067, 0x7764, 0, 0, 0, last)
}

/// A way out, tried with a packet of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    Http,
    Https,
    DnsTcp,
    OtherTcp,
    DnsUdp,
    Quic,
    OtherUdp,
    Ping,
    Tcp6,
    Udp6,
    Ping6,
}

/// Where packets are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// From the LAN to elsewhere, before any rule has closed it.
    Met,
    /// On the way out, from the closed device.
    Leaked,
    /// On the way out, from the others of the drill.
    Control,
}

pub type Tally = BTreeMap<(Place, Canary), u64>;

impl Canary {
    /// IPv6 first: what follows need not ask for IPv4. The last of each takes all that is left.
    pub const ALL: [Self; 11] = [
        Self::Tcp6,
        Self::Udp6,
        Self::Ping6,
        Self::Http,
        Self::Https,
        Self::DnsTcp,
        Self::OtherTcp,
        Self::DnsUdp,
        Self::Quic,
        Self::OtherUdp,
        Self::Ping,
    ];

    /// For an operator, and the comment by which the kernel's count is found again.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "tcp 80",
            Self::Https => "tcp 443",
            Self::DnsTcp => "tcp 53 (dns)",
            Self::OtherTcp => "tcp other",
            Self::DnsUdp => "udp 53 (dns)",
            Self::Quic => "udp 443 (quic)",
            Self::OtherUdp => "udp other",
            Self::Ping => "icmp",
            Self::Tcp6 => "ipv6 tcp",
            Self::Udp6 => "ipv6 udp",
            Self::Ping6 => "ipv6 icmp",
        }
    }

    pub fn is_ipv6(self) -> bool {
        matches!(self, Self::Tcp6 | Self::Udp6 | Self::Ping6)
    }

    fn matches(self) -> Vec<Match> {
        match self {
            Self::Http => vec![Match::TcpTo(80)],
            Self::Https => vec![Match::TcpTo(443)],
            Self::DnsTcp => vec![Match::TcpTo(53)],
            Self::OtherTcp => vec![Match::Tcp],
            Self::DnsUdp => vec![Match::UdpTo(53)],
            Self::Quic => vec![Match::UdpTo(443)],
            Self::OtherUdp => vec![Match::Udp],
            Self::Ping => vec![],
            Self::Tcp6 => vec![Match::Ipv6, Match::Tcp],
            Self::Udp6 => vec![Match::Ipv6, Match::Udp],
            Self::Ping6 => vec![Match::Ipv6],
        }
    }
}

impl Place {
    pub const ALL: [Self; 3] = [Self::Met, Self::Leaked, Self::Control];

    pub fn chain(self) -> &'static str {
        match self {
            Self::Met => "drill_met",
            Self::Leaked => "drill_leaked",
            Self::Control => "drill_control",
        }
    }

    pub(super) fn rules(self) -> Vec<Rule> {
        let verdict = match self {
            Self::Met => Verdict::CountAndReturn,
            Self::Leaked | Self::Control => Verdict::CountAndDrop,
        };
        let rule =
            |canary: Canary| Rule { matches: canary.matches(), counter: None, verdict, why: canary.name() };
        Canary::ALL.map(rule).into()
    }
}

/// In front of the rules that close: what is counted here is on its way from the LAN to elsewhere.
pub(super) fn met(outward: &[Match]) -> [Rule; 2] {
    [DEVICES, DEVICES6].map(|devices| {
        let matches = [outward, &[Match::Source(devices)]].concat();
        rule(matches, Verdict::CountedAt(Place::Met), "the leak drill's packets met these rules")
    })
}

/// Behind everything, before addresses are translated.
pub(super) fn postrouting() -> Vec<Rule> {
    let to = |devices| vec![Match::Destination(devices)];
    let from = |devices| vec![Match::Source(devices)];
    let (quiet, leaked) =
        ("the LAN does not hear of the leak drill", "a closed device's packet would be out");
    let control = "a packet would be out that nobody closes";
    vec![
        rule(to(DEVICES), Verdict::Drop, quiet),
        rule(to(DEVICES6), Verdict::Drop, quiet),
        rule(from(Net::V4(CLOSED, 32)), Verdict::EndsAt(Place::Leaked), leaked),
        rule(from(Net::V6(CLOSED6, 128)), Verdict::EndsAt(Place::Leaked), leaked),
        rule(from(DEVICES), Verdict::EndsAt(Place::Control), control),
        rule(from(DEVICES6), Verdict::EndsAt(Place::Control), control),
    ]
}

fn rule(matches: Vec<Match>, verdict: Verdict, why: &'static str) -> Rule {
    Rule { matches, counter: None, verdict, why }
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    rule: Option<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    chain: String,
    comment: Option<String>,
    #[serde(default)]
    expr: Vec<Value>,
}

/// From `nft -j list table`. None unless every one is counted at every place: rules of somebody
/// else, or none.
pub(super) fn read(json: &[u8]) -> Result<Option<Tally>, ListingError> {
    let listing: Listing =
        serde_json::from_slice(json).map_err(|error| ListingError::Json(error.to_string()))?;
    let mut tally = Tally::new();
    for rule in listing.nftables.into_iter().filter_map(|object| object.rule) {
        let place = Place::ALL.into_iter().find(|place| place.chain() == rule.chain);
        let canary = Canary::ALL.into_iter().find(|canary| rule.comment.as_deref() == Some(canary.name()));
        let packets = rule.expr.iter().find_map(|part| part.pointer("/counter/packets")?.as_u64());
        if let (Some(place), Some(canary), Some(packets)) = (place, canary, packets) {
            *tally.entry((place, canary)).or_default() += packets;
        }
    }
    Ok((tally.len() == Place::ALL.len() * Canary::ALL.len()).then_some(tally))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(rules: impl Iterator<Item = (Place, Canary)>) -> Vec<u8> {
        let rule = |(place, canary): (Place, Canary)| {
            json!({"rule": {"chain": place.chain(), "comment": canary.name(),
                "expr": [{"match": {}}, {"counter": {"packets": 3, "bytes": 90}}, {"drop": null}]}})
        };
        let other = json!({"rule": {"chain": "forward", "expr": [{"counter": {"packets": 9}}]}});
        json!({"nftables": rules.map(rule).chain([other]).collect::<Vec<_>>()}).to_string().into_bytes()
    }

    #[test]
    fn counts_are_believed_only_if_every_one_of_them_is_there() {
        let all = || Place::ALL.into_iter().flat_map(|place| Canary::ALL.map(|canary| (place, canary)));
        let tally = read(&listing(all())).unwrap().unwrap();
        assert!(tally.values().all(|packets| *packets == 3));
        for missing in 0..all().count() {
            let others = all().enumerate().filter(|(n, _)| *n != missing).map(|(_, each)| each);
            assert_eq!(read(&listing(others)).unwrap(), None);
        }
        assert!(matches!(read(b"Segmentation"), Err(ListingError::Json(_))));
    }

    #[test]
    fn the_target_is_none_of_the_devices() {
        for device in [CLOSED, STRANGER, ELSEWHERE] {
            assert!(DEVICES.holds(device.into()) && !DEVICES6.holds(device.into()));
        }
        assert!(!DEVICES.holds(TARGET.into()) && !DEVICES6.holds(TARGET6.into()));
        assert!(DEVICES6.holds(CLOSED6.into()) && DEVICES6.holds(ELSEWHERE6.into()));
    }
}
