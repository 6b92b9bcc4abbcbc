//! Lists: which part of them is asked for, in which order, and where the next page begins.

use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, ProxyId};
use pgw_core::state::MappingState;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::TunnelFilter;

#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    pub limit: u32,
    pub sort: Sort,
    /// Behind whom the page starts.
    pub after: Option<Cursor>,
    /// Part of a name, a host, an address or a note.
    pub q: Option<String>,
    /// Clients and mappings only.
    pub gateway: Option<String>,
    /// Clients and mappings; of a client it is enough that one of its mappings is in it.
    pub state: Option<MappingState>,
    /// Clients only: those of which no mapping is APPLIED.
    pub closed: bool,
    /// Proxies only.
    pub health: Option<HealthStatus>,
    /// Mappings only.
    pub client_id: Option<ClientId>,
    /// Mappings only.
    pub proxy_id: Option<ProxyId>,
    pub tunnels: TunnelFilter,
}

#[derive(Debug, Clone)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Where the next page starts; none on the last.
    pub next: Option<Cursor>,
}

/// The oldest first, unless something else is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sort {
    pub by: SortBy,
    pub descending: bool,
}

/// Each list has some of these. Of equals their age decides, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    #[default]
    Created,
    Updated,
    Name,
    Host,
    Address,
    Priority,
    State,
    Port,
    ClientName,
    ProxyName,
    Health,
    Latency,
}

/// The last of a page, by what decides its place: rows that come or go meanwhile move nobody
/// else onto another page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// None where only the age decides.
    pub key: Option<Key>,
    pub id: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Key {
    Number(i64),
    Text(String),
}

impl ListQuery {
    /// In a list that is only sorted by age.
    pub fn after_id(&self) -> Option<Uuid> {
        self.after.as_ref().map(|cursor| cursor.id)
    }
}

impl SortBy {
    /// As a query says it: where there is one, the name of the field.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created_at",
            Self::Updated => "updated_at",
            Self::Name => "name",
            Self::Host => "host",
            Self::Address => "ip_cidr",
            Self::Priority => "priority",
            Self::State => "state",
            Self::Port => "port",
            Self::ClientName => "client",
            Self::ProxyName => "proxy",
            Self::Health => "health",
            Self::Latency => "latency_ms",
        }
    }
}
