//! What is told of forwarders: each change once, although every look at a closed client stops what may
//! have been running.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use pgw_core::client::Client;

use crate::events::recorder::Recorder;
use crate::events::{ForwarderState, NewEvent};

pub struct Told {
    recorder: Recorder,
    /// Ports of whose forwarders it was last told, or found at the start, that they run.
    running: Mutex<BTreeSet<u16>>,
}

impl Told {
    pub fn new(recorder: Recorder) -> Self {
        Self { recorder, running: Mutex::default() }
    }

    /// It ran before this process did.
    pub(super) fn adopted(&self, port: u16) {
        self.change(|running| running.insert(port));
    }

    pub(super) fn started(&self, port: u16, client: &Client) {
        if self.change(|running| running.insert(port)) {
            self.note(port, Some(client), ForwarderState::Started, "");
        }
    }

    pub(super) fn ready(&self, port: u16, client: &Client) {
        self.change(|running| running.insert(port));
        self.note(port, Some(client), ForwarderState::Ready, "it serves its device");
    }

    pub(super) fn died(&self, port: u16, client: &Client) {
        self.change(|running| running.remove(&port));
        self.note(port, Some(client), ForwarderState::Died, "it is being started again");
    }

    pub(super) fn stopped(&self, port: u16, client: Option<&Client>, why: &str) {
        if self.change(|running| running.remove(&port)) {
            self.note(port, client, ForwarderState::Stopped, why);
        }
    }

    fn note(&self, port: u16, client: Option<&Client>, state: ForwarderState, detail: &str) {
        let client = client.map(|client| (client.id, client.name.as_str()));
        self.recorder.note(NewEvent::forwarder(port, client, state, detail));
    }

    /// A panic elsewhere leaves it whole: each change is one insert or remove.
    fn change(&self, change: impl FnOnce(&mut BTreeSet<u16>) -> bool) -> bool {
        change(&mut self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
