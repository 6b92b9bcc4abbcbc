//! Connections in memory.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;

use super::*;

#[derive(Default)]
pub(crate) struct FakeConntrack {
    pub(crate) flows: Mutex<Vec<Flow>>,
    pub(crate) broken: AtomicBool,
    /// How often it was asked, and for whom.
    pub(crate) looks: AtomicUsize,
}

impl FakeConntrack {
    pub(crate) fn begin(&self, source: Ipv4Addr, answered_from: impl Into<Ipv4Addr>, port: u16) {
        let answered_from = answered_from.into();
        let redirected = port > 15_000;
        let handle = vec![];
        let flow = Flow {
            source,
            destination_port: 443,
            answered_from,
            answered_from_port: port,
            redirected,
            handle,
        };
        self.flows.lock().unwrap().push(flow);
    }

    pub(crate) fn sources(&self) -> Vec<Ipv4Addr> {
        self.flows.lock().unwrap().iter().map(|flow| flow.source).collect()
    }
}

#[async_trait]
impl Conntrack for FakeConntrack {
    async fn begun_by(&self, who: &BTreeSet<Ipv4Addr>) -> Result<Vec<Flow>, ConntrackError> {
        self.looks.fetch_add(1, Ordering::SeqCst);
        if self.broken.load(Ordering::SeqCst) {
            return Err(ConntrackError::Silent);
        }
        let flows = self.flows.lock().unwrap();
        Ok(flows.iter().filter(|flow| who.contains(&flow.source)).cloned().collect())
    }

    async fn end(&self, flows: Vec<Flow>) -> Result<usize, ConntrackError> {
        self.flows.lock().unwrap().retain(|flow| !flows.contains(flow));
        Ok(flows.len())
    }
}
