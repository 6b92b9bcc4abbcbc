//! Takes back what nobody has confirmed in time, also what an API applied that died meanwhile.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::effect::bring_about;
use crate::engine::Engine;
use crate::store::applies::{ApplyRecord, ApplyState};
use crate::store::{Store, StoreError};
use crate::tunnels::Link;

/// Until the database is asked again that could not be used.
const RETRY: Duration = Duration::from_secs(5);

pub struct Deadlines {
    pub store: Arc<dyn Store>,
    pub engine: Arc<dyn Engine>,
    pub tunnels: Arc<Link>,
    /// There may be another deadline, or none any more.
    pub news: Arc<Notify>,
}

impl Deadlines {
    pub async fn run(self, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&self) {
        loop {
            let next = match self.store.last_apply().await {
                Ok(last) => match last.filter(|last| last.state == ApplyState::Waiting) {
                    Some(waiting) => self.wait_for(&waiting).await,
                    None => {
                        self.news.notified().await;
                        Ok(())
                    }
                },
                Err(error) => Err(error),
            };
            if let Err(error) = next {
                tracing::warn!(error = %error, "whether a document was confirmed in time cannot be seen to now");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    /// By the clock on the wall only from one start to the next: as long as this runs, setting the
    /// clock makes nobody's time shorter.
    async fn wait_for(&self, waiting: &ApplyRecord) -> Result<(), StoreError> {
        let left = left(waiting, Timestamp::now());
        tokio::select! {
            () = self.news.notified() => Ok(()),
            () = tokio::time::sleep(left) => self.roll_back(waiting).await,
        }
    }

    async fn roll_back(&self, waiting: &ApplyRecord) -> Result<(), StoreError> {
        let Some(done) = self.store.roll_back(waiting.id, &self.tunnels.ground()).await? else {
            return Ok(());
        };
        tracing::warn!(
            apply = %waiting.id,
            by = waiting.by,
            steps = done.plan.steps.len(),
            "nobody confirmed what was applied; what it had touched is again what it was"
        );
        bring_about(self.engine.as_ref(), &self.tunnels, &done.touched).await;
        Ok(())
    }
}

/// Never more than was given: a machine that forgets the time when it has no power begins somewhere in the
/// past, and who sleeps until then is not woken when somebody tells it the time.
fn left(waiting: &ApplyRecord, now: Timestamp) -> Duration {
    let given = waiting.confirm_by.duration_since(waiting.applied_at);
    let left = waiting.confirm_by.duration_since(now).min(given);
    Duration::try_from(left).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use pgw_core::ids::ApplyId;

    use super::*;

    #[test]
    fn nobody_has_longer_than_he_was_given_whatever_the_clock_says_after_a_restart() {
        let applied_at = Timestamp::now();
        let after = |seconds| applied_at + SignedDuration::from_secs(seconds);
        let waiting = ApplyRecord {
            id: ApplyId(uuid::Uuid::nil()),
            state: ApplyState::Waiting,
            by: "user alice".to_owned(),
            applied_at,
            confirm_by: after(60),
        };
        for (now, seconds) in [
            (after(0), 60),
            (after(45), 15),
            (after(60), 0),
            (after(3600), 0),
            // A clock that lost the time with the power.
            (after(-3600), 60),
            (Timestamp::UNIX_EPOCH, 60),
        ] {
            assert_eq!(left(&waiting, now), Duration::from_secs(seconds), "{now}");
        }
    }
}
