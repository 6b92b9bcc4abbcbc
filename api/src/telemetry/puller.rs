//! Asks every forwarder what it has carried: each on a connection that is kept, at a time of its
//! own, and to its last words. Who does not answer holds up nobody but himself.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Telemetry;
use crate::board::Board;
use crate::units::control::{ControlError, Line};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that is asked so often in vain, one time after the other, serves nobody as far as anybody knows.
const IN_VAIN: u32 = 3;
/// How often names are asked for, of which there are many.
const NAMES_EVERY: Duration = Duration::from_secs(60);
/// For the last words of a forwarder that nobody needs any more: it is about to be stopped.
const LINGERS: Duration = Duration::from_secs(30);
/// A little longer than a drain may take.
const DRAINS: Duration = Duration::from_secs(3660);

pub struct Puller {
    pub telemetry: Arc<Telemetry>,
    pub board: Arc<Board>,
    pub run_dir: PathBuf,
    pub interval: Duration,
    /// Hears of a port whose forwarder has fallen silent, or answers again.
    pub told: UnboundedSender<u16>,
}

struct Asking {
    puller: Puller,
    stop: CancellationToken,
}

/// Why a line is not asked any more.
enum Ended {
    /// It has said its last words.
    Gone,
    /// It is to be heard to its end, while its port may have another forwarder, or none.
    Leaves { draining: bool },
}

impl Puller {
    pub async fn run(self, stop: CancellationToken) {
        let mut forwarders = self.board.forwarders();
        let asking = Arc::new(Asking { puller: self, stop: stop.clone() });
        let mut wanted: HashMap<u16, DropGuard> = HashMap::new();
        loop {
            let ready: BTreeSet<u16> = forwarders.borrow_and_update().keys().copied().collect();
            wanted.retain(|port, _unwanted_when_dropped| ready.contains(port));
            for port in ready {
                wanted.entry(port).or_insert_with(|| {
                    let unwanted = CancellationToken::new();
                    asking.spawn(asking.clone().follow(port, unwanted.clone()));
                    unwanted.drop_guard()
                });
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = forwarders.changed() => if changed.is_err() { return },
            }
        }
    }
}

impl Asking {
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        // In a box: what wraps it would take the room for it several times over.
        tokio::spawn(self.stop.clone().run_until_cancelled_owned(Box::pin(work)));
    }

    /// For as long as the port's forwarder counts as ready.
    async fn follow(self: Arc<Self>, port: u16, unwanted: CancellationToken) {
        let (mut pause, mut in_vain) = (FIRST_PAUSE, 0);
        while !unwanted.is_cancelled() {
            let begun = Instant::now();
            if let Err(error) = self.line(port, &unwanted, &mut in_vain).await {
                in_vain =
                    if matches!(error, ControlError::Silent(_)) { in_vain.saturating_add(1) } else { 0 };
                self.in_vain(port, in_vain);
                tracing::debug!(port, error = %error, "a forwarder does not tell what it carries");
            }
            pause =
                if begun.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
            unwanted.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    /// One forwarder of the port, until there is another or none.
    async fn line(
        self: &Arc<Self>,
        port: u16,
        unwanted: &CancellationToken,
        in_vain: &mut u32,
    ) -> Result<(), ControlError> {
        let mut line = Line::open(&self.puller.run_dir, port).await?;
        match self.ask(port, &mut line, Some((unwanted, in_vain))).await? {
            Ended::Gone => {}
            Ended::Leaves { draining } => self.spawn(self.clone().see_out(port, line, draining)),
        }
        Ok(())
    }

    /// Which says nothing of what it does, and so ends nothing (it may only be buried in work); but
    /// APPLIED is a fact, and this is none any more.
    fn in_vain(&self, port: u16, times: u32) {
        if times >= IN_VAIN && self.puller.board.forwarder_silent(port) {
            tracing::warn!(port, "a forwarder does not answer");
            self.tell(port);
        }
    }

    fn answers(&self, port: u16) {
        if self.puller.board.forwarder_answers(port) {
            tracing::info!(port, "a forwarder answers again");
            self.tell(port);
        }
    }

    /// Nobody to hear it: the API is stopping.
    fn tell(&self, port: u16) {
        let _stopping = self.puller.told.send(port);
    }

    async fn see_out(self: Arc<Self>, port: u16, mut line: Line, draining: bool) {
        let limit = if draining { DRAINS } else { LINGERS };
        // It may hang up without a word; more cannot be known.
        let _ended = timeout(limit, self.ask(port, &mut line, None)).await;
    }

    /// Asks again and again; without `unwanted`, until it is gone. A question has its room only while it
    /// is asked: there is a line for each forwarder, and it mostly waits.
    async fn ask(
        &self,
        port: u16,
        line: &mut Line,
        mut unwanted: Option<(&CancellationToken, &mut u32)>,
    ) -> Result<Ended, ControlError> {
        let mut ticks = ticks(port, self.puller.interval);
        let mut names_due = Instant::now();
        loop {
            let names = Instant::now() >= names_due;
            let told = Box::pin(line.traffic(names)).await?;
            if let Some((_, in_vain)) = &mut unwanted {
                **in_vain = 0;
                self.answers(port);
            }
            if names {
                names_due = Instant::now() + NAMES_EVERY;
            }
            let (last, draining) = (told.last, told.draining);
            Box::pin(self.puller.telemetry.heard(told)).await;
            match &unwanted {
                _ if last => return Ok(Ended::Gone),
                Some(_) if draining => return Ok(Ended::Leaves { draining }),
                Some(_) | None => {}
            }
            let dismissed = async {
                match &unwanted {
                    Some((unwanted, _)) => unwanted.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _now = ticks.tick() => {}
                told = line.last_words() => {
                    Box::pin(self.puller.telemetry.heard(told?)).await;
                    return Ok(Ended::Gone);
                }
                () = dismissed => return Ok(Ended::Leaves { draining }),
            }
        }
    }
}

/// Spread over the interval, the more evenly the more ports there are.
fn ticks(port: u16, interval: Duration) -> Interval {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    let phase = interval.mul_f64((f64::from(port) * GOLDEN).fract());
    let mut ticks = interval_at(Instant::now() + phase, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests;
