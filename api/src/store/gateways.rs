//! Several gateways on one database: who they are, and what they tell each other.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::{ClientId, DatabaseId, ProxyId};
use pgw_core::ports::PortRange;
use serde::Serialize;

use super::StoreError;

/// Other gateways' clients may be read and written by any of them; what becomes of it is done by
/// the one whose they are.
#[async_trait]
pub trait Gateways: Send + Sync {
    /// What this one is called.
    fn gateway(&self) -> &str;
    /// Of the database.
    fn identity(&self) -> Identity;
    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError>;
    /// One that is not there any more, with all that was its own; its clients only with `cascade`.
    async fn remove_gateway(&self, name: &str, cascade: bool) -> Result<(), StoreError>;
    /// This one is there: said at the start and from then on every few seconds.
    async fn show_presence(&self, presence: &Presence) -> Result<(), StoreError>;
    /// What the others change, for whoever asks first; there is one to hear it.
    fn neighbours(&self) -> Option<Box<dyn Neighbours>>;
}

#[async_trait]
pub trait Neighbours: Send {
    /// Waits for it; for ever where there is nobody else.
    async fn next(&mut self) -> News;
}

/// What was written by another gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something about this client, its mappings included.
    Client(ClientId),
    /// Something about this proxy, but not how it is dialled.
    Proxy(ProxyId),
    /// It is new, or dialled in another way.
    Redialled(ProxyId),
    /// Something about tunnels, or the clients that keep them.
    Tunnels,
    /// Something happened, and is in the log.
    Events,
    /// Nobody was listening for a while: it may have been anything.
    Missed,
    /// Another gateway that is running has this one's name.
    Doubled,
}

/// Which database it is, whoever opens it and wherever it was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    pub id: DatabaseId,
    /// None: it was in use before this was written down.
    pub made_at: Option<Timestamp>,
}

/// Whose client it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub client: ClientId,
    pub gateway: String,
}

#[derive(Debug, Clone)]
pub struct Presence {
    pub version: &'static str,
    pub ports: PortRange,
    pub started_at: Timestamp,
}

/// A gateway, as each of them sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Gateway {
    pub name: String,
    pub version: String,
    /// It was seen within the last 30 seconds.
    pub online: bool,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub started_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub seen_at: Timestamp,
    pub clients: u32,
    /// Mappings in this state; so are the next two.
    pub applied: u32,
    pub pending: u32,
    pub failed: u32,
    pub ports_free: u32,
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(id) => write!(f, "client {id}"),
            Self::Proxy(id) => write!(f, "proxy {id}"),
            Self::Redialled(id) => write!(f, "redialled {id}"),
            Self::Tunnels => f.write_str("tunnels"),
            Self::Events => f.write_str("events"),
            Self::Missed => f.write_str("missed"),
            Self::Doubled => f.write_str("doubled"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("not a word that this version knows")]
pub struct UnknownNews;

/// Of what another gateway says; the last two are found out by oneself.
impl FromStr for News {
    type Err = UnknownNews;

    fn from_str(text: &str) -> Result<Self, UnknownNews> {
        match text {
            "events" => return Ok(Self::Events),
            "tunnels" => return Ok(Self::Tunnels),
            _ => {}
        }
        let (word, id) = text.split_once(' ').ok_or(UnknownNews)?;
        let id = id.parse().map_err(|_no_id: uuid::Error| UnknownNews)?;
        match word {
            "client" => Ok(Self::Client(ClientId(id))),
            "proxy" => Ok(Self::Proxy(ProxyId(id))),
            "redialled" => Ok(Self::Redialled(ProxyId(id))),
            _ => Err(UnknownNews),
        }
    }
}
