//! Which changes of the tables are our own: the kernel says of each from which socket it came,
//! and nft's socket has the number of its process.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Notices are read within milliseconds. An old number may one day be another program's.
const MOST: usize = 16;

/// The nft processes of ours whose changes nobody has read of yet.
#[derive(Debug, Clone, Default)]
pub struct OwnHands(Arc<Mutex<VecDeque<u32>>>);

impl OwnHands {
    /// Before it is given anything to do: its notice may be here before it has ended.
    pub(crate) fn started(&self, process: u32) {
        let mut processes = self.processes();
        if processes.len() == MOST {
            processes.pop_front();
        }
        processes.push_back(process);
    }

    pub(crate) fn did(&self, socket: u32) -> bool {
        self.processes().contains(&socket)
    }

    /// Its one change has been read of, or it made none.
    pub(crate) fn done(&self, process: u32) {
        self.processes().retain(|own| *own != process);
    }

    fn processes(&self) -> MutexGuard<'_, VecDeque<u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
