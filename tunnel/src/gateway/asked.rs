//! Ports that clients ask for themselves. They live with the session, and for a while after it.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::ports::PortRange;
use pgw_core::tunnel::{
    ClientSpec, Desired, Limits, PortConflict, PortRules, PortSpan, Protocol, Reason, Target, TunnelSpec,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::wire::hello::OpenPort;

/// What one client has asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    ports: Vec<Port>,
    /// Since when it is away.
    pub gone: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(super) struct Port {
    id: TunnelId,
    wish: OpenPort,
    /// What it was given, and keeps when it comes back.
    given: Result<u16, Reason>,
    closed: bool,
}

/// What counts for all clients when a port is chosen.
pub(super) struct Ground<'a> {
    pub range: &'a PortRange,
    pub forwarders: &'a PortRange,
    pub desired: &'a Desired,
    /// By other programs, as far as it was tried.
    pub foreign: &'a BTreeSet<u16>,
}

impl Asked {
    /// The ports of a session that begins. What was asked for before is the same tunnel as before.
    pub(super) fn begin(&mut self, wishes: &[OpenPort]) {
        let mut before = std::mem::take(&mut self.ports);
        self.gone = None;
        for wish in wishes {
            let known = before.iter().position(|port| port.wish == *wish);
            let port = known.map(|at| before.swap_remove(at)).unwrap_or_else(|| Port {
                id: TunnelId(Uuid::now_v7()),
                wish: wish.clone(),
                given: Err(Reason::from(PortConflict::PortInUse)),
                closed: false,
            });
            self.ports.push(Port { closed: false, ..port });
        }
    }

    /// By its place in the hello.
    pub(super) fn close(&mut self, index: u32) {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        if let Some(port) = self.ports.get_mut(at) {
            port.closed = true;
        }
    }

    /// True: it was there.
    pub(super) fn close_tunnel(&mut self, id: TunnelId) -> bool {
        let found = self.ports.iter_mut().find(|port| port.id == id && !port.closed);
        found.map(|port| port.closed = true).is_some()
    }

    /// Its number turned out to be another program's. True: the gateway had chosen it, and chooses
    /// another one.
    pub(super) fn let_go(&mut self, index: u32) -> bool {
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        let chosen = self.ports.get_mut(at).filter(|port| port.wish.remote_port == 0);
        chosen.map(|port| port.given = Err(Reason::from(PortConflict::PortInUse))).is_some()
    }

    /// Its tunnels, with their place in the hello; those that were refused with the reason.
    pub(super) fn tunnels(
        &self,
        client: TunnelClientId,
    ) -> impl Iterator<Item = (u32, TunnelSpec, Option<Reason>)> {
        self.ports.iter().zip(0..).filter(|(port, _)| !port.closed).map(move |(port, index)| {
            let Port { id, wish, given, .. } = port;
            let spec = TunnelSpec {
                id: *id,
                name: wish.name.clone().unwrap_or_else(|| format!("{}:{}", wish.local_host, wish.local_port)),
                client_id: client,
                protocol: wish.protocol,
                public_port: given.as_ref().ok().copied(),
                route: None,
                target: Target { host: wish.local_host.clone(), port: wish.local_port },
                limits: Limits::default(),
                compression: wish.compression,
                proxy_protocol: wish.proxy_protocol,
                udp_idle_s: 30,
            };
            (index, spec, given.as_ref().err().cloned())
        })
    }
}

/// Gives each port that was asked for a number, as the rules allow, in the order of asking. Those
/// that have one keep it for as long as the rules allow it.
pub(super) fn give(all: &mut BTreeMap<TunnelClientId, Asked>, ground: &Ground<'_>) {
    let clients: Vec<_> = all.keys().copied().collect();
    for client in clients {
        let Some(spec) = ground.desired.client(client) else { continue };
        let count = all.get(&client).map_or(0, |asked| asked.ports.len());
        for at in 0..count {
            let Some(port) = all.get(&client).and_then(|asked| asked.ports.get(at)).cloned() else {
                continue;
            };
            let given = if port.closed { port.given } else { number(&port, at, spec, all, ground) };
            if let Some(port) = all.get_mut(&client).and_then(|asked| asked.ports.get_mut(at)) {
                port.given = given;
            }
        }
    }
}

fn number(
    port: &Port,
    at: usize,
    client: &ClientSpec,
    all: &BTreeMap<TunnelClientId, Asked>,
    ground: &Ground<'_>,
) -> Result<u16, Reason> {
    if port.wish.protocol == Protocol::Http {
        let detail = "an http tunnel has a name and not a port; an operator makes it".to_owned();
        return Err(Reason { code: None, detail });
    }
    let desired = ground.desired;
    let by_operator = desired.tunnels.iter().filter_map(|t| Some((t.protocol, t.public_port?)));
    let by_clients =
        all.values().flat_map(|asked| &asked.ports).filter(|other| other.id != port.id && !other.closed);
    let by_clients = by_clients.filter_map(|other| Some((other.wish.protocol, *other.given.as_ref().ok()?)));
    let mut taken: BTreeSet<u16> = by_operator
        .chain(by_clients)
        .filter(|(protocol, _)| protocol.overlaps(port.wish.protocol))
        .map(|(_, number)| number)
        .collect();
    let kept = port.given.as_ref().ok().copied();
    taken.extend(ground.foreign.iter().filter(|number| kept != Some(**number)));
    let mut reserved = desired.reserved.clone();
    reserved.push(PortSpan { from: ground.forwarders.base(), to: ground.forwarders.max() });
    let operators = desired.tunnels.iter().filter(|tunnel| tunnel.client_id == client.id).count();
    let rules = PortRules {
        range: ground.range,
        reserved: &reserved,
        taken: &taken,
        allowed: &client.allowed_ports,
        held: u32::try_from(operators + at).unwrap_or(u32::MAX),
        quota: client.max_tunnels,
    };
    // The same number as before, if the gateway had chosen it.
    let kept = kept.filter(|_| port.wish.remote_port == 0).and_then(|number| rules.give(number).ok());
    kept.map_or_else(|| rules.give(port.wish.remote_port), Ok).map_err(Reason::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(port: u16, protocol: Protocol) -> OpenPort {
        OpenPort {
            remote_port: port,
            protocol,
            local_host: "127.0.0.1".to_owned(),
            local_port: 80,
            name: None,
            compression: false,
            proxy_protocol: false,
        }
    }

    fn desired(quota: u32) -> Desired {
        let client = |n| ClientSpec {
            id: TunnelClientId(Uuid::from_u128(n)),
            name: n.to_string(),
            enabled: true,
            token: None,
            allowed_ports: Vec::new(),
            max_tunnels: quota,
            max_connections: 10,
            bandwidth: None,
        };
        Desired { clients: vec![client(1), client(2)], ..Desired::nothing() }
    }

    fn given(all: &BTreeMap<TunnelClientId, Asked>, n: u128) -> Vec<Result<u16, &'static str>> {
        let asked = &all[&TunnelClientId(Uuid::from_u128(n))];
        let code = |reason: &Reason| reason.code.map_or("none", PortConflict::code);
        asked.ports.iter().map(|port| port.given.as_ref().map(|port| *port).map_err(code)).collect()
    }

    fn play(all: &mut BTreeMap<TunnelClientId, Asked>, desired: &Desired, foreign: &[u16]) {
        let (range, forwarders) = (PortRange::spanning(10_000, 10_003), PortRange::spanning(10_003, 10_100));
        let foreign = foreign.iter().copied().collect();
        give(all, &Ground { range: &range, forwarders: &forwarders, desired, foreign: &foreign });
    }

    #[test]
    fn each_gets_what_it_may_have_and_keeps_it_when_it_comes_back() {
        let mut all = BTreeMap::<TunnelClientId, Asked>::new();
        let (one, two) = (TunnelClientId(Uuid::from_u128(1)), TunnelClientId(Uuid::from_u128(2)));
        let wishes = [wish(0, Protocol::Tcp), wish(0, Protocol::Both), wish(10_003, Protocol::Tcp)];
        all.entry(one).or_default().begin(&wishes);
        all.entry(two).or_default().begin(&[wish(10_000, Protocol::Tcp), wish(10_000, Protocol::Udp)]);
        play(&mut all, &desired(8), &[]);
        assert_eq!(given(&all, 1), [Ok(10_000), Ok(10_001), Err("port_reserved")]);
        assert_eq!(given(&all, 2), [Err("port_in_use"), Ok(10_000)]);
        let id = all[&one].ports[1].id;
        // The first of its ports is asked for no more: the second one stays what it was.
        all.get_mut(&one).unwrap().begin(&wishes[1..2]);
        play(&mut all, &desired(8), &[]);
        assert_eq!((given(&all, 1), all[&one].ports[0].id), (vec![Ok(10_001)], id));
        assert_eq!(given(&all, 2), [Ok(10_000), Ok(10_000)]);
    }

    #[test]
    fn what_another_program_has_is_not_given_and_a_quota_holds() {
        let mut all = BTreeMap::new();
        let one = TunnelClientId(Uuid::from_u128(1));
        let asked: &mut Asked = all.entry(one).or_default();
        asked.begin(&[wish(0, Protocol::Tcp), wish(0, Protocol::Udp), wish(0, Protocol::Http)]);
        play(&mut all, &desired(1), &[10_000]);
        assert_eq!(given(&all, 1), [Ok(10_001), Err("port_quota"), Err("none")]);
    }

    #[test]
    fn a_number_that_turns_out_to_be_another_programs_is_given_up_for_the_next() {
        let mut all = BTreeMap::new();
        let one = TunnelClientId(Uuid::from_u128(1));
        let asked: &mut Asked = all.entry(one).or_default();
        asked.begin(&[wish(0, Protocol::Udp), wish(0, Protocol::Tcp), wish(10_002, Protocol::Udp)]);
        play(&mut all, &desired(8), &[]);
        assert_eq!(given(&all, 1), [Ok(10_000), Ok(10_000), Ok(10_002)]);
        let asked = all.get_mut(&one).unwrap();
        assert!(asked.let_go(0) && !asked.let_go(2) && !asked.let_go(7));
        play(&mut all, &desired(8), &[10_000]);
        assert_eq!(given(&all, 1), [Ok(10_001), Ok(10_000), Ok(10_002)], "of TCP it is open");
    }

    #[test]
    fn a_client_closes_its_own_only_and_may_ask_again() {
        let mut asked = Asked::default();
        let one = TunnelClientId(Uuid::from_u128(1));
        asked.begin(&[wish(0, Protocol::Tcp)]);
        asked.close(7);
        assert_eq!(asked.tunnels(one).count(), 1);
        asked.close(0);
        assert_eq!(asked.tunnels(one).count(), 0);
        asked.begin(&[wish(0, Protocol::Tcp)]);
        assert_eq!(asked.tunnels(one).count(), 1);
    }
}
