//! What pgw means: who is redirected, who is closed, who is left alone. `render` says it to
//! the kernel; the questions in `trace` say it in words.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pgw_core::active::Desired;
use pgw_core::dns::DnsChoice;
use pgw_core::mac::Mac;
use pgw_core::ports::PortRange;
use pgw_core::settings::{AgentSettings, ClosedAction, Unregistered};

use super::drill;
use super::ruleset::{Counter, Elements, Match, Rule, Ruleset, Set, Skeleton, Verdict};

/// Who is registered, and with which hardware address if one was said.
pub type Known = BTreeMap<Ipv4Addr, Option<Mac>>;

/// The settings that shape the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub lan_if: String,
    pub wan_if: String,
    pub ports: PortRange,
    pub unregistered: Unregistered,
    pub closed_action: ClosedAction,
    pub dns: DnsChoice,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Such a port would not be covered by the rule that closes the forwarder range.
    #[error(
        "client {ip} has port {port}, outside of this agent's PGW_FWD_BASE_PORT..PGW_FWD_MAX_PORT={range}; \
         give pgw-api and pgw-agent the same range"
    )]
    PortOutside { ip: Ipv4Addr, port: u16, range: PortRange },
}

impl From<&AgentSettings> for Policy {
    fn from(settings: &AgentSettings) -> Self {
        Self {
            lan_if: settings.lan_if.clone(),
            wan_if: settings.wan_if.clone(),
            ports: settings.ports.clone(),
            unregistered: settings.unregistered,
            closed_action: settings.closed_action,
            dns: settings.dns,
        }
    }
}

pub fn plan(desired: &Desired, policy: &Policy) -> Result<Ruleset, PlanError> {
    let outside = desired.mapped.iter().find(|(_, port)| !policy.ports.contains(**port));
    if let Some((ip, port)) = outside {
        return Err(PlanError::PortOutside { ip: *ip, port: *port, range: policy.ports.clone() });
    }
    Ok(Ruleset { skeleton: skeleton(policy), elements: Elements::of(desired) })
}

/// The rules that close these devices and open none.
pub fn all_closed(known: &Known, policy: &Policy) -> Ruleset {
    let closed = known.keys().copied().collect();
    let pins = known.iter().filter_map(|(ip, mac)| Some((*ip, (*mac)?))).collect();
    let desired = Desired { closed, pins, ..Desired::default() };
    Ruleset { skeleton: skeleton(policy), elements: Elements::of(&desired) }
}

pub fn skeleton(policy: &Policy) -> Skeleton {
    Skeleton {
        sources: sources(policy),
        prerouting: prerouting(policy),
        input: input(policy),
        forward: forward(policy),
        postrouting: drill::postrouting(),
        closed: closed(policy.closed_action),
    }
}

fn rule(matches: Vec<Match>, verdict: Verdict, why: &'static str) -> Rule {
    Rule { matches, counter: None, verdict, why }
}

fn counted(matches: Vec<Match>, counter: Counter, verdict: Verdict, why: &'static str) -> Rule {
    Rule { matches, counter: Some(counter), verdict, why }
}

/// Every other rule believes the source address. What is dropped here is told nothing, whatever
/// PGW_CLOSED_ACTION says: an answer would go to somebody else.
fn sources(policy: &Policy) -> Vec<Rule> {
    let from_lan = || Match::From(policy.lan_if.clone());
    vec![
        counted(
            // IPv4 only: no IPv6 leaves anyway, and on the LAN it has sources that no route knows.
            vec![from_lan(), Match::Ipv4, Match::NoWayBack],
            Counter::Spoofed,
            Verdict::Drop,
            "nobody on the LAN has an address that is not routed there",
        ),
        rule(
            // Never forwarded. Without this, a pinned device could not get its address back.
            vec![from_lan(), Match::AsksForAddress],
            Verdict::Return,
            "a device without an address may ask for one",
        ),
        rule(vec![from_lan(), Match::Pinned], Verdict::Return, "a pinned device at its address"),
        counted(
            // Also where there are no hardware addresses to be seen.
            vec![from_lan(), Match::SourceIn(Set::Pinned)],
            Counter::Impostor,
            Verdict::Drop,
            "a pinned address is used by its device only",
        ),
        counted(
            vec![from_lan(), Match::Ipv4, Match::PinnedMac],
            Counter::Impostor,
            Verdict::Drop,
            "a pinned device is not somebody else by taking another address",
        ),
    ]
}

fn prerouting(policy: &Policy) -> Vec<Rule> {
    let from_lan = || Match::From(policy.lan_if.clone());
    let mut rules = Vec::new();
    if policy.dns == DnsChoice::Upstream {
        // Before the rule that spares the gateway's own addresses: the gateway is the resolver
        // that most devices were told to ask.
        rules.push(rule(
            vec![from_lan(), Match::Dns],
            Verdict::RedirectToOwnForwarder,
            "the names that a mapped device asks for, of whomever, go by its own forwarder",
        ));
    }
    rules.extend([
        rule(
            vec![from_lan(), Match::ToGateway],
            Verdict::Return,
            "addresses of the gateway are never redirected",
        ),
        rule(
            vec![from_lan(), Match::Web],
            Verdict::RedirectToOwnForwarder,
            "the web traffic of a mapped device goes to its own forwarder",
        ),
    ]);
    rules
}

fn input(policy: &Policy) -> Vec<Rule> {
    let from_lan = || Match::From(policy.lan_if.clone());
    let range = || Match::ForwarderRange(policy.ports.clone());
    let own_forwarder = match policy.dns {
        DnsChoice::Upstream => Match::OwnForwarderOrItsDns,
        DnsChoice::Gateway => Match::OwnForwarder,
    };
    let mut rules = vec![
        rule(
            // `ct status dnat` alone would also be true for another table's translation: the
            // pair of source and port makes it this device's own forwarder.
            vec![from_lan(), own_forwarder, Match::CameByRedirect],
            Verdict::Accept,
            "a mapped device reaches its own forwarder, by the redirect only",
        ),
        rule(
            // With a widened ip_local_port_range the kernel gives these ports to the gateway's
            // own connections. A packet without conntrack entry does not match.
            vec![Match::NotFromLoopback, range(), Match::ReplyDirection],
            Verdict::Accept,
            "answers to connections that the gateway itself opened",
        ),
        counted(
            vec![Match::NotFromLoopback, range()],
            Counter::ForwarderRange,
            Verdict::Drop,
            "nobody else reaches a forwarder, from nowhere",
        ),
    ];
    rules.extend(tunnels(policy));
    let whose_names = match policy.dns {
        DnsChoice::Upstream => "names of a registered device do not leave by the resolver of the gateway",
        DnsChoice::Gateway => {
            rules.push(rule(
                vec![from_lan(), Match::Dns, Match::SourceIn(Set::Open)],
                Verdict::Accept,
                "a mapped device may ask the resolver of the gateway",
            ));
            "names of a closed device do not leave by the resolver of the gateway"
        }
    };
    // What is asked of the gateway's resolver leaves by the gateway's own uplink: for a closed
    // device it would be a way out, and for a mapped one a second way beside its upstream. By
    // IPv6 nobody can tell who asks.
    match policy.unregistered {
        Unregistered::Allow => rules.extend([
            counted(
                vec![from_lan(), Match::Dns, Match::SourceIn(Set::Clients)],
                Counter::ClosedDns,
                Verdict::Closed,
                whose_names,
            ),
            counted(
                vec![from_lan(), Match::Dns, Match::NoSource],
                Counter::ClosedDns,
                Verdict::Closed,
                "who hides the own address may be a registered device",
            ),
            counted(
                vec![from_lan(), Match::Dns, Match::Ipv6],
                Counter::ClosedDns,
                Verdict::Closed,
                "an IPv6 source may be a registered device",
            ),
        ]),
        Unregistered::Drop => rules.push(counted(
            vec![from_lan(), Match::Dns],
            Counter::ClosedDns,
            Verdict::Closed,
            "nobody else uses the resolver of the gateway",
        )),
    }
    rules
}

/// What the WAN may reach of the tunnels' ports. Behind the rules for forwarders, whose range may lie
/// within this one. All of it is in sets: before anybody said which ports tunnels may have, it
/// means nothing.
fn tunnels(policy: &Policy) -> [Rule; 4] {
    let from_wan = || Match::From(policy.wan_if.clone());
    let open = "the public port of a tunnel that is open";
    [
        rule(vec![from_wan(), Match::OpenTunnelTcp], Verdict::Accept, open),
        rule(vec![from_wan(), Match::OpenTunnelUdp], Verdict::Accept, open),
        rule(
            // A resolver chooses its ports from far below those that the kernel gives.
            vec![from_wan(), Match::TunnelRange, Match::ReplyDirection],
            Verdict::Accept,
            "answers to connections that the gateway itself opened",
        ),
        counted(
            vec![from_wan(), Match::TunnelRange],
            Counter::TunnelRange,
            Verdict::Drop,
            "no tunnel is open at this port",
        ),
    ]
}

fn forward(policy: &Policy) -> Vec<Rule> {
    // Any interface but the LAN: a second uplink or a VPN is a way out as well.
    let outward = || {
        [Match::From(policy.lan_if.clone()), Match::LeavesBesides(policy.lan_if.clone())]
            .into_iter()
            .collect()
    };
    let outward_and = |more: &[Match]| {
        let mut matches: Vec<Match> = outward();
        matches.extend_from_slice(more);
        matches
    };
    let registered = Match::SourceIn(Set::Clients);
    let mut rules: Vec<Rule> = drill::met(&outward()).into();
    rules.extend([
        counted(
            outward_and(&[Match::Ipv6]),
            Counter::LanIpv6,
            Verdict::Closed,
            "by IPv6 a registered device could not be told from others",
        ),
        // Before the established ones: closed is closed at once, whatever was open.
        counted(
            outward_and(&[registered.clone(), Match::Udp]),
            Counter::ClosedUdp,
            Verdict::Closed,
            "UDP of a registered device, QUIC included, has no way out",
        ),
        counted(
            outward_and(std::slice::from_ref(&registered)),
            Counter::ClosedOther,
            Verdict::Closed,
            "a registered device leaves by its forwarder or not at all",
        ),
        // Also where PGW_LAN_IF is mistyped, or somebody has plugged the device in elsewhere.
        counted(
            vec![Match::LeavesBy(policy.wan_if.clone()), registered],
            Counter::ClosedOther,
            Verdict::Closed,
            "nor does it leave when it comes in by another interface",
        ),
    ]);
    if policy.unregistered == Unregistered::Drop {
        rules.push(counted(
            outward(),
            Counter::Unregistered,
            Verdict::Closed,
            "PGW_UNREGISTERED=drop: who is not registered stays in",
        ));
    }
    rules.push(rule(vec![Match::Established], Verdict::Accept, "answers to the others"));
    rules
}

fn closed(action: ClosedAction) -> Vec<Rule> {
    match action {
        ClosedAction::Drop => vec![rule(vec![], Verdict::Drop, "PGW_CLOSED_ACTION=drop")],
        ClosedAction::Reject => vec![
            rule(vec![Match::Tcp], Verdict::TcpReset, "PGW_CLOSED_ACTION=reject: programs notice at once"),
            rule(vec![], Verdict::Prohibited, "PGW_CLOSED_ACTION=reject: programs notice at once"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::policy;

    #[test]
    fn a_port_that_the_range_rule_does_not_cover_is_refused() {
        let mapped = [(Ipv4Addr::new(10, 0, 0, 3), 16000)].into();
        let error = plan(&Desired { mapped, ..Desired::default() }, &policy()).unwrap_err();
        assert!(error.to_string().contains("10.0.0.3 has port 16000"), "{error}");
    }

    #[test]
    fn the_skeleton_does_not_depend_on_who_is_registered() {
        let mapped = [(Ipv4Addr::new(10, 0, 0, 3), 15001)].into();
        let one = plan(&Desired { mapped, ..Desired::default() }, &policy()).unwrap();
        assert_eq!(one.skeleton, all_closed(&Known::new(), &policy()).skeleton);
    }
}
