//! Forwarders that are only remembered, for tests of those who start and stop them.

use std::collections::{BTreeMap, BTreeSet};
use std::future;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;

use super::{Told, UnitError, Units};

pub(crate) struct Fake {
    told: Told,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Start(u16),
    Stop(u16),
}

#[derive(Default)]
struct State {
    up: BTreeSet<u16>,
    calls: Vec<Call>,
    refused: BTreeMap<u16, usize>,
    hanging: BTreeSet<u16>,
}

impl Fake {
    pub(crate) fn new(told: Told) -> Self {
        Self { told, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next starts of this port fail.
    pub(crate) fn refuse(&self, port: u16, times: usize) {
        self.state().refused.insert(port, times);
    }

    /// Starts and stops of this port never return.
    pub(crate) fn hang(&self, port: u16) {
        self.state().hanging.insert(port);
    }

    pub(crate) fn die(&self, port: u16) {
        self.state().up.remove(&port);
        self.told.send(port).unwrap();
    }

    pub(crate) fn come_back(&self, port: u16) {
        self.state().up.insert(port);
        self.told.send(port).unwrap();
    }

    /// In the order in which they were made.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    fn called(&self, call: Call, port: u16) -> bool {
        let mut state = self.state();
        state.calls.push(call);
        state.hanging.contains(&port)
    }
}

#[async_trait]
impl Units for Fake {
    async fn start(&self, port: u16) -> Result<(), UnitError> {
        if self.called(Call::Start(port), port) {
            future::pending::<()>().await;
        }
        let mut state = self.state();
        if let Some(times) = state.refused.get_mut(&port).filter(|times| **times > 0) {
            *times -= 1;
            let (result, detail) = ("exit code 1".into(), "as the test asked for".into());
            return Err(UnitError::Failed { port, result, detail });
        }
        state.up.insert(port);
        Ok(())
    }

    async fn stop(&self, port: u16) -> Result<(), UnitError> {
        if self.called(Call::Stop(port), port) {
            future::pending::<()>().await;
        }
        self.state().up.remove(&port);
        Ok(())
    }

    async fn running(&self) -> Result<BTreeSet<u16>, UnitError> {
        Ok(self.state().up.clone())
    }

    async fn keeps(&self, _port: u16) -> bool {
        false
    }

    fn kind(&self) -> &'static str {
        "fake"
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn it_does_what_the_test_asks_for_and_remembers_what_was_called() {
        let fake = Fake::new(mpsc::unbounded_channel().0);
        fake.refuse(1, 2);
        assert!(fake.start(1).await.is_err());
        assert!(fake.start(1).await.is_err());
        assert!(fake.start(1).await.is_ok());
        fake.hang(2);
        assert!(fake.start(2).now_or_never().is_none());
        fake.stop(1).await.unwrap();
        let calls = [Call::Start(1), Call::Start(1), Call::Start(1), Call::Start(2), Call::Stop(1)];
        assert_eq!(fake.calls(), calls);
    }
}
