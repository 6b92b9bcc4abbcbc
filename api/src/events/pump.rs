//! From the database to the bus: after every write of this gateway, and whenever another one says
//! that it wrote, what is new in the log is read and sent on. So nobody is told of a change that was
//! not committed, and all are told in the order of the log, whoever wrote.

use std::sync::Arc;
use std::time::Duration;

use pgw_core::seldom::Seldom;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Bus;
use crate::store::{Store, StoreError};

const AT_ONCE: u32 = 500;
/// Should a word that something was written ever be lost.
const IN_ANY_CASE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(500);

pub struct Pump {
    pub store: Arc<dyn Store>,
    pub bus: Arc<Bus>,
}

impl Pump {
    pub async fn run(self, stop: CancellationToken) {
        let mut written = self.store.written();
        let mut complaints = Seldom::default();
        let pumping = async {
            loop {
                // Before the reading: what is written meanwhile is read the next time.
                written.borrow_and_update();
                match self.send_on().await {
                    Ok(true) => {}
                    Ok(false) => {
                        tokio::select! {
                            _told = written.changed() => {}
                            () = sleep(IN_ANY_CASE) => {}
                        }
                    }
                    Err(error) => {
                        if let Some(before) = complaints.due(Instant::now().into_std()) {
                            tracing::warn!(error = %error, before, "events cannot be read; their readers wait");
                        }
                        sleep(RETRY).await;
                    }
                }
            }
        };
        let _never: Option<()> = stop.run_until_cancelled(pumping).await;
        self.bus.close();
    }

    /// Answers whether there may be more.
    async fn send_on(&self) -> Result<bool, StoreError> {
        let events = self.store.events_after(self.bus.last(), AT_ONCE).await?;
        self.bus.publish(&events);
        Ok(!events.is_empty())
    }
}
