//! What forwarders see of their upstreams between two checks. Each forwarder that is ready is
//! followed on its control socket, so that nothing is polled; and when it hangs up, whoever has
//! its port is looked at, for then it has probably died.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::control::Seen;
use pgw_core::health::Blame;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::checks::{HealthChecks, Suspicion};
use crate::board::Board;
use crate::store::{Store, StoreError};
use crate::units::Told;
use crate::units::control::{ControlError, Following};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub struct Evidence {
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub checks: HealthChecks,
    pub run_dir: PathBuf,
    /// Of ports whose forwarder hung up.
    pub told: Told,
}

impl Evidence {
    pub async fn run(self, stop: CancellationToken) {
        let own = Arc::new(self);
        let mut forwarders = own.board.forwarders();
        let mut following: HashMap<u16, AbortOnDropHandle<()>> = HashMap::new();
        loop {
            let ready: BTreeSet<u16> = forwarders.borrow_and_update().keys().copied().collect();
            following.retain(|port, _| ready.contains(port));
            for port in ready {
                following
                    .entry(port)
                    .or_insert_with(|| AbortOnDropHandle::new(tokio::spawn(own.clone().follow(port))));
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = forwarders.changed() => if changed.is_err() { return },
            }
        }
    }

    /// For as long as the forwarder counts as ready.
    async fn follow(self: Arc<Self>, port: u16) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let Err(error) = self.listen(port).await;
            tracing::debug!(port, error = %error, "a forwarder is no longer followed");
            // Nobody listens any more only when the program stops.
            let _stopping = self.told.send(port);
            pause =
                if begun.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            tokio::time::sleep(pause).await;
        }
    }

    async fn listen(&self, port: u16) -> Result<std::convert::Infallible, ControlError> {
        let mut following = Following::open(&self.run_dir, port).await?;
        // What it saw before it was followed is no news: everything is checked at the start.
        let mut before = following.next().await?;
        loop {
            let now = following.next().await?;
            for (seen, blame) in news(&before, &now) {
                if let Err(error) = self.report(seen, blame).await {
                    tracing::debug!(port, error = %error, "what a forwarder saw is not looked into");
                }
            }
            before = now;
        }
    }

    async fn report(&self, seen: &Seen, blame: Blame) -> Result<(), StoreError> {
        let Some(trouble) = &seen.trouble else { return Ok(()) };
        let proxy = self.store.mapping(seen.mapping_id).await?.proxy_id;
        let error = format!("{} ({}; seen by a forwarder)", trouble.kind, trouble.words);
        self.checks.suspect(proxy, Suspicion { blame, error });
        Ok(())
    }
}

/// Those that had trouble between two lines, and whom it speaks against.
fn news<'a>(before: &[Seen], now: &'a [Seen]) -> Vec<(&'a Seen, Blame)> {
    let more = |seen: &Seen, count: fn(&Seen) -> u64| {
        let known = before.iter().find(|known| known.mapping_id == seen.mapping_id).map_or(0, count);
        // Fewer than before: it is counted anew, since its upstream changed.
        count(seen) > known || (count(seen) > 0 && count(seen) < known)
    };
    let blame = |seen: &Seen| match () {
        () if more(seen, |seen| seen.failed) => Some(Blame::Upstream),
        () if more(seen, |seen| seen.unclear) => Some(Blame::Unclear),
        () => None,
    };
    now.iter().filter_map(|seen| Some((seen, blame(seen)?))).collect()
}

#[cfg(test)]
mod tests;
