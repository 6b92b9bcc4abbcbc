//! Leads a packet through the rules, word by word.

use std::net::Ipv4Addr;

use super::Packet;
use super::text::{Chain, Hook, Table, Text};

/// What one chain says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Drop(String),
    Reject(String),
    Redirect(u16),
    /// Accepted by this chain, or not spoken of: the policy of all our chains is accept.
    Nothing,
}

/// What is left of a rule.
struct Words<'a>(&'a [String]);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let [first, rest @ ..] = self.0 else { panic!("a rule without an end") };
        self.0 = rest;
        first
    }

    /// Goes on behind these words, if they come next.
    fn take(&mut self, words: &str) -> bool {
        let wanted: Vec<&str> = words.split(' ').collect();
        let comes = self.0.len() >= wanted.len() && self.0.iter().zip(&wanted).all(|(a, b)| a == b);
        if comes {
            self.0 = &self.0[wanted.len()..];
        }
        comes
    }
}

pub(super) fn fate(packet: &Packet, rules: &Text) -> String {
    let mut packet = packet.clone();
    for (family, table, chain, hook) in rules.at("prerouting") {
        // nat chains see the first packet of a flow only, and no flow is translated twice.
        let passes = hook.kind == "nat" && (packet.established || packet.dnat)
            || family.starts_with("ip ") && packet.source.is_none();
        if passes {
            continue;
        }
        match walk(&packet, table, chain, hook) {
            Said::Redirect(port) => {
                packet = Packet { to: None, port: Some(port), dnat: true, ..packet };
            }
            Said::Nothing => {}
            Said::Drop(by) => return format!("dropped by {by}"),
            Said::Reject(by) => panic!("{by}: here the kernel cannot reject"),
        }
    }
    for (_, table, chain, hook) in rules.at(if packet.to.is_none() { "input" } else { "forward" }) {
        match walk(&packet, table, chain, hook) {
            Said::Nothing => {}
            Said::Drop(by) => return format!("dropped by {by}"),
            Said::Reject(by) => return format!("rejected by {by}"),
            Said::Redirect(_) => panic!("only prerouting redirects"),
        }
    }
    for (_, table, chain, hook) in rules.at("postrouting").into_iter().filter(|_| packet.to.is_some()) {
        match walk(&packet, table, chain, hook) {
            Said::Nothing => {}
            Said::Drop(by) => return format!("dropped by {by}"),
            Said::Reject(_) | Said::Redirect(_) => panic!("what leaves is dropped or not"),
        }
    }
    match (packet.to, packet.port) {
        (Some(interface), _) => format!("leaves by {interface}"),
        (None, Some(port)) => format!("reaches {port}"),
        (None, None) => "reaches the gateway".to_owned(),
    }
}

fn walk(packet: &Packet, table: &Table, chain: &Chain, hook: &Hook) -> Said {
    for rule in &chain.rules {
        if let Some(said) = judge(packet, table, rule, hook) {
            return said;
        }
    }
    Said::Nothing
}

/// None if the rule has nothing to say to this packet.
fn judge(packet: &Packet, table: &Table, rule: &[String], hook: &Hook) -> Option<Said> {
    let [.., comment, why] = rule else { panic!("{rule:?} is no rule") };
    assert_eq!(comment, "comment", "every rule says why: {rule:?}");
    let mut words = Words(&rule[..rule.len() - 2]);
    let mut by = why.as_str();
    loop {
        if words.take("counter name") {
            by = words.next();
            assert!(table.counts(by), "there is no counter {by}");
        } else if words.take("counter") {
            // Of the rule itself.
        } else if words.take("jump") {
            let next = table.chains.get(words.next()).expect("a chain that is there");
            return match walk(packet, table, next, hook) {
                Said::Nothing => None,
                said @ (Said::Drop(_) | Said::Reject(_) | Said::Redirect(_)) => Some(said),
            };
        } else if words.take("accept") || words.take("return") {
            return Some(Said::Nothing);
        } else if words.take("drop") {
            return Some(Said::Drop(by.to_owned()));
        } else if words.take("reject with tcp reset") {
            assert_eq!(packet.protocol, "tcp", "only tcp can be reset");
            return Some(Said::Reject(by.to_owned()));
        } else if words.take("reject with icmpx admin-prohibited") {
            return Some(Said::Reject(by.to_owned()));
        } else if words.take("goto") {
            let next = table.chains.get(words.next()).expect("a chain that is there");
            return Some(match walk(packet, table, next, hook) {
                // Who sent it there has the counter.
                Said::Drop(_) => Said::Drop(by.to_owned()),
                Said::Reject(_) => Said::Reject(by.to_owned()),
                said @ (Said::Redirect(_) | Said::Nothing) => said,
            });
        } else if words.take("redirect to :ip saddr map @client_port") {
            let source = packet.source?.to_string();
            // Without an entry in the map the rule is not met, and the next one is asked.
            let port = table.sets["client_port"].get(&source)?;
            return Some(Said::Redirect(port.parse().unwrap()));
        } else if !met(packet, table, &mut words, hook) {
            return None;
        }
    }
}

/// One comparison. What a packet does not have is unequal, and not unlike, to everything.
fn met(packet: &Packet, table: &Table, words: &mut Words<'_>, hook: &Hook) -> bool {
    let mut key = vec![field(packet, words, hook)];
    while words.take(".") {
        key.push(field(packet, words, hook));
    }
    let unlike = words.take("!=");
    let wanted = match words.next() {
        "{" => {
            let mut list = String::new();
            while !words.take("}") {
                list.push_str(words.next());
            }
            list
        }
        word => word.to_owned(),
    };
    let Some(key) = key.into_iter().collect::<Option<Vec<String>>>() else { return false };
    let key = key.join(" . ");
    let is = wanted.split(',').any(|wanted| match wanted.strip_prefix('@') {
        Some(set) => table.sets[set].keys().any(|held| is(&key, held)),
        None => is(&key, wanted),
    });
    is != unlike
}

/// A value, a span of ports, or a net.
fn is(key: &str, wanted: &str) -> bool {
    match (wanted.split_once('-'), wanted.split_once('/')) {
        (Some((from, to)), _) if from.parse::<u16>().is_ok() => {
            let range = from.parse::<u16>().unwrap()..=to.parse().unwrap();
            range.contains(&key.parse().unwrap())
        }
        (_, Some((net, bits))) => agrees(key, net, bits.parse().unwrap()),
        _ => wanted == key,
    }
}

fn agrees(address: &str, net: &str, bits: u32) -> bool {
    let [address, net] = [address, net].map(|text| text.parse::<Ipv4Addr>().unwrap().to_bits());
    (address ^ net).leading_zeros() >= bits
}

fn field(packet: &Packet, words: &mut Words<'_>, hook: &Hook) -> Option<String> {
    let port_of = |protocols: &[&str]| {
        packet.port.filter(|_| protocols.contains(&packet.protocol)).map(|port| port.to_string())
    };
    let word = |word: &str| Some(word.to_owned());
    if words.take("iifname") {
        word(packet.from)
    } else if words.take("oifname") {
        word(packet.to.expect("only a forwarded packet leaves"))
    } else if words.take("meta nfproto") {
        word(if packet.source.is_some() { "ipv4" } else { "ipv6" })
    } else if words.take("meta l4proto") {
        word(packet.protocol)
    } else if words.take("th dport") {
        port_of(&["tcp", "udp", "sctp", "udplite"])
    } else if words.take("tcp dport") {
        port_of(&["tcp"])
    } else if words.take("udp dport") {
        port_of(&["udp"])
    } else if words.take("fib daddr type") {
        word(if packet.to.is_none() && packet.destination.is_none() { "local" } else { "other" })
    } else if words.take("fib saddr . iif oif") {
        word(if packet.has_a_way_back() { packet.from } else { "missing" })
    } else if words.take("ip saddr") {
        packet.source.map(|ip| ip.to_string())
    } else if words.take("ip daddr") {
        packet.source.and(packet.destination).map(|ip| ip.to_string())
    } else if words.take("ip6 saddr") || words.take("ip6 daddr") {
        // Nobody who is asked about here has an IPv6 address that a rule names.
        None
    } else if words.take("ether saddr") {
        packet.mac.map(str::to_owned)
    } else {
        assert!(hook.priority > -200, "conntrack has not seen it yet: {:?}", words.0);
        if words.take("ct status") {
            word(if packet.dnat { "dnat" } else { "none" })
        } else if words.take("ct direction") {
            word(if packet.reply { "reply" } else { "original" })
        } else if words.take("ct state") {
            word(if packet.established { "established" } else { "new" })
        } else {
            panic!("not understood: {:?}", words.0)
        }
    }
}
