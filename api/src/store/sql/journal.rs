//! The traits `Events` and `Webhooks`, by the tables' modules.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::{ClientId, WebhookId};
use tokio::sync::watch;

use super::lent::{in_one_read, in_one_write, reading};
use super::store::SqlStore;
use super::{events, exits, webhooks};
use crate::events::{Event, NewEvent};
use crate::store::{
    Addressee, Delivery, Events, ExitAt, Heard, JournalPage, JournalQuery, ListQuery, LogEnds, NewWebhook,
    Page, StoreError, Webhook, WebhookPatch, Webhooks,
};

#[async_trait]
impl Events for SqlStore {
    async fn record(&self, new: &[NewEvent]) -> Result<(), StoreError> {
        in_one_write!(self, db => events::record(db, &self.gateway, new))
    }

    async fn record_news(&self, heard: Heard, new: &[NewEvent]) -> Result<(), StoreError> {
        in_one_write!(self, db => events::record_news(db, &self.gateway, heard, new))
    }

    async fn heard(&self) -> Result<Option<Heard>, StoreError> {
        reading!(self, db => events::heard(db, &self.gateway))
    }

    async fn begin_watch(&self, version: &str) -> Result<(), StoreError> {
        in_one_write!(self, db => exits::begin_watch(db, &self.gateway, version))
    }

    async fn log_ends(&self) -> Result<LogEnds, StoreError> {
        reading!(self, db => events::ends(db))
    }

    async fn events_after(&self, after: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        reading!(self, db => events::after(db, after, limit))
    }

    async fn journal(&self, query: &JournalQuery) -> Result<JournalPage, StoreError> {
        reading!(self, db => events::journal(db, query))
    }

    async fn exit_at(&self, client: ClientId, at: Timestamp) -> Result<ExitAt, StoreError> {
        in_one_read!(self, db => exits::at(db, client, at))
    }

    async fn forget_events(&self, before: Timestamp, rows: u32, most: u32) -> Result<u64, StoreError> {
        in_one_write!(self, db => events::forget(db, before, rows, most))
    }

    fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    fn written_elsewhere(&self) {
        self.committed();
    }
}

#[async_trait]
impl Webhooks for SqlStore {
    async fn create_webhook(&self, new: NewWebhook) -> Result<Webhook, StoreError> {
        in_one_write!(self, db => webhooks::create(db, &self.vault, &self.gateway, new))
    }

    async fn webhooks(&self, query: &ListQuery) -> Result<Page<Webhook>, StoreError> {
        in_one_read!(self, db => webhooks::list(db, query))
    }

    async fn webhooks_switched_on(&self) -> Result<Vec<(WebhookId, i64)>, StoreError> {
        reading!(self, db => webhooks::switched_on(db))
    }

    async fn webhook(&self, id: WebhookId) -> Result<Webhook, StoreError> {
        in_one_read!(self, db => webhooks::one(db, id))
    }

    async fn update_webhook(&self, id: WebhookId, patch: WebhookPatch) -> Result<Webhook, StoreError> {
        in_one_write!(self, db => webhooks::update(db, &self.gateway, id, patch))
    }

    async fn remove_webhook(&self, id: WebhookId, if_revision: Option<i64>) -> Result<(), StoreError> {
        in_one_write!(self, db => webhooks::remove(db, &self.gateway, id, if_revision))
    }

    async fn webhook_target(&self, id: WebhookId) -> Result<Addressee, StoreError> {
        in_one_read!(self, db => webhooks::target(db, &self.vault, &self.gateway, id))
    }

    async fn own_events_after(&self, after: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
        reading!(self, db => events::own_after(db, &self.gateway, after, limit))
    }

    async fn record_delivery(&self, id: WebhookId, delivery: &Delivery) -> Result<(), StoreError> {
        in_one_write!(self, db => webhooks::record_delivery(db, &self.gateway, id, delivery))
    }

    async fn switch_off_webhook(
        &self,
        id: WebhookId,
        revision: i64,
        why: &Delivery,
    ) -> Result<(), StoreError> {
        in_one_write!(self, db => webhooks::switch_off(db, &self.gateway, id, revision, why))
    }
}
