//! When there is a drill, and what is told of the last one.

use std::time::Duration;

use pgw_core::drill::{Drill, Outcome};
use pgw_core::news::What;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{GroundError, Range};
use crate::reconcile::Status;

/// After the start: by then the rules are there, and the API has been asked.
const FIRST: Duration = Duration::from_secs(10);

pub struct Keeper {
    range: Range,
    status: Status,
}

impl Keeper {
    pub fn new(range: Range, status: Status) -> Self {
        Self { range, status }
    }

    pub async fn drill(&self) -> Result<Drill, GroundError> {
        let drill = self.range.drill().await?;
        Ok(self.keep(drill))
    }

    fn keep(&self, mut drill: Drill) -> Drill {
        let before = self.status.change(|status| {
            drill.proven_closed_at = drill.proven_closed_at.or(status.drill.proven_closed_at);
            std::mem::replace(&mut status.drill, drill.clone())
        });
        self.status.chronicle().tell(What::Drill(drill.clone()));
        let (detail, took_ms) = (&drill.detail, drill.took_ms);
        // A leak every time; the rest when it is news.
        let news = (before.outcome, &before.detail) != (drill.outcome, detail);
        match drill.outcome {
            Some(Outcome::Leaked) => tracing::error!(took_ms, "leak drill: {detail}"),
            Some(Outcome::NotRun) if news => tracing::warn!(took_ms, "leak drill: {detail}"),
            Some(Outcome::Closed) if news => tracing::info!(took_ms, "leak drill: {detail}"),
            Some(Outcome::NotRun | Outcome::Closed) | None => {
                tracing::debug!(took_ms, "leak drill: {detail}");
            }
        }
        drill
    }

    /// Until told to stop; a drill that has begun is ended first.
    pub async fn run(&self, interval: Option<Duration>, stop: CancellationToken) {
        // What one that was killed has left, unless one is under way in another process.
        if let Ok(turn) = self.range.ground.turn() {
            let ground = self.range.ground.clone();
            let _swept = super::blocking(move || ground.sweep(turn)).await;
        }
        let Some(interval) = interval else { return };
        let mut ticks = interval_at(Instant::now() + FIRST.min(interval), interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.drill().await {
                tracing::info!(%error, "no leak drill this time");
            }
        }
    }
}
