//! Writes down what was counted: once a minute, so that a disk may rest. Whoever dies in between
//! loses a minute of what upstreams looked like, and of traffic nothing that a forwarder still knows.

use std::sync::Arc;
use std::time::Duration;

use pgw_core::seldom::Seldom;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Telemetry;

const EVERY: Duration = Duration::from_secs(60);
/// Minutes between two times that the names of the running hour are written down, of which there
/// are many; and that old rows are dropped.
const NAMES_EVERY: u32 = 10;
const FORGET_EVERY: u32 = 30;

/// Until it is to stop, and once more then.
pub async fn run(telemetry: Arc<Telemetry>, stop: CancellationToken) {
    let mut complaints = Seldom::default();
    let mut minute = 0_u32;
    loop {
        let waited = stop.run_until_cancelled(tokio::time::sleep(EVERY)).await;
        minute = minute.wrapping_add(1);
        let names = waited.is_none() || minute.is_multiple_of(NAMES_EVERY);
        // Soon after the start, too: a program that is restarted every hour forgets all the same.
        let forget = waited.is_some() && minute % FORGET_EVERY == 1;
        if let Err(error) = telemetry.write(names, forget).await
            && let Some(before) = complaints.due(Instant::now().into_std())
        {
            tracing::warn!(error = %error, before, "what was carried could not be written down; it is kept");
        }
        if waited.is_none() {
            return;
        }
    }
}
