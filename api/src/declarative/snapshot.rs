//! What is, by the names that documents use: read in one transaction, so that a plan is made of
//! what was true at one moment.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::ids::{ClientId, ClientIp, MappingId, ProxyId, TunnelClientId, TunnelId};
use pgw_core::mac::Mac;
use pgw_core::tunnel::Protocol;

use super::document::{ClientEntry, MappingEntry, ProxyEntry};
use super::tunnels::{TunnelClientEntry, TunnelEntry};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    pub proxies: BTreeMap<String, KnownProxy>,
    pub clients: BTreeMap<ClientIp, KnownClient>,
    /// Those of clients that are going included.
    pub ports: BTreeSet<u16>,
    pub tunnel_clients: BTreeMap<String, KnownTunnelClient>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownProxy {
    pub id: ProxyId,
    pub entry: ProxyEntry,
    /// Other gateways whose clients lead through it: no document of this one speaks of those.
    pub elsewhere: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownClient {
    pub id: ClientId,
    pub name: String,
    pub mac: Option<Mac>,
    pub note: String,
    pub has_port: bool,
    /// By their proxies' names.
    pub mappings: BTreeMap<String, KnownMapping>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownMapping {
    pub id: MappingId,
    pub entry: MappingEntry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTunnelClient {
    pub id: TunnelClientId,
    /// Without its tunnels.
    pub own: TunnelClientEntry,
    /// The operator's.
    pub tunnels: BTreeMap<String, KnownTunnel>,
    /// What it has asked for itself.
    pub asked: Vec<(Protocol, Option<u16>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTunnel {
    pub id: TunnelId,
    /// With its passwords.
    pub entry: TunnelEntry,
}

impl KnownTunnelClient {
    /// As a document would say it.
    pub fn entry(&self) -> TunnelClientEntry {
        let tunnels = self.tunnels.values().map(|tunnel| tunnel.entry.clone()).collect();
        TunnelClientEntry { tunnels, ..self.own.clone() }
    }
}

impl KnownClient {
    /// As a document would say it; mappings in failover order.
    pub fn entry(&self, ip_cidr: ClientIp) -> ClientEntry {
        let mut mappings: Vec<&KnownMapping> = self.mappings.values().collect();
        mappings.sort_by_key(|mapping| (mapping.entry.priority, mapping.id));
        ClientEntry {
            name: self.name.clone(),
            ip_cidr,
            mac: self.mac,
            note: self.note.clone(),
            mappings: mappings.into_iter().map(|mapping| mapping.entry.clone()).collect(),
        }
    }
}

impl Snapshot {
    pub fn users(&self, proxy: &str) -> impl Iterator<Item = ClientIp> {
        let uses = move |client: &KnownClient| client.mappings.contains_key(proxy);
        self.clients.iter().filter(move |(_, client)| uses(client)).map(|(ip, _)| *ip)
    }
}
