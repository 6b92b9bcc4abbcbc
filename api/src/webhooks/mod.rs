//! Who is told of events over HTTP. Each gateway tells of what happened on it, so nobody has to be
//! elected; each webhook has a task of its own, so none waits for another; and how far it has been
//! told is written down after each event, so that it is told each at least once, in order.

mod backoff;
#[cfg(test)]
pub(crate) mod fake;
mod post;
pub mod sign;
mod teller;
#[cfg(test)]
mod tests;
pub mod url;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pgw_core::ids::WebhookId;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::events::frame::Frame;
use crate::events::{Bus, Event, Kind};
use crate::store::{Store, StoreError};
pub use post::{Http, NotTaken, Post};
use teller::Teller;

/// Should a change of one ever be missed.
const IN_ANY_CASE: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

pub struct Webhooks {
    pub store: Arc<dyn Store>,
    pub bus: Arc<Bus>,
    pub post: Arc<dyn Post>,
}

/// How a webhook took a test.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Tried {
    pub delivered: bool,
    /// The status of its answer, if that was a good one.
    pub status: Option<u16>,
    /// Why it was not delivered.
    pub error: Option<String>,
    pub took_ms: u64,
}

/// By webhook: its revision, and who tells it.
type Tellers = HashMap<WebhookId, (i64, AbortOnDropHandle<()>)>;

impl Webhooks {
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tellers = Tellers::new();
        let keeping = async {
            loop {
                // Before the reading: what changes meanwhile is read the next time.
                let changes = self.bus.listen();
                let again = match self.keep(&mut tellers).await {
                    Ok(()) => IN_ANY_CASE,
                    Err(error) => {
                        tracing::debug!(error = %error, "webhooks cannot be read now");
                        RETRY
                    }
                };
                // Changed or not: it is looked.
                let _changed = tokio::time::timeout(again, a_webhook_changed(changes)).await;
            }
        };
        let _never: Option<()> = stop.run_until_cancelled(keeping).await;
    }

    /// One teller for each that is switched on, as it is now.
    async fn keep(&self, tellers: &mut Tellers) -> Result<(), StoreError> {
        let wanted: HashMap<WebhookId, i64> = self.store.webhooks_switched_on().await?.into_iter().collect();
        tellers.retain(|id, (revision, teller)| wanted.get(id) == Some(revision) && !teller.is_finished());
        for (id, revision) in wanted {
            tellers.entry(id).or_insert_with(|| {
                let (store, bus, post) = (self.store.clone(), self.bus.clone(), self.post.clone());
                let telling = async move { Teller::begin(id, store, bus, post).await };
                (revision, AbortOnDropHandle::new(tokio::spawn(telling)))
            });
        }
        Ok(())
    }

    /// Sends it something that did not happen.
    pub async fn try_out(&self, id: WebhookId) -> Result<Tried, StoreError> {
        let target = self.store.webhook_target(id).await?;
        let now = Timestamp::now();
        let event = Event {
            id: 0,
            at: now,
            gateway: self.bus.gateway().to_owned(),
            kind: Kind::Test,
            client_id: None,
            mapping_id: None,
            proxy_id: None,
            by: crate::store::By::current().0,
            data: serde_json::json!({"webhook": target.name}),
        };
        let (message, began) = (format!("test_{}", uuid::Uuid::now_v7().simple()), Instant::now());
        let outcome = teller::attempt(self.post.as_ref(), &target, &message, &event).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = match &outcome {
            Ok(_) => None,
            Err(NotTaken::Gone) => Some("it answered 410: it wants nothing more".to_owned()),
            Err(NotTaken::Failed { why, .. }) => Some(why.clone()),
        };
        Ok(Tried { delivered: outcome.is_ok(), status: outcome.ok(), error, took_ms })
    }
}

async fn a_webhook_changed(mut changes: Receiver<Arc<Frame>>) {
    loop {
        match changes.recv().await {
            Ok(frame) if frame.changed.as_deref() == Some("webhook") => return,
            Ok(_another) => {}
            // Among what was missed there may be one.
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
