//! One stream of events: hello, what was missed, and then what happens, until its reader goes, may no
//! longer read, or the program stops.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::bus::Seat;
use super::frame::{self, Filter, Frame};
use crate::store::{LogEnds, Store};

pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Whoever missed more loads anew what it shows; the journal has the rest.
pub const MOST_MISSED: i64 = 10_000;
const AT_ONCE: u32 = 200;

/// Asked at every heartbeat, and when somebody's access was changed.
pub type Access = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

pub struct Reader {
    seat: Seat,
    store: Arc<dyn Store>,
    filter: Filter,
    access: Access,
    heartbeat: Interval,
    /// Made, and not yet taken.
    ready: VecDeque<Bytes>,
    /// The last event that was sent or passed over.
    stands_at: i64,
}

impl Reader {
    /// `after` is the last event that the reader knows; without it, it is told what happens from now on.
    pub fn new(
        seat: Seat,
        store: Arc<dyn Store>,
        filter: Filter,
        access: Access,
        gateway: &str,
        after: Option<i64>,
        ends: LogEnds,
    ) -> Self {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let latest = seat.from;
        // What was committed may not have come this way yet.
        let newest = latest.max(ends.latest);
        let whole =
            |after: &i64| (ends.oldest - 1..=newest).contains(after) && latest - *after <= MOST_MISSED;
        let stands_at = after.filter(whole).unwrap_or(latest);
        let mut ready = VecDeque::from([frame::hello(stands_at, latest, gateway)]);
        if after.is_some_and(|after| !whole(&after)) {
            ready.push_back(frame::gap(stands_at, ends.oldest));
        }
        Self { seat, store, filter, access, heartbeat, ready, stands_at }
    }

    pub fn stream(self) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
        unfold(self, |mut reader| async move { Some((Ok(reader.next().await?), reader)) })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if self.stands_at < self.seat.from { self.catch_up().await? } else { self.live().await? }
        }
    }

    /// What the log holds of the time before the seat was taken.
    async fn catch_up(&mut self) -> Option<()> {
        let closing = self.seat.closing.clone();
        let read = self.store.events_after(self.stands_at, AT_ONCE);
        let events = match closing.run_until_cancelled(read).await? {
            Ok(events) => events,
            Err(error) => {
                tracing::info!(error = %error, "a stream of events ends early; its reader may resume it");
                return None;
            }
        };
        let last = self.seat.from;
        let missed: Vec<_> = events.iter().take_while(|event| event.id <= last).collect();
        for event in &missed {
            self.take(&Frame::from(*event));
        }
        if missed.len() < events.len() || missed.is_empty() {
            self.stands_at = last;
        }
        Some(())
    }

    async fn live(&mut self) -> Option<()> {
        tokio::select! {
            biased;
            () = self.seat.closing.cancelled() => None,
            _due = self.heartbeat.tick() => {
                self.ready.push_back(frame::heartbeat(self.stands_at));
                (self.access)().await.then_some(())
            }
            received = self.seat.live.recv() => match received {
                Ok(frame) if frame.id <= self.stands_at => Some(()),
                Ok(frame) => {
                    self.take(&frame);
                    (!frame.concerns_access() || (self.access)().await).then_some(())
                }
                Err(RecvError::Lagged(_)) => self.lagged().await,
                Err(RecvError::Closed) => None,
            },
        }
    }

    /// Slower than the ring: what is still in it follows.
    async fn lagged(&mut self) -> Option<()> {
        let oldest = self.store.log_ends().await.ok()?.oldest;
        let frame = self.seat.live.try_recv().ok();
        if let Some(frame) = &frame {
            self.stands_at = frame.id - 1;
        }
        self.ready.push_back(frame::gap(self.stands_at, oldest));
        if let Some(frame) = &frame {
            self.take(frame);
        }
        // Among what was missed somebody's access may have been changed.
        (self.access)().await.then_some(())
    }

    fn take(&mut self, frame: &Frame) {
        if self.filter.wants(frame) {
            self.ready.push_back(frame.bytes.clone());
        }
        self.stands_at = frame.id;
    }
}
