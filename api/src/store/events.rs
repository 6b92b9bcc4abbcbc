//! The log of what happened, as the rest of the API reads and writes it. What a change of a row
//! tells is written by that change, in its transaction; here is what stands for itself.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use tokio::sync::watch;
use uuid::Uuid;

use super::StoreError;
use crate::events::{Event, Kind, NewEvent};

#[async_trait]
pub trait Events: Send + Sync {
    /// All of them, in this order, or none.
    async fn record(&self, events: &[NewEvent]) -> Result<(), StoreError>;
    /// With how far the agent has been heard: so nothing is written twice, whoever dies.
    async fn record_news(&self, heard: Heard, events: &[NewEvent]) -> Result<(), StoreError>;
    /// How far this gateway's agent has been heard; none before the first time.
    async fn heard(&self) -> Result<Option<Heard>, StoreError>;

    /// At the start: since when nobody watched, and where every client gets out, if that is not what
    /// was last written of it.
    async fn begin_watch(&self, version: &str) -> Result<(), StoreError>;

    async fn log_ends(&self) -> Result<LogEnds, StoreError>;
    /// Oldest first.
    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<Event>, StoreError>;
    /// Newest first.
    async fn journal(&self, query: &JournalQuery) -> Result<JournalPage, StoreError>;
    async fn exit_at(&self, client: ClientId, at: Timestamp) -> Result<ExitAt, StoreError>;

    /// Drops events that are older than `before`, and all but the newest `rows`, `most` at the most;
    /// answers how many. Where each client got out last is kept.
    async fn forget_events(&self, before: Timestamp, rows: u32, most: u32) -> Result<u64, StoreError>;

    /// Changes whenever something was written by this process, or was heard to be by another gateway.
    fn written(&self) -> watch::Receiver<u64>;
    fn written_elsewhere(&self);
}

/// Of what the agent tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    pub run: Uuid,
    pub number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnds {
    /// From here on nothing is missing.
    pub oldest: i64,
    /// 0 before the first.
    pub latest: i64,
}

#[derive(Debug, Clone, Default)]
pub struct JournalQuery {
    pub limit: u32,
    /// The id before which the page starts.
    pub before: Option<i64>,
    pub client_id: Option<ClientId>,
    pub proxy_id: Option<ProxyId>,
    pub mapping_id: Option<MappingId>,
    /// Empty: all.
    pub kinds: Vec<Kind>,
    pub by: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub struct JournalPage {
    pub items: Vec<Event>,
    /// Before which the next page starts; none on the last.
    pub next: Option<i64>,
}

/// What the log knows of where a client got out at a time.
#[derive(Debug, Clone)]
pub struct ExitAt {
    /// The last `client.exit` at or before the time, and the one before it.
    pub because: Option<Event>,
    pub before: Option<Event>,
    /// When the log's first `client.exit` of it was written, if it has one.
    pub known_from: Option<Timestamp>,
    /// A time without anybody who watched, if the time falls into one.
    pub unwatched: Option<Unwatched>,
}

/// pgw-api did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Unwatched {
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub to: Timestamp,
}
