//! Which forwarders are up as far as systemd has said, so that only what nobody asked for is
//! passed on. And how their units are named.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::units::Told;

const PREFIX: &str = "pgw-fwd@";
const SUFFIX: &str = ".service";
/// All of them, in systemd's way of asking.
pub(super) const PATTERN: &str = "pgw-fwd@*.service";
/// The same name as a part of an object's path.
const PATH_PREFIX: &str = "/org/freedesktop/systemd1/unit/pgw_2dfwd_40";
const PATH_SUFFIX: &str = "_2eservice";

pub(super) struct Roll {
    told: Told,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    up: BTreeSet<u16>,
    /// Being started: that these come up is no news.
    expected: BTreeSet<u16>,
}

/// A start that is under way.
pub(super) struct Expected<'a> {
    roll: &'a Roll,
    port: u16,
}

impl Roll {
    pub(super) fn new(told: Told) -> Self {
        Self { told, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expect(&self, port: u16) -> Expected<'_> {
        self.known().expected.insert(port);
        Expected { roll: self, port }
    }

    pub(super) fn forget(&self, port: u16) {
        self.known().up.remove(&port);
    }

    /// What systemd says of one unit.
    pub(super) fn heard(&self, port: u16, state: &str) {
        let mut known = self.known();
        let changed = if is_up(state) { known.up.insert(port) } else { known.up.remove(&port) };
        let news = changed && !(is_up(state) && known.expected.contains(&port));
        drop(known);
        if news {
            tracing::info!(port, state, "systemd says that a forwarder changed");
            self.tell(port);
        }
    }

    /// What systemd says of all units, after a time in which it could not be heard.
    pub(super) fn heard_all(&self, units: &[(u16, String)]) {
        let up: BTreeSet<u16> =
            units.iter().filter(|(_, state)| is_up(state)).map(|(port, _)| *port).collect();
        let before = std::mem::replace(&mut self.known().up, up.clone());
        for port in before.symmetric_difference(&up) {
            self.tell(*port);
        }
    }

    /// At the start, where nothing is news.
    pub(super) fn begin(&self, units: &[(u16, String)]) {
        self.known().up.extend(units.iter().filter(|(_, state)| is_up(state)).map(|(port, _)| *port));
    }

    fn tell(&self, port: u16) {
        // Nobody listens while the API stops.
        let _ = self.told.send(port);
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.roll.known().expected.remove(&self.port);
    }
}

/// It serves.
pub(super) fn is_up(state: &str) -> bool {
    matches!(state, "active" | "reloading" | "refreshing")
}

/// There is a process, or there will be one again: "activating" is also the pause before a restart.
pub(super) fn is_there(state: &str) -> bool {
    !matches!(state, "inactive" | "failed")
}

pub(super) fn unit_name(port: u16) -> String {
    format!("{PREFIX}{port}{SUFFIX}")
}

pub(super) fn port_of_name(name: &str) -> Option<u16> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

pub(super) fn port_of_path(path: &str) -> Option<u16> {
    path.strip_prefix(PATH_PREFIX)?.strip_suffix(PATH_SUFFIX)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const NONE: [u16; 0] = [];

    #[test]
    fn only_what_nobody_asked_for_is_news() {
        let (told, mut news) = mpsc::unbounded_channel();
        let roll = Roll::new(told);
        let mut heard = move || std::iter::from_fn(|| news.try_recv().ok()).collect::<Vec<u16>>();
        roll.begin(&[(1, "active".into()), (2, "failed".into())]);

        let expected = roll.expect(3);
        for state in ["activating", "active"] {
            roll.heard(3, state);
        }
        drop(expected);
        roll.heard(3, "active");
        assert_eq!(heard(), NONE, "a start that was asked for");

        roll.heard(3, "activating");
        roll.heard(3, "active");
        assert_eq!(heard(), [3, 3], "it died, and it is back");

        roll.forget(3);
        roll.heard(3, "deactivating");
        roll.heard(3, "inactive");
        assert_eq!(heard(), NONE, "a stop that was asked for");

        let expected = roll.expect(1);
        roll.heard(1, "failed");
        assert_eq!(heard(), [1], "a death is news even while it is being started");
        drop(expected);

        roll.heard_all(&[(2, "active".into())]);
        assert_eq!(heard(), [2], "what happened while the bus was away");
    }

    #[test]
    fn unit_names_and_paths_lead_to_their_port_and_nothing_else_does() {
        assert_eq!(port_of_name(&unit_name(15001)), Some(15001));
        assert_eq!(port_of_path("/org/freedesktop/systemd1/unit/pgw_2dfwd_4015001_2eservice"), Some(15001));
        for name in ["pgw-fwd@.service", "pgw-fwd@99999.service", "pgw-fwd@15001.socket", "pgw-api.service"] {
            assert_eq!(port_of_name(name), None, "{name}");
        }
        assert_eq!(port_of_path("/org/freedesktop/systemd1/unit/pgw_2dapi_2eservice"), None);
    }
}
