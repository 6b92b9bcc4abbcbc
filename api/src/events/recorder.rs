//! Facts that no transaction stands for, such as a forwarder that is ready: noted at once, written down
//! together as soon as possible, and nobody waits for the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pgw_core::seldom::Seldom;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::NewEvent;
use crate::store::Store;

/// While the database is away: some minutes of trouble, and not a memory that fills.
const MOST_KEPT: usize = 4096;
const TOGETHER: usize = 256;
const RETRY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub struct Recorder {
    notes: mpsc::Sender<NewEvent>,
    lost: Arc<AtomicU64>,
}

pub struct RecorderTask {
    noted: mpsc::Receiver<NewEvent>,
    lost: Arc<AtomicU64>,
    store: Arc<dyn Store>,
}

pub fn recorder(store: Arc<dyn Store>) -> (Recorder, RecorderTask) {
    let (notes, noted) = mpsc::channel(MOST_KEPT);
    let lost = Arc::<AtomicU64>::default();
    (Recorder { notes, lost: lost.clone() }, RecorderTask { noted, lost, store })
}

impl Recorder {
    /// Notes nothing: for what is tested without a log.
    #[cfg(test)]
    pub(crate) fn deaf() -> Self {
        Self { notes: mpsc::channel(1).0, lost: Arc::default() }
    }

    pub fn note(&self, event: NewEvent) {
        if self.notes.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl RecorderTask {
    pub async fn run(mut self, stop: CancellationToken) {
        let (mut batch, mut complaints) = (Vec::new(), Seldom::default());
        loop {
            if batch.is_empty() {
                let more = stop.run_until_cancelled(self.noted.recv_many(&mut batch, TOGETHER)).await;
                // Told to stop, or nobody is left who could note anything.
                if more.is_none_or(|noted| noted == 0) {
                    break;
                }
            }
            match self.store.record(&batch).await {
                Ok(()) => batch.clear(),
                Err(error) => {
                    let lost = self.lost.load(Ordering::Relaxed);
                    if let Some(before) = complaints.due(Instant::now().into_std()) {
                        tracing::warn!(error = %error, before, lost, "what happened cannot be written down yet");
                    }
                    if stop.run_until_cancelled(tokio::time::sleep(RETRY)).await.is_none() {
                        break;
                    }
                }
            }
        }
        // What was noted while it was told to stop.
        while let Ok(event) = self.noted.try_recv() {
            batch.push(event);
        }
        if !batch.is_empty()
            && let Err(error) = self.store.record(&batch).await
        {
            tracing::warn!(error = %error, events = batch.len(), "what happened last is not written down");
        }
    }
}
