//! The log has an end: what is too old, or too much, is forgotten in small pieces, between which
//! others write.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pgw_core::seldom::Seldom;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::store::{Store, StoreError};

const EVERY: Duration = Duration::from_secs(60);
const AT_ONCE: u32 = 500;
/// Between two pieces: many times what one takes.
const PAUSE: Duration = Duration::from_millis(50);

pub struct Bounds {
    pub store: Arc<dyn Store>,
    pub days: u32,
    pub rows: u32,
}

impl Bounds {
    pub async fn run(self, stop: CancellationToken) {
        let mut complaints = Seldom::default();
        let forgetting = async {
            loop {
                if let Err(error) = self.enforce().await
                    && let Some(before) = complaints.due(Instant::now().into_std())
                {
                    tracing::warn!(error = %error, before, "old events cannot be forgotten now");
                }
                sleep(EVERY).await;
            }
        };
        let _never: Option<()> = stop.run_until_cancelled(forgetting).await;
    }

    async fn enforce(&self) -> Result<(), StoreError> {
        let age = SignedDuration::from_hours(24 * i64::from(self.days));
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        while self.store.forget_events(before, self.rows, AT_ONCE).await? >= u64::from(AT_ONCE) {
            sleep(PAUSE).await;
        }
        Ok(())
    }
}
