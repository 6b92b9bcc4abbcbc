//! What is opened on a gateway for a machine behind NAT.

use std::collections::BTreeSet;

use async_trait::async_trait;
use ipnet::IpNet;
use jiff::Timestamp;
use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::ports::PortRange;
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Desired, Filter, Origin, Protocol, SessionStatus, State, Status, TokenHash};
use serde::{Deserialize, Serialize};

use super::{ListQuery, Page, StoreError, TunnelClients};

#[async_trait]
pub trait Tunnels: TunnelClients {
    async fn create_tunnel(&self, new: NewTunnel, ground: &Ground) -> Result<Tunnel, StoreError>;
    async fn tunnels(&self, query: &ListQuery) -> Result<Page<Tunnel>, StoreError>;
    async fn tunnel(&self, id: TunnelId) -> Result<Tunnel, StoreError>;
    async fn update_tunnel(
        &self,
        id: TunnelId,
        patch: TunnelPatch,
        ground: &Ground,
    ) -> Result<Tunnel, StoreError>;
    /// Answers on which gateway it was.
    async fn remove_tunnel(&self, id: TunnelId, if_revision: Option<i64>) -> Result<String, StoreError>;
    /// Switches an operator's tunnel off. A client's own is its daemon's to end.
    async fn close_tunnel(&self, id: TunnelId) -> Result<Tunnel, StoreError>;

    /// Another code; the one before opens nothing any more.
    async fn renew_code(&self, id: TunnelId, code: NewCode) -> Result<Tunnel, StoreError>;
    /// Counts an attempt, also a wrong one.
    async fn verify_tunnel(
        &self,
        id: TunnelId,
        code: &TokenHash,
    ) -> Result<Result<Tunnel, NotVerified>, StoreError>;
    /// Which tunnel this code verifies, and until when. Changes nothing.
    async fn tunnel_by_code(&self, code: &TokenHash) -> Result<Option<(Tunnel, Timestamp)>, StoreError>;

    /// What shall be open on this gateway, and where to.
    async fn desired_tunnels(&self, targets: &Filter) -> Result<Desired, StoreError>;
    /// What was seen of it: states, counts, sessions, codes that were used; and what of it is news.
    async fn record_tunnels(&self, seen: &Seen) -> Result<(), StoreError>;
    /// For those who count.
    async fn tunnel_census(&self) -> Result<TunnelCensus, StoreError>;
}

#[derive(Debug, Clone)]
pub struct NewTunnel {
    pub tunnel_client_id: TunnelClientId,
    pub name: String,
    pub enabled: bool,
    /// Nobody has to verify it.
    pub verified: bool,
    /// By which it is verified, if somebody was told one already.
    pub code: Option<NewCode>,
    /// 0: the gateway picks one.
    pub public_port: u16,
    pub wish: Wish,
}

/// How somebody wants a tunnel to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub protocol: Protocol,
    /// Of http only; empty is none.
    pub host: String,
    pub path: String,
    pub header: Option<Header>,
    pub local_host: String,
    pub local_port: u16,
    pub bandwidth: Option<u64>,
    pub max_connections: Option<u32>,
    pub max_per_visitor: Option<u32>,
    pub requests_per_minute: Option<u32>,
    pub visitor_allow: Vec<IpNet>,
    pub basic_auth: Vec<NewLogin>,
    pub compression: bool,
    pub proxy_protocol: bool,
    pub udp_idle_s: u32,
}

/// Without a password: the one that it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLogin {
    pub username: String,
    pub password: Option<Secret>,
}

/// By which a tunnel is verified, once.
#[derive(Debug, Clone)]
pub struct NewCode {
    pub hash: TokenHash,
    pub expires_at: Timestamp,
}

/// None leaves a field as it is; `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct TunnelPatch {
    pub name: Option<String>,
    pub enabled: Option<bool>,
    pub protocol: Option<Protocol>,
    /// 0: the gateway picks one.
    pub public_port: Option<u16>,
    pub host: Option<Option<String>>,
    pub path: Option<Option<String>>,
    pub header: Option<Option<Header>>,
    pub local_host: Option<String>,
    pub local_port: Option<u16>,
    pub bandwidth: Option<Option<u64>>,
    pub max_connections: Option<Option<u32>>,
    pub max_per_visitor: Option<Option<u32>>,
    pub requests_per_minute: Option<Option<u32>>,
    pub visitor_allow: Option<Vec<IpNet>>,
    pub basic_auth: Option<Vec<NewLogin>>,
    pub compression: Option<bool>,
    pub proxy_protocol: Option<bool>,
    pub udp_idle_s: Option<u32>,
    /// By an admin's word, without a code; or no more, until somebody enters one.
    pub verified: Option<bool>,
    /// Only if it is at this revision.
    pub if_revision: Option<i64>,
}

/// What counts when a port is given, besides what the database knows.
#[derive(Debug, Clone)]
pub struct Ground {
    /// `PGW_TUNNEL_BASE_PORT`..`PGW_TUNNEL_MAX_PORT`.
    pub range: PortRange,
    /// This gateway's forwarders.
    pub forwarders: PortRange,
    /// What programs of this machine have.
    pub tcp: BTreeSet<u16>,
    pub udp: BTreeSet<u16>,
}

/// Why a code does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotVerified {
    Wrong,
    /// It was wrong too often.
    Spent,
    Expired,
    /// There is nothing to verify.
    NotAsked,
}

/// What the daemon of this gateway's tunnels says.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// None: it does not answer.
    pub status: Option<Status>,
    /// Sessions that began or ended since the last time.
    pub sessions: Vec<SessionNews>,
}

#[derive(Debug, Clone)]
pub struct SessionNews {
    pub client: TunnelClientId,
    pub session: SessionStatus,
    /// Why it ended, if it did.
    pub ended: Option<String>,
}

/// Tunnels only; nothing means all.
#[derive(Debug, Clone, Default)]
pub struct TunnelFilter {
    pub client: Option<TunnelClientId>,
    pub state: Option<State>,
    pub protocol: Option<Protocol>,
    pub origin: Option<Origin>,
}

/// A header that requests must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Header {
    #[schema(example = "x-tenant", max_length = 100)]
    pub name: String,
    #[schema(max_length = 255)]
    pub value: String,
}

/// Who may see an http tunnel; never the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct TunnelLogin {
    pub username: String,
}

/// What is open, or shall be, for a tunnel client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Tunnel {
    pub id: TunnelId,
    pub name: String,
    pub tunnel_client_id: TunnelClientId,
    /// Its name.
    pub tunnel_client: String,
    pub gateway: String,
    pub protocol: Protocol,
    /// Of all but http.
    pub public_port: Option<u16>,
    /// Of http only: a label below PGW_TUNNEL_DOMAIN, or a whole name.
    pub host: Option<String>,
    pub path: Option<String>,
    pub header: Option<Header>,
    /// Where the client goes to. A name is looked up there, each time.
    pub local_host: String,
    pub local_port: u16,
    pub origin: Origin,
    pub enabled: bool,
    pub verified: bool,
    pub state: State,
    /// Why it is not open.
    pub reason: Option<String>,
    /// Bytes per second, in each direction.
    pub bandwidth: Option<u64>,
    pub max_connections: Option<u32>,
    pub max_per_visitor: Option<u32>,
    /// Of one visitor, http only.
    pub requests_per_minute: Option<u32>,
    /// Empty: everybody.
    pub visitor_allow: Vec<String>,
    /// Of http only; one of them has to be said.
    pub basic_auth: Vec<TunnelLogin>,
    pub compression: bool,
    pub proxy_protocol: bool,
    pub udp_idle_s: u32,
    /// From visitors.
    pub bytes_in: u64,
    /// To visitors.
    pub bytes_out: u64,
    pub connections: u64,
    pub active: u32,
    /// Null for what a client asked for.
    pub revision: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub updated_at: Timestamp,
}

/// Of all gateways.
#[derive(Debug, Clone, Default)]
pub struct TunnelCensus {
    pub online: i64,
    pub offline: i64,
    pub states: Vec<(State, i64)>,
    /// The operator's: clients may call theirs what they like.
    pub tunnels: Vec<CountedTunnel>,
}

#[derive(Debug, Clone)]
pub struct CountedTunnel {
    pub id: TunnelId,
    pub name: String,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections: u64,
    pub active: u32,
}
