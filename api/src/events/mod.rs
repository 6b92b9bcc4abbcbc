//! What happened: one log, which is the stream of events, the journal and the audit in one. An
//! event is written in the transaction of the change that it tells of, where there is one.

pub mod agent;
pub mod bounds;
mod bus;
mod facts;
pub mod frame;
mod pump;
pub mod reader;
pub mod recorder;
#[cfg(test)]
mod tests;
mod tunnels;

use jiff::Timestamp;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use bus::{Bus, Full, MOST_READERS};
pub use facts::{Action, AgentState, Device, Exit, ForwarderState, HealthChange, StateChange, Thing};
pub use pump::Pump;
pub use tunnels::{TunnelChange, TunnelClientChange};

/// As it is streamed, listed and sent to webhooks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Event {
    /// Rises in the order in which changes were committed.
    pub id: i64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub at: Timestamp,
    /// On which it happened.
    pub gateway: String,
    pub kind: Kind,
    pub client_id: Option<ClientId>,
    pub mapping_id: Option<MappingId>,
    pub proxy_id: Option<ProxyId>,
    /// Who wanted it; null where pgw did something by itself.
    pub by: Option<String>,
    /// What it tells depends on its kind; names are those of that time.
    #[schema(value_type = Object)]
    pub data: Value,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
pub enum Kind {
    #[serde(rename = "mapping.state")]
    MappingState,
    /// A client's effective way out is another: its first APPLIED mapping, or none.
    #[serde(rename = "client.exit")]
    ClientExit,
    #[serde(rename = "proxy.health")]
    ProxyHealth,
    #[serde(rename = "forwarder")]
    Forwarder,
    #[serde(rename = "agent")]
    Agent,
    #[serde(rename = "drift")]
    Drift,
    #[serde(rename = "drill")]
    Drill,
    /// A tunnel is open now, or no more.
    #[serde(rename = "tunnel.state")]
    TunnelState,
    /// A tunnel client came, or went.
    #[serde(rename = "tunnel.client")]
    TunnelClient,
    /// Somebody changed the configuration.
    #[serde(rename = "change")]
    Change,
    /// pgw-api was started, and since when nobody watched before.
    #[serde(rename = "gateway")]
    Gateway,
    /// Nothing happened: a webhook is tried.
    #[serde(rename = "test")]
    Test,
}

/// To be written; its id and gateway come with the writing.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    pub at: Timestamp,
    pub kind: Kind,
    pub client_id: Option<ClientId>,
    pub mapping_id: Option<MappingId>,
    pub proxy_id: Option<ProxyId>,
    pub by: Option<String>,
    pub data: Value,
}

impl Kind {
    /// Those that the log holds.
    pub const LOGGED: [Self; 11] = [
        Self::MappingState,
        Self::ClientExit,
        Self::ProxyHealth,
        Self::Forwarder,
        Self::Agent,
        Self::Drift,
        Self::Drill,
        Self::TunnelState,
        Self::TunnelClient,
        Self::Change,
        Self::Gateway,
    ];
    pub const ALLOWED: &str = "mapping.state, client.exit, proxy.health, forwarder, agent, drift, drill, tunnel.state, tunnel.client, change, gateway";

    pub fn as_str(self) -> &'static str {
        match self {
            Self::MappingState => "mapping.state",
            Self::ClientExit => "client.exit",
            Self::ProxyHealth => "proxy.health",
            Self::Forwarder => "forwarder",
            Self::Agent => "agent",
            Self::Drift => "drift",
            Self::Drill => "drill",
            Self::TunnelState => "tunnel.state",
            Self::TunnelClient => "tunnel.client",
            Self::Change => "change",
            Self::Gateway => "gateway",
            Self::Test => "test",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::LOGGED.into_iter().find(|kind| kind.as_str() == word)
    }
}
