//! What the database holds, as core types. The trait is all that the rest of the API knows of
//! SQL; SQLite or PostgreSQL stands behind it, with the same statements (`sql/`).
//!
//! Removal has two steps. `remove_*` marks rows as going, and from then on no reader of the
//! REST API sees them; the row itself, and the port with it, goes in `finish_removal`, once
//! rule and forwarder are gone. A process that dies in between finds the mark again.

pub mod applies;
mod by;
pub mod crypt;
pub mod dump;
mod error;
mod events;
mod exits;
mod gateways;
mod listing;
pub mod open;
pub mod postgres;
mod replies;
pub mod sqlite;
#[cfg(test)]
mod suite;
pub mod traffic;
mod tunnel_clients;
mod tunnels;
mod users;
mod webhooks;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::client::Client;
use pgw_core::exit::Expect;
use pgw_core::health::Health;
use pgw_core::ids::{ClientId, ClientIp, MappingId, ProxyId, TokenId};
use pgw_core::mac::Mac;
use pgw_core::mapping::{Mapping, Target};
use pgw_core::ports::PortRange;
use pgw_core::proxy::{Host, Proxy, Scheme, Upstream};
use pgw_core::redact::Secret;
use pgw_core::state::Verdict;
use pgw_core::tunnel::PortConflict;
use serde::{Deserialize, Serialize};

use applies::Applies;
pub use by::By;
pub use events::{Events, ExitAt, Heard, JournalPage, JournalQuery, LogEnds, Unwatched};
pub use exits::{ExitHold, Exits, Holder};
pub use gateways::{Gateway, Gateways, Identity, Neighbours, News, Owner, Presence};
pub use listing::{Cursor, Key, ListQuery, Page, Sort, SortBy};
pub use replies::{Claim, Replies, Reply};
pub use traffic::Traffic;
pub use tunnel_clients::{
    AllowedPort, NewTunnelClient, TunnelClient, TunnelClientPatch, TunnelClientStatus, TunnelClients,
    TunnelSession,
};
pub use tunnels::{
    CountedTunnel, Ground, Header, NewCode, NewLogin, NewTunnel, NotVerified, Seen, SessionNews, Tunnel,
    TunnelCensus, TunnelFilter, TunnelLogin, TunnelPatch, Tunnels, Wish,
};
pub use users::{KnownUser, NewUser, Session, User, UserPatch, Users};
pub use webhooks::{Addressee, Delivery, NewWebhook, Webhook, WebhookPatch, WebhookStatus, Webhooks};

#[async_trait]
pub trait Store:
    Gateways + Users + Replies + Events + Exits + Webhooks + Traffic + Applies + Tunnels + 'static
{
    async fn create_proxy(&self, new: NewProxy) -> Result<Proxy, StoreError>;
    /// One that nobody gave a name, whose name is its host and port: it is numbered where another
    /// account at that address is called so. The same one twice is a conflict.
    async fn create_unnamed_proxy(&self, new: NewProxy) -> Result<Proxy, StoreError>;
    async fn proxies(&self, query: &ListQuery) -> Result<Page<Proxy>, StoreError>;
    async fn proxy(&self, id: ProxyId) -> Result<Proxy, StoreError>;
    async fn update_proxy(&self, id: ProxyId, patch: ProxyPatch) -> Result<Proxy, StoreError>;
    /// Marks the proxy and, with `cascade`, its mappings; answers whose mappings they were.
    async fn remove_proxy(
        &self,
        id: ProxyId,
        cascade: bool,
        if_revision: Option<i64>,
    ) -> Result<Vec<Owner>, StoreError>;
    /// All of them or none; but what was found of a former way of dialling, or of a proxy that is
    /// going, is left out.
    async fn record_health(&self, found: &[HealthRecord]) -> Result<(), StoreError>;
    /// Every proxy that is not going, with what is needed to dial it.
    async fn upstreams(&self) -> Result<Vec<ProxyDial>, StoreError>;
    async fn upstream(&self, id: ProxyId) -> Result<ProxyDial, StoreError>;
    /// Whose mappings lead through it, going ones included.
    async fn clients_of_proxy(&self, id: ProxyId) -> Result<Vec<Owner>, StoreError>;

    async fn create_client(&self, new: NewClient) -> Result<Client, StoreError>;
    async fn clients(&self, query: &ListQuery) -> Result<Page<Client>, StoreError>;
    /// Of this gateway. Two at the most: whoever asks wants to know whether it is one.
    async fn clients_known_as(&self, known_as: &KnownAs) -> Result<Vec<ClientId>, StoreError>;
    async fn client(&self, id: ClientId) -> Result<Client, StoreError>;
    async fn update_client(&self, id: ClientId, patch: ClientPatch) -> Result<Client, StoreError>;
    async fn remove_client(
        &self,
        id: ClientId,
        cascade: bool,
        if_revision: Option<i64>,
    ) -> Result<Owner, StoreError>;

    async fn create_mapping(&self, new: NewMapping, ports: &PortRange) -> Result<Mapping, StoreError>;
    /// At the start: nobody keeps a port of a range that was configured before.
    async fn keep_ports_within(&self, ports: &PortRange) -> Result<(), StoreError>;
    async fn mappings(&self, query: &ListQuery) -> Result<Page<Mapping>, StoreError>;
    async fn mapping(&self, id: MappingId) -> Result<Mapping, StoreError>;
    async fn update_mapping(&self, id: MappingId, patch: MappingPatch) -> Result<Mapping, StoreError>;
    /// Marks it; answers whose it was.
    async fn remove_mapping(&self, id: MappingId, if_revision: Option<i64>) -> Result<Owner, StoreError>;
    async fn record_verdict(&self, id: MappingId, verdict: &Verdict) -> Result<(), StoreError>;

    /// Every client of this gateway with its routes, going ones included.
    async fn plans(&self) -> Result<Vec<ClientPlan>, StoreError>;
    /// One client with its routes; none if this gateway has no such row (any more).
    async fn plan(&self, id: ClientId) -> Result<Option<ClientPlan>, StoreError>;
    /// The rule and the forwarder's part of these mappings are gone: their rows go, with the
    /// port if it was the last, and the client and proxies that were only waiting for it.
    async fn finish_removal(&self, client: ClientId, mappings: &[MappingId]) -> Result<(), StoreError>;

    async fn create_token(&self, new: NewToken) -> Result<Token, StoreError>;
    async fn tokens(&self, query: &ListQuery) -> Result<Page<Token>, StoreError>;
    async fn token(&self, id: TokenId) -> Result<Token, StoreError>;
    /// Ever: also if it was revoked since.
    async fn token_was_made(&self, name: &str) -> Result<bool, StoreError>;
    async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError>;
    /// Who holds the token with this SHA-256, unless revoked.
    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError>;

    /// Can it be read and written?
    async fn ping(&self) -> Result<(), StoreError>;
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("{0}")]
    Conflict(Conflict),
    /// Somebody else changed it meanwhile; this is what it is now.
    #[error("it was changed meanwhile: it is at revision {revision} now")]
    Stale { revision: i64 },
    /// Busy, full, read-only, gone: nothing was changed, and trying again may help.
    #[error("the database cannot be used now: {reason}")]
    Unavailable {
        reason: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    #[error("a stored secret of {what} cannot be opened; was the key file replaced?")]
    Sealed { what: String },
}

/// What stands in the way of a write, with a stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error("a {0} with this name exists already")]
    NameTaken(&'static str),
    #[error("this proxy is there already; give it a name of its own to have it twice")]
    SameProxy,
    #[error("a client with this address exists already")]
    AddressTaken,
    #[error("this client has a mapping to this proxy already")]
    PairTaken,
    #[error("every port of {range} is taken; remove a mapping or widen PGW_FWD_BASE_PORT..PGW_FWD_MAX_PORT")]
    PortsExhausted { range: String },
    #[error("the {what} still has mappings ({mappings} of them); delete them first, or use ?cascade=true")]
    InUse { what: &'static str, mappings: i64 },
    #[error("the gateway {name} still has {clients} clients; delete them first, or use ?cascade=true")]
    HasClients { name: String, clients: u32 },
    #[error("the gateway {name} is running, or was seen within the last 30 seconds; stop it first")]
    Online { name: String },
    /// The mapping names a client or a proxy that does not exist.
    #[error("there is no such {0}")]
    Missing(&'static str),
    #[error("a password needs a user name")]
    PasswordAlone,
    #[error(
        "a document that was applied waits to be confirmed until {confirm_by}; confirm it, or wait until it is rolled back"
    )]
    ApplyPending { confirm_by: Timestamp },
    #[error("this was rolled back: nobody had confirmed it in time")]
    RolledBack,
    #[error("there are {most} {what}s already, and no more are taken")]
    TooMany { what: &'static str, most: i64 },
    #[error("this is the last admin; make somebody else one first")]
    LastAdmin,
    #[error("there are users already")]
    SetUp,
    #[error("{0}")]
    Port(PortConflict),
    /// Of one tunnel of a document.
    #[error("{tunnel}: {conflict}")]
    PortOf { tunnel: String, conflict: PortConflict },
    #[error("another http tunnel has this host, path and header")]
    RouteTaken,
    #[error(
        "the tunnel client still has tunnels ({tunnels} of them); delete them first, or use ?cascade=true"
    )]
    HasTunnels { tunnels: usize },
    #[error(
        "a client asked for this tunnel: it can be closed, and is changed where the client is configured"
    )]
    TunnelOfClient,
    #[error("this tunnel is verified already")]
    Verified,
    /// What was sent does not go together.
    #[error("{field} {detail}")]
    Unfit { field: &'static str, detail: &'static str },
}

#[derive(Debug, Clone)]
pub struct NewProxy {
    pub name: String,
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub enabled: bool,
    pub note: String,
    pub labels: BTreeMap<String, String>,
}

/// None leaves a field as it is; `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct ProxyPatch {
    pub name: Option<String>,
    pub scheme: Option<Scheme>,
    pub host: Option<Host>,
    pub port: Option<u16>,
    pub username: Option<Option<String>>,
    pub password: Option<Option<Secret>>,
    pub enabled: Option<bool>,
    pub note: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    /// Only if it is at this revision.
    pub if_revision: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct NewClient {
    pub name: String,
    pub ip_cidr: ClientIp,
    pub mac: Option<Mac>,
    pub note: String,
    /// Whose it is; none: this one's.
    pub gateway: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct ClientPatch {
    pub name: Option<String>,
    pub ip_cidr: Option<ClientIp>,
    pub mac: Option<Option<Mac>>,
    pub note: Option<String>,
    /// Only if it is at this revision.
    pub if_revision: Option<i64>,
}

/// What an operator calls a client.
#[derive(Debug, Clone)]
pub enum KnownAs {
    Address(ClientIp),
    Name(String),
}

#[derive(Debug, Clone)]
pub struct NewMapping {
    pub client_id: ClientId,
    pub proxy_id: ProxyId,
    pub priority: u16,
    pub target: Target,
    pub enabled: bool,
    pub expect: Expect,
    pub exclusive: bool,
}

#[derive(Debug, Clone, Default)]
pub struct MappingPatch {
    pub proxy_id: Option<ProxyId>,
    pub priority: Option<u16>,
    pub target: Option<Target>,
    pub enabled: Option<bool>,
    /// The whole of it.
    pub expect: Option<Expect>,
    pub exclusive: Option<bool>,
    /// Whatever the exit address is, it is the one that is expected to stay.
    pub accept_exit: bool,
    /// Only if it is at this revision.
    pub if_revision: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct ProxyDial {
    pub id: ProxyId,
    /// Another one whenever it is dialled in another way, or again.
    pub revision: i64,
    pub enabled: bool,
    pub health: Health,
    pub upstream: Upstream,
}

/// What a check found, and of which way of dialling.
#[derive(Debug, Clone)]
pub struct HealthRecord {
    pub id: ProxyId,
    pub revision: i64,
    pub health: Health,
}

impl ProxyDial {
    /// What was found by dialling in just this way.
    pub fn found(&self, health: Health) -> HealthRecord {
        HealthRecord { id: self.id, revision: self.revision, health }
    }
}

/// All that decides what becomes of one client.
#[derive(Debug, Clone)]
pub struct ClientPlan {
    pub client: Client,
    pub going: bool,
    /// None while it has no mapping.
    pub port: Option<u16>,
    /// In failover order: by priority, then by age.
    pub routes: Vec<Route>,
}

#[derive(Debug, Clone)]
pub struct Route {
    pub mapping: Mapping,
    pub going: bool,
    /// The exit address that it holds, if it does.
    pub hold: Option<ExitHold>,
    pub proxy: ProxyDial,
}

/// Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads only, and no secret.
    Viewer,
    /// Changes clients and mappings, too.
    Operator,
    Admin,
}

#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub role: Role,
    pub hash: [u8; 32],
}

/// A token as it is listed: never its text, which nobody has but its holder.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub role: Role,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub created_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub revoked_at: Option<Timestamp>,
}
