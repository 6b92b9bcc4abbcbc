//! The configuration as a whole: read at one moment, changed in one transaction, and taken back
//! where nobody confirms it.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::{ApplyId, ClientId, ProxyId};
use serde::{Deserialize, Serialize};

use super::{Ground, StoreError};
use crate::declarative::Refused;
use crate::declarative::document::Document;
use crate::declarative::import::Offered;
use crate::declarative::plan::Plan;
use crate::declarative::snapshot::Snapshot;

#[async_trait]
pub trait Applies: Send + Sync {
    async fn snapshot(&self) -> Result<Snapshot, StoreError>;
    /// All of it or nothing. With a time to confirm it in, what was before is kept, sealed, in the
    /// same transaction.
    async fn apply(&self, document: Document, terms: &Terms) -> Result<Result<Applied, Refused>, StoreError>;
    /// The last of this gateway that had to be confirmed.
    async fn last_apply(&self) -> Result<Option<ApplyRecord>, StoreError>;
    /// It stays. Doing so twice is as good as once.
    async fn confirm_apply(&self, id: ApplyId) -> Result<ApplyRecord, StoreError>;
    /// What it has touched is again what it was, as far as it can be; none if it does not wait
    /// any more.
    async fn roll_back(&self, id: ApplyId, ground: &Ground) -> Result<Option<Applied>, StoreError>;
    /// Makes those that are new: all of them or none.
    async fn import(&self, offered: Vec<Offered>) -> Result<Vec<Imported>, StoreError>;
}

pub struct Terms {
    pub ground: Ground,
    pub confirm_within: Option<Duration>,
}

pub struct Applied {
    pub plan: Plan,
    pub touched: Touched,
    /// If it has to be confirmed.
    pub record: Option<ApplyRecord>,
}

/// Whom a change concerns. Nobody else is to notice anything.
#[derive(Debug, Default)]
pub struct Touched {
    /// Something of theirs is closed by it.
    pub closed: BTreeSet<ClientId>,
    pub opened: BTreeSet<ClientId>,
    /// What was known of their health is worth nothing now.
    pub redialled: BTreeSet<ProxyId>,
    /// Somebody is about to depend on them.
    pub needed: BTreeSet<ProxyId>,
    /// What shall be open for tunnel clients is another.
    pub tunnels: bool,
}

/// An apply that had to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ApplyRecord {
    pub id: ApplyId,
    pub state: ApplyState,
    /// Who applied it.
    pub by: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub applied_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub confirm_by: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApplyState {
    Waiting,
    Confirmed,
    RolledBack,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    Created(ProxyId, String),
    Unchanged(ProxyId, String),
    NameTaken(String),
}
