//! Which public ports a plan's tunnels get: by the rules by which one alone gets its own, in the
//! order in which the plan is carried out. So a dry run meets the same conflicts.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::tunnel::{PortConflict, PortRules, PortSpan, Protocol};

use super::plan::{Deed, Plan, Step, Subject};
use super::snapshot::{KnownTunnelClient, Snapshot};
use super::tunnel_plan::TunnelDeed;
use crate::store::{Conflict, Ground};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// What cannot be had is a conflict.
    Strict,
    /// Undoing must not fail for what others did meanwhile: another port will do, and where there is
    /// none the tunnel stays as it is.
    Lenient,
}

pub(super) fn give(plan: &mut Plan, now: &Snapshot, ground: &Ground, manner: Manner) -> Result<(), Conflict> {
    let mut book = Book::of(now, ground);
    for step in &plan.steps {
        book.clear(step);
    }
    let mut without = Vec::new();
    for (at, step) in plan.steps.iter_mut().enumerate() {
        let given = book.give(step, manner);
        match (given, manner) {
            (Ok(()), _) => {}
            (Err(conflict), Manner::Strict) => {
                return Err(Conflict::PortOf { tunnel: step.subject.to_string(), conflict });
            }
            (Err(_), Manner::Lenient) => without.push(at),
        }
    }
    for at in without.into_iter().rev() {
        plan.steps.remove(at);
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Held {
    protocol: Protocol,
    port: Option<u16>,
}

/// A client, and how many it has.
struct Client {
    spans: Vec<PortSpan>,
    most: u32,
    held: u32,
    /// For itself.
    asked: Vec<Held>,
}

struct Book<'a> {
    ground: &'a Ground,
    reserved: [PortSpan; 1],
    clients: BTreeMap<String, Client>,
    /// The operator's, by client and name.
    tunnels: BTreeMap<(String, String), Held>,
    /// By whomever. Of the ports that the machine says are taken, those of tunnels are theirs.
    tcp: BTreeSet<u16>,
    udp: BTreeSet<u16>,
    either: BTreeSet<u16>,
}

impl<'a> Book<'a> {
    fn of(now: &Snapshot, ground: &'a Ground) -> Self {
        let forwarders = &ground.forwarders;
        let mut book = Self {
            ground,
            reserved: [PortSpan { from: forwarders.base(), to: forwarders.max() }],
            clients: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            tcp: ground.tcp.clone(),
            udp: ground.udp.clone(),
            either: BTreeSet::new(),
        };
        let all: Vec<Held> = now.tunnel_clients.values().flat_map(held).collect();
        for held in &all {
            book.leave(*held);
        }
        book.either = book.tcp.union(&book.udp).copied().collect();
        for held in &all {
            book.enter(*held);
        }
        for (name, known) in &now.tunnel_clients {
            let count = known.tunnels.len() + known.asked.len();
            let held = u32::try_from(count).unwrap_or(u32::MAX);
            let asked = asked(known).collect();
            let client = Client { spans: known.own.spans(), most: known.own.max_tunnels, held, asked };
            book.clients.insert(name.clone(), client);
            for (tunnel, known) in &known.tunnels {
                let held = Held { protocol: known.entry.protocol, port: known.entry.public_port };
                book.tunnels.insert((name.clone(), tunnel.clone()), held);
            }
        }
        book
    }

    fn enter(&mut self, Held { protocol, port }: Held) {
        let Some(port) = port else { return };
        if protocol.has_tcp() {
            self.tcp.insert(port);
        }
        if protocol.has_udp() {
            self.udp.insert(port);
        }
        self.either.insert(port);
    }

    fn leave(&mut self, Held { protocol, port }: Held) {
        let Some(port) = port else { return };
        if protocol.has_tcp() {
            self.tcp.remove(&port);
        }
        if protocol.has_udp() {
            self.udp.remove(&port);
        }
        if !self.tcp.contains(&port) && !self.udp.contains(&port) {
            self.either.remove(&port);
        }
    }

    /// What goes, and what is about to have another port, stands in nobody's way.
    fn clear(&mut self, Step { subject, deed }: &Step) {
        match (subject, deed) {
            (Subject::Tunnel(client, tunnel), Deed::Tunnels(TunnelDeed::Remove(_))) => {
                if let Some(held) = self.tunnels.remove(&(client.clone(), tunnel.clone())) {
                    self.leave(held);
                }
                if let Some(client) = self.clients.get_mut(client) {
                    client.held = client.held.saturating_sub(1);
                }
            }
            (Subject::Tunnel(client, tunnel), Deed::Tunnels(TunnelDeed::Change(_, patch, _))) => {
                let key = (client.clone(), tunnel.clone());
                let moves = patch.public_port.is_some() || patch.protocol.is_some();
                if let Some(held) = self.tunnels.get(&key).copied().filter(|_| moves) {
                    self.leave(held);
                }
            }
            (Subject::TunnelClient(name), Deed::Tunnels(TunnelDeed::ChangeClient(_, patch, _))) => {
                if let Some(client) = self.clients.get_mut(name) {
                    client.spans = patch.allowed_ports.clone().unwrap_or(std::mem::take(&mut client.spans));
                    client.most = patch.max_tunnels.unwrap_or(client.most);
                }
            }
            (Subject::TunnelClient(name), Deed::Tunnels(TunnelDeed::CreateClient(entry))) => {
                self.clients.insert(name.clone(), Client::new(entry.spans(), entry.max_tunnels));
            }
            (Subject::TunnelClient(name), Deed::Tunnels(TunnelDeed::RemoveClient(_))) => {
                let gone = self.clients.remove(name);
                for held in gone.into_iter().flat_map(|client| client.asked) {
                    self.leave(held);
                }
            }
            _ => {}
        }
    }

    fn give(&mut self, step: &mut Step, manner: Manner) -> Result<(), PortConflict> {
        let Subject::Tunnel(client, tunnel) = &step.subject else { return Ok(()) };
        let had = self.tunnels.get(&(client.clone(), tunnel.clone())).copied();
        match &mut step.deed {
            Deed::Tunnels(TunnelDeed::Create(entry)) => {
                let asked = entry.public_port.unwrap_or(0);
                entry.public_port = self.port(client, entry.protocol, asked, true, manner)?;
            }
            Deed::Tunnels(TunnelDeed::Change(_, patch, _)) => {
                let Some(had) = had else { return Ok(()) };
                if patch.public_port.is_some() || patch.protocol.is_some() {
                    let protocol = patch.protocol.unwrap_or(had.protocol);
                    let asked = patch.public_port.or(had.port).unwrap_or(0);
                    patch.public_port = self.port(client, protocol, asked, false, manner)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn port(
        &mut self,
        client: &str,
        protocol: Protocol,
        asked: u16,
        is_new: bool,
        manner: Manner,
    ) -> Result<Option<u16>, PortConflict> {
        let none = Client::new(Vec::new(), 0);
        let known = self.clients.get(client).unwrap_or(&none);
        let counts = is_new && manner == Manner::Strict;
        let rules = PortRules {
            range: &self.ground.range,
            reserved: &self.reserved,
            taken: match protocol {
                Protocol::Tcp => &self.tcp,
                Protocol::Udp => &self.udp,
                Protocol::Both | Protocol::Http => &self.either,
            },
            allowed: &known.spans,
            held: known.held,
            // Who has more than the quota of today keeps what he has.
            quota: if counts { known.most } else { u32::MAX },
        };
        let given = match (protocol, manner) {
            (Protocol::Http, _) if rules.held >= rules.quota => return Err(PortConflict::PortQuota),
            (Protocol::Http, _) => None,
            (_, Manner::Strict) => Some(rules.give(asked)?),
            (_, Manner::Lenient) => Some(rules.give(asked).or_else(|_| rules.give(0))?),
        };
        self.enter(Held { protocol, port: given });
        if let Some(client) = self.clients.get_mut(client).filter(|_| is_new) {
            client.held = client.held.saturating_add(1);
        }
        Ok(given)
    }
}

impl Client {
    fn new(spans: Vec<PortSpan>, most: u32) -> Self {
        Self { spans, most, held: 0, asked: Vec::new() }
    }
}

fn asked(client: &KnownTunnelClient) -> impl Iterator<Item = Held> {
    client.asked.iter().map(|(protocol, port)| Held { protocol: *protocol, port: *port })
}

fn held(client: &KnownTunnelClient) -> impl Iterator<Item = Held> {
    let entries = client.tunnels.values().map(|known| &known.entry);
    let operators = entries.map(|entry| Held { protocol: entry.protocol, port: entry.public_port });
    operators.chain(asked(client))
}
