//! Who has a port in hand: a forwarder that belongs to nobody is not swept away while the port's
//! new owner starts one of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// As many entries as ports were ever in use.
#[derive(Default)]
pub struct Ports(Mutex<BTreeMap<u16, Arc<tokio::sync::Mutex<()>>>>);

impl Ports {
    pub(super) async fn hold(&self, port: u16) -> OwnedMutexGuard<()> {
        let hand = {
            let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            ports.entry(port).or_default().clone()
        };
        hand.lock_owned().await
    }
}
