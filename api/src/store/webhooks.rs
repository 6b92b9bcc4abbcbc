//! Who is told of events, and how far each has been told.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::WebhookId;
use pgw_core::redact::Secret;
use serde::Serialize;

use super::{ListQuery, Page, StoreError};
use crate::events::{Event, Kind};

#[async_trait]
pub trait Webhooks: Send + Sync {
    /// It is told what happens from now on.
    async fn create_webhook(&self, new: NewWebhook) -> Result<Webhook, StoreError>;
    async fn webhooks(&self, query: &ListQuery) -> Result<Page<Webhook>, StoreError>;
    /// Those that are to be told, with their revisions.
    async fn webhooks_switched_on(&self) -> Result<Vec<(WebhookId, i64)>, StoreError>;
    async fn webhook(&self, id: WebhookId) -> Result<Webhook, StoreError>;
    /// One that is switched on again is told what happens from then on.
    async fn update_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook, StoreError>;
    async fn remove_webhook(&self, id: WebhookId, if_revision: Option<i64>) -> Result<(), StoreError>;

    /// What is needed to tell it.
    async fn webhook_target(&self, id: WebhookId) -> Result<Addressee, StoreError>;
    /// What happened on this gateway after an event, oldest first.
    async fn own_events_after(&self, after: i64, limit: u32) -> Result<Vec<Event>, StoreError>;
    /// How telling it goes on this gateway.
    async fn record_delivery(&self, id: WebhookId, delivery: &Delivery) -> Result<(), StoreError>;
    /// Both at once, and only if it is still what it was when it was read.
    async fn switch_off_webhook(
        &self,
        id: WebhookId,
        revision: i64,
        why: &Delivery,
    ) -> Result<(), StoreError>;
}

#[derive(Debug, Clone)]
pub struct NewWebhook {
    pub name: String,
    pub url: String,
    /// Empty: all.
    pub kinds: Vec<Kind>,
    pub enabled: bool,
    pub secret: Secret,
}

#[derive(Debug, Clone, Default)]
pub struct WebhookPatch {
    pub name: Option<String>,
    pub url: Option<String>,
    pub kinds: Option<Vec<Kind>>,
    pub enabled: Option<bool>,
    pub if_revision: Option<i64>,
}

/// As it is listed: never its secret.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Webhook {
    pub id: WebhookId,
    pub name: String,
    pub url: String,
    /// Empty: all.
    pub kinds: Vec<Kind>,
    pub enabled: bool,
    pub has_secret: bool,
    pub status: WebhookStatus,
    pub revision: i64,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub updated_at: Timestamp,
}

/// Of all gateways together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct WebhookStatus {
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub last_ok_at: Option<Timestamp>,
    /// Null while it takes what it is told.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    /// Events that it has not been told yet; no more than 10,000 are counted.
    pub waiting: i64,
    /// Events that it was never told, because it did not take them for a day.
    pub given_up: i64,
}

/// Where it is told, with what, and how far it has been told.
#[derive(Debug, Clone)]
pub struct Addressee {
    pub name: String,
    pub url: String,
    pub kinds: Vec<Kind>,
    pub secret: Secret,
    pub revision: i64,
    pub delivery: Delivery,
}

/// On one gateway.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The last event that it was told, or that is none of its business.
    pub told: i64,
    pub last_ok_at: Option<Timestamp>,
    pub failing_since: Option<Timestamp>,
    pub last_error: Option<String>,
    pub given_up: i64,
}
