//! The flag file that is served by now.

use std::sync::Arc;

use pgw_core::flag::FlagFile;
use tokio::sync::watch;

use crate::live::Live;

/// Where a new flag file is taken over. Whoever has heard of the new one may rely on it that what
/// it took away carries nothing more.
#[derive(Clone)]
pub(crate) struct Current {
    flag: watch::Sender<Arc<FlagFile>>,
    live: Arc<Live>,
}

impl Current {
    pub(crate) fn new(flag: FlagFile, live: Arc<Live>) -> Self {
        Self { flag: watch::Sender::new(Arc::new(flag)), live }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<FlagFile>> {
        self.flag.subscribe()
    }

    /// Says whether it is another than the one before.
    pub(crate) fn take_over(&self, flag: FlagFile) -> bool {
        let flag = Arc::new(flag);
        let taken = self.flag.send_if_modified(|current| {
            let other = *current != flag;
            if other {
                *current = flag.clone();
            }
            other
        });
        // Here and not where others hear of it: until their turn comes more bytes would move.
        self.live.keep_allowed(&flag);
        taken
    }
}
