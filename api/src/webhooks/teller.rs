//! Tells one webhook what happens, in order: the next event waits until this one was taken or given
//! up.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pgw_core::ids::WebhookId;
use tokio::time::sleep;

use super::backoff::{is_given_up, pause};
use super::post::{NotTaken, Post};
use super::sign::sign;
use crate::events::{Bus, Event};
use crate::store::{Addressee, Store, StoreError};

const AT_ONCE: u32 = 100;
/// What is none of its business is passed over without writing that down each time.
const PASSED_OVER: i64 = 1000;
const RETRY: Duration = Duration::from_secs(1);
const IN_ANY_CASE: Duration = Duration::from_secs(30);

pub(super) struct Teller {
    id: WebhookId,
    target: Addressee,
    store: Arc<dyn Store>,
    bus: Arc<Bus>,
    post: Arc<dyn Post>,
    /// In a row.
    failures: u32,
    /// Of the last event that was written down as told.
    written: i64,
}

/// One signed message. The time in it is now: receivers refuse old ones.
pub(super) async fn attempt(
    post: &dyn Post,
    target: &Addressee,
    message: &str,
    event: &Event,
) -> Result<u16, NotTaken> {
    let failed = |why: String| NotTaken::Failed { why, wait: None };
    let body = serde_json::to_vec(event).map_err(|error| failed(error.to_string()))?;
    let signed = sign(&target.secret, message, Timestamp::now(), &body)
        .map_err(|no_secret| failed(no_secret.to_string()))?;
    post.post(&target.url, &signed, body).await
}

impl Teller {
    /// Until it is gone, or this is dropped.
    pub(super) async fn begin(id: WebhookId, store: Arc<dyn Store>, bus: Arc<Bus>, post: Arc<dyn Post>) {
        let target = loop {
            match store.webhook_target(id).await {
                Ok(target) => break target,
                Err(StoreError::NotFound(_)) => return,
                Err(error) => {
                    tracing::debug!(webhook = %id, error = %error, "a webhook cannot be read now");
                    sleep(RETRY).await;
                }
            }
        };
        let written = target.delivery.told;
        Self { id, target, store, bus, post, failures: 0, written }.run().await;
    }

    async fn run(mut self) {
        loop {
            // Before the reading: what happens meanwhile is read the next time.
            let mut news = self.bus.listen();
            match self.store.own_events_after(self.target.delivery.told, AT_ONCE).await {
                Ok(events) if events.is_empty() => {
                    let _any = tokio::time::timeout(IN_ANY_CASE, news.recv()).await;
                }
                Ok(events) => {
                    for event in events {
                        if self.tell(&event).await.is_break() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(webhook = %self.id, error = %error, "events cannot be read now");
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn tell(&mut self, event: &Event) -> ControlFlow<()> {
        if !(self.target.kinds.is_empty() || self.target.kinds.contains(&event.kind)) {
            self.target.delivery.told = event.id;
            if event.id - self.written >= PASSED_OVER {
                self.write_down().await;
            }
            return ControlFlow::Continue(());
        }
        let message = format!("evt_{}_{}", self.id.0.simple(), event.id);
        loop {
            if self.failures > 0 && is_given_up(event.at, Timestamp::now()) {
                self.give_up(event).await;
                return ControlFlow::Continue(());
            }
            match attempt(self.post.as_ref(), &self.target, &message, event).await {
                Ok(_status) => {
                    self.taken(event).await;
                    return ControlFlow::Continue(());
                }
                Err(NotTaken::Gone) => {
                    self.switch_off().await;
                    return ControlFlow::Break(());
                }
                Err(NotTaken::Failed { why, wait }) => {
                    self.failed(event, why).await;
                    sleep(pause(self.failures, wait, rand::random())).await;
                }
            }
        }
    }

    async fn taken(&mut self, event: &Event) {
        if self.failures > 0 {
            tracing::info!(webhook = self.target.name, event = event.id, "a webhook takes events again");
        }
        self.failures = 0;
        let delivery = &mut self.target.delivery;
        delivery.told = event.id;
        delivery.last_ok_at = Some(Timestamp::now());
        (delivery.failing_since, delivery.last_error) = (None, None);
        self.write_down().await;
    }

    async fn failed(&mut self, event: &Event, why: String) {
        self.failures = self.failures.saturating_add(1);
        let delivery = &mut self.target.delivery;
        let first = delivery.failing_since.is_none();
        delivery.failing_since.get_or_insert_with(Timestamp::now);
        if first || delivery.last_error.as_ref() != Some(&why) {
            let (webhook, event) = (&self.target.name, event.id);
            tracing::warn!(
                webhook,
                event,
                error = why,
                "a webhook does not take an event; it is tried again"
            );
            delivery.last_error = Some(why);
            self.write_down().await;
        }
    }

    async fn give_up(&mut self, event: &Event) {
        let delivery = &mut self.target.delivery;
        delivery.told = event.id;
        delivery.given_up += 1;
        let (webhook, event) = (&self.target.name, event.id);
        tracing::warn!(
            webhook,
            event,
            "an event is given up: it is a day old, and its webhook does not take it"
        );
        self.write_down().await;
    }

    /// 410: the standard's word for "never again". It is the word of the address that was asked: who
    /// has another one by now is told there.
    async fn switch_off(&mut self) {
        let Addressee { name, revision, delivery, .. } = &mut self.target;
        delivery.failing_since.get_or_insert_with(Timestamp::now);
        delivery.last_error = Some("it answered 410 Gone, and was switched off".to_owned());
        match self.store.switch_off_webhook(self.id, *revision, delivery).await {
            Ok(()) => tracing::warn!(webhook = name, "a webhook answered 410 Gone, and is switched off"),
            Err(StoreError::Stale { .. } | StoreError::NotFound(_)) => {
                tracing::info!(
                    webhook = name,
                    "a webhook answered 410 Gone, but is another by now, or removed"
                );
            }
            Err(error) => {
                tracing::warn!(webhook = name, %error, "a webhook answered 410 Gone, and cannot be switched off now");
            }
        }
    }

    /// Where it cannot be written, it goes on: then it is told some events again after a restart.
    async fn write_down(&mut self) {
        match self.store.record_delivery(self.id, &self.target.delivery).await {
            Ok(()) => self.written = self.target.delivery.told,
            Err(error) => {
                tracing::debug!(webhook = %self.id, error = %error, "a delivery is not written down");
            }
        }
    }
}
