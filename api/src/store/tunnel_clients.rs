//! Machines that keep a connection to a gateway, so that ports can be opened for them there.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::{EnrolmentId, SessionId, TunnelClientId};
use pgw_core::tunnel::{PortSpan, TokenHash};
use serde::{Deserialize, Serialize};

use super::{ListQuery, Page, StoreError};

#[async_trait]
pub trait TunnelClients: Send + Sync {
    async fn create_tunnel_client(&self, new: NewTunnelClient) -> Result<TunnelClient, StoreError>;
    async fn tunnel_clients(&self, query: &ListQuery) -> Result<Page<TunnelClient>, StoreError>;
    async fn tunnel_client(&self, id: TunnelClientId) -> Result<TunnelClient, StoreError>;
    async fn update_tunnel_client(
        &self,
        id: TunnelClientId,
        patch: TunnelClientPatch,
    ) -> Result<TunnelClient, StoreError>;
    /// With `cascade` its tunnels go, too. Answers whose it was.
    async fn remove_tunnel_client(
        &self,
        id: TunnelClientId,
        cascade: bool,
        if_revision: Option<i64>,
    ) -> Result<String, StoreError>;
    /// From now on nothing else opens for it: neither its former token nor a code that nobody has used.
    async fn replace_tunnel_token(
        &self,
        id: TunnelClientId,
        token: TokenHash,
    ) -> Result<TunnelClient, StoreError>;
    async fn add_enrolment(
        &self,
        id: TunnelClientId,
        code: TokenHash,
        expires_at: Timestamp,
    ) -> Result<EnrolmentId, StoreError>;
    /// Newest first; of one client, and not those that ended before `since`.
    async fn tunnel_sessions(
        &self,
        client: TunnelClientId,
        since: Option<Timestamp>,
        query: &ListQuery,
    ) -> Result<Page<TunnelSession>, StoreError>;
}

#[derive(Debug, Clone)]
pub struct NewTunnelClient {
    pub name: String,
    /// Whose it is; none: this one's.
    pub gateway: Option<String>,
    pub note: String,
    pub enabled: bool,
    pub allowed_ports: Vec<PortSpan>,
    pub max_tunnels: u32,
    pub max_connections: u32,
    pub bandwidth: Option<u64>,
    pub token: TokenHash,
}

#[derive(Debug, Clone, Default)]
pub struct TunnelClientPatch {
    pub name: Option<String>,
    pub note: Option<String>,
    pub enabled: Option<bool>,
    pub allowed_ports: Option<Vec<PortSpan>>,
    pub max_tunnels: Option<u32>,
    pub max_connections: Option<u32>,
    pub bandwidth: Option<Option<u64>>,
    /// Only if it is at this revision.
    pub if_revision: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TunnelClientStatus {
    Online,
    Offline,
}

/// A port, or several from one to another: `12000`, `"12010-12020"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum AllowedPort {
    One(u16),
    #[schema(example = "12010-12020")]
    Span(String),
}

/// A machine that keeps a connection to a gateway; never its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TunnelClient {
    pub id: TunnelClientId,
    pub name: String,
    pub gateway: String,
    pub note: String,
    pub enabled: bool,
    /// Empty: the whole range.
    pub allowed_ports: Vec<AllowedPort>,
    /// Of the operator's and its own together.
    pub max_tunnels: u32,
    /// Visitors' connections at the same time.
    pub max_connections: u32,
    /// Bytes per second, in each direction; null is no limit.
    pub bandwidth: Option<u64>,
    pub status: TunnelClientStatus,
    /// Where it comes from, or came from last.
    pub address: Option<String>,
    /// Of its program.
    pub version: Option<String>,
    #[schema(example = "tls")]
    pub carrier: Option<String>,
    pub rtt_ms: Option<u32>,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub last_seen: Option<Timestamp>,
    /// A machine has come in with the token that counts now.
    pub enrolled: bool,
    /// The operator's, and those it has asked for.
    pub tunnels: i64,
    pub revision: i64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub updated_at: Timestamp,
}

/// One stay of a tunnel client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TunnelSession {
    pub id: SessionId,
    pub tunnel_client_id: TunnelClientId,
    pub address: String,
    pub version: String,
    pub carrier: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub started_at: Timestamp,
    /// Null while it lasts.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub ended_at: Option<Timestamp>,
    pub reason: Option<String>,
    /// From visitors.
    pub bytes_in: u64,
    /// To visitors.
    pub bytes_out: u64,
    pub connections: u64,
}

impl From<PortSpan> for AllowedPort {
    fn from(span: PortSpan) -> Self {
        if span.from == span.to { Self::One(span.from) } else { Self::Span(span.to_string()) }
    }
}

impl AllowedPort {
    /// None is text that nobody has checked.
    pub fn span(&self) -> Option<PortSpan> {
        match self {
            Self::One(port) => Some(PortSpan { from: *port, to: *port }),
            Self::Span(text) => text.parse().ok(),
        }
    }
}
