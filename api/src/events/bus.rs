//! From the log to everybody who reads along. Each event is serialized once, and lies once in a ring
//! that all readers share: five hundred of them cost five hundred positions in it, and one who is
//! slower than the ring has lost something and is told so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;

use super::Event;
use super::frame::Frame;

/// As many events may a reader be behind.
const RING: usize = 2048;
/// The connections of this machine are a thousand, and the agent needs one.
pub const MOST_READERS: usize = 700;

pub struct Bus {
    gateway: String,
    sender: broadcast::Sender<Arc<Frame>>,
    /// The id of the last event that was sent.
    last: Mutex<i64>,
    places: Arc<Semaphore>,
    closing: CancellationToken,
}

/// What is needed to read along.
pub struct Seat {
    pub(super) live: broadcast::Receiver<Arc<Frame>>,
    /// All that follows this one comes by `live`, in order.
    pub(super) from: i64,
    pub(super) closing: CancellationToken,
    pub(super) _place: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_READERS} streams of events are open already")]
pub struct Full;

impl Bus {
    /// `last` is the id of the newest event that there is.
    pub fn new(gateway: &str, last: i64) -> Self {
        let (sender, _nobody_yet) = broadcast::channel(RING);
        Self {
            gateway: gateway.to_owned(),
            sender,
            last: Mutex::new(last),
            places: Arc::new(Semaphore::new(MOST_READERS)),
            closing: CancellationToken::new(),
        }
    }

    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    pub fn last(&self) -> i64 {
        *self.position()
    }

    /// In the order of the log, each once.
    pub(super) fn publish(&self, events: &[Event]) {
        // Held while sending, so that a seat is taken before an event or after it.
        let mut last = self.position();
        for event in events.iter().filter(|event| event.id > *last).collect::<Vec<_>>() {
            // Nobody may be reading.
            let _readers = self.sender.send(Arc::new(Frame::from(event)));
            *last = event.id;
        }
    }

    /// For what runs in this process, and is not counted.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Frame>> {
        self.sender.subscribe()
    }

    pub fn seat(&self) -> Result<Seat, Full> {
        let place = self.places.clone().try_acquire_owned().map_err(|_none_left| Full)?;
        let last = self.position();
        let (live, from) = (self.sender.subscribe(), *last);
        Ok(Seat { live, from, closing: self.closing.clone(), _place: place })
    }

    /// Streams that are open now.
    pub fn readers(&self) -> usize {
        MOST_READERS - self.places.available_permits()
    }

    /// Every stream ends.
    pub fn close(&self) {
        self.closing.cancel();
    }

    fn position(&self) -> MutexGuard<'_, i64> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
