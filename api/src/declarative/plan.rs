//! From what shall be and what is to what has to be done, in an order in which no step meets
//! something that a later one would have cleared away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pgw_core::ids::{ClientId, ClientIp, MappingId, ProxyId};

use super::diff;
use super::document::{ClientEntry, MappingEntry, ProxyEntry};
use super::snapshot::{KnownClient, KnownMapping, Snapshot};
use super::told::FieldChange;
use super::tunnel_plan::TunnelDeed;
use super::wanted::Wanted;
use crate::store::{ClientPatch, MappingPatch, NewClient, NewProxy, ProxyPatch};

#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
    /// How many things stay as they are.
    pub kept: usize,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub subject: Subject,
    pub deed: Deed,
}

/// What a step is about, by the names that a document uses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Proxy(String),
    Client(ClientIp),
    Mapping(ClientIp, String),
    TunnelClient(String),
    /// Of this client.
    Tunnel(String, String),
}

/// What is new has no id yet: mappings find their client and proxy by the subject.
#[derive(Debug, Clone)]
pub enum Deed {
    RemoveMapping(MappingId),
    RemoveClient(ClientId),
    RemoveProxy(ProxyId),
    CreateProxy(NewProxy),
    ChangeProxy(ProxyId, ProxyPatch, Vec<FieldChange>),
    CreateClient(NewClient),
    ChangeClient(ClientId, ClientPatch, Vec<FieldChange>),
    CreateMapping(MappingEntry),
    ChangeMapping(MappingId, MappingPatch, Vec<FieldChange>),
    Tunnels(TunnelDeed),
}

/// Says of everything that is wanted what is missing to it. Total: what cannot be is refused
/// before, by `Wanted::of`.
pub fn plan(wanted: &Wanted, now: &Snapshot) -> Plan {
    let mut draft = Draft::default();
    for (ip, entry) in &wanted.clients {
        draft.client(*ip, entry.as_ref(), now.clients.get(ip));
    }
    for (name, entry) in &wanted.proxies {
        let known = now.proxies.get(name);
        match (entry, known) {
            (Some(entry), Some(known)) => {
                let (patch, fields) = diff::proxy(&known.entry, entry);
                let deed = (!fields.is_empty()).then_some(Deed::ChangeProxy(known.id, patch, fields));
                draft.stays(Subject::Proxy(name.clone()), deed);
            }
            (Some(entry), None) => {
                draft.push(Subject::Proxy(name.clone()), Deed::CreateProxy(new_proxy(entry)));
            }
            (None, Some(known)) => draft.push(Subject::Proxy(name.clone()), Deed::RemoveProxy(known.id)),
            (None, None) => {}
        }
    }
    for (name, entry) in &wanted.tunnel_clients {
        draft.tunnel_client(name, entry.as_ref(), now.tunnel_clients.get(name));
    }
    draft.plan()
}

#[derive(Default)]
pub(super) struct Draft {
    steps: Vec<Step>,
    kept: usize,
}

impl Draft {
    pub(super) fn push(&mut self, subject: Subject, deed: Deed) {
        self.steps.push(Step { subject, deed });
    }

    /// It was there and stays there.
    pub(super) fn stays(&mut self, subject: Subject, change: Option<Deed>) {
        match change {
            Some(deed) => self.push(subject, deed),
            None => self.kept += 1,
        }
    }

    fn client(&mut self, ip: ClientIp, entry: Option<&ClientEntry>, known: Option<&KnownClient>) {
        let subject = Subject::Client(ip);
        match (entry, known) {
            (Some(entry), Some(known)) => {
                let (patch, fields) = diff::client(known, entry);
                let deed = (!fields.is_empty()).then_some(Deed::ChangeClient(known.id, patch, fields));
                self.stays(subject, deed);
            }
            (Some(entry), None) => self.push(subject, Deed::CreateClient(new_client(entry))),
            (None, Some(known)) => self.push(subject, Deed::RemoveClient(known.id)),
            (None, None) => {}
        }
        let wanted = entry.map_or(&[][..], |entry| &entry.mappings);
        let none = BTreeMap::new();
        self.mappings(ip, wanted, known.map_or(&none, |known| &known.mappings));
    }

    fn mappings(&mut self, ip: ClientIp, wanted: &[MappingEntry], known: &BTreeMap<String, KnownMapping>) {
        let wanted: BTreeMap<&String, &MappingEntry> =
            wanted.iter().map(|entry| (&entry.proxy, entry)).collect();
        for (proxy, mapping) in known.iter().filter(|(proxy, _)| !wanted.contains_key(proxy)) {
            self.push(Subject::Mapping(ip, proxy.clone()), Deed::RemoveMapping(mapping.id));
        }
        for (proxy, entry) in wanted {
            let subject = Subject::Mapping(ip, proxy.clone());
            match known.get(proxy) {
                Some(mapping) => {
                    let (patch, fields) = diff::mapping(&mapping.entry, entry);
                    let deed = (!fields.is_empty()).then_some(Deed::ChangeMapping(mapping.id, patch, fields));
                    self.stays(subject, deed);
                }
                None => self.push(subject, Deed::CreateMapping(entry.clone())),
            }
        }
    }

    /// Of equal priority the older goes first, so that new ones are made in an order that does not
    /// come from the document: by priority, then by name.
    fn plan(mut self) -> Plan {
        self.steps.sort_by_cached_key(|step| (step.deed.turn(), step.deed.priority(), step.subject.clone()));
        Plan { steps: self.steps, kept: self.kept }
    }
}

impl Plan {
    /// Whoever gets its first mapping and has no port yet.
    pub fn new_ports(&self, now: &Snapshot) -> BTreeSet<ClientIp> {
        let has_port = |ip: &ClientIp| now.clients.get(ip).is_some_and(|client| client.has_port);
        let first = |step: &Step| match (&step.subject, &step.deed) {
            (Subject::Mapping(ip, _), Deed::CreateMapping(_)) => Some(*ip),
            _ => None,
        };
        self.steps.iter().filter_map(first).filter(|ip| !has_port(ip)).collect()
    }
}

impl Deed {
    /// Removal goes from the mapping to what it stands on, and making goes the other way.
    fn turn(&self) -> u8 {
        match self {
            Self::RemoveMapping(_) => 0,
            Self::RemoveClient(_) => 1,
            Self::RemoveProxy(_) => 2,
            Self::ChangeProxy(..) => 3,
            Self::CreateProxy(_) => 4,
            Self::ChangeClient(..) => 5,
            Self::CreateClient(_) => 6,
            Self::ChangeMapping(..) => 7,
            Self::CreateMapping(_) => 8,
            Self::Tunnels(TunnelDeed::Remove(_)) => 9,
            Self::Tunnels(TunnelDeed::RemoveClient(_)) => 10,
            Self::Tunnels(TunnelDeed::ChangeClient(..)) => 11,
            Self::Tunnels(TunnelDeed::CreateClient(_)) => 12,
            Self::Tunnels(TunnelDeed::Change(..)) => 13,
            Self::Tunnels(TunnelDeed::Create(_)) => 14,
        }
    }

    fn priority(&self) -> u16 {
        match self {
            Self::CreateMapping(entry) => entry.priority,
            _ => 0,
        }
    }
}

impl Subject {
    pub fn what(&self) -> &'static str {
        match self {
            Self::Proxy(_) => "proxy",
            Self::Client(_) => "client",
            Self::Mapping(..) => "mapping",
            Self::TunnelClient(_) => "tunnel_client",
            Self::Tunnel(..) => "tunnel",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(name) => f.write_str(name),
            Self::Client(ip) => ip.fmt(f),
            Self::Mapping(ip, proxy) => write!(f, "{ip} → {proxy}"),
            Self::TunnelClient(name) => f.write_str(name),
            Self::Tunnel(client, name) => write!(f, "{client} → {name}"),
        }
    }
}

fn new_proxy(entry: &ProxyEntry) -> NewProxy {
    NewProxy {
        name: entry.name.clone(),
        scheme: entry.scheme,
        host: entry.host.clone(),
        port: entry.port,
        username: entry.username.clone(),
        password: entry.password.clone().secret(),
        enabled: entry.enabled,
        note: entry.note.clone(),
        labels: entry.labels.clone(),
    }
}

fn new_client(entry: &ClientEntry) -> NewClient {
    NewClient {
        name: entry.name.clone(),
        ip_cidr: entry.ip_cidr,
        mac: entry.mac,
        // This one's: a document speaks of no other.
        gateway: None,
        note: entry.note.clone(),
    }
}
