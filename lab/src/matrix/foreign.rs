//! Somebody else's changes to our tables, and the time until they are healed, which is the one
//! time in which a registered device may be an ordinary one (G8). What gets out in it is counted
//! apart: it is not forgiven, it is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::script::{DEVICES, Operation};
use crate::gateway::GLANCE;
use crate::leaks::{self, Leaks};
use crate::net::GATEWAY;
use crate::{command, lab};

/// How long the next thing waits for a repair. A dead agent repairs nothing.
const HEED: Duration = Duration::from_millis(600);

#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) opened: Instant,
    pub(super) closed: Instant,
    /// By an agent that ran all the while.
    pub(super) attended: bool,
}

struct Open {
    at: Instant,
    before: BTreeMap<&'static str, Leaks>,
    attended: bool,
}

#[derive(Default)]
pub(super) struct Windows {
    open: Option<Open>,
    pub(super) closed: Vec<Window>,
    /// What got out in them, by device.
    pub(super) leaked: BTreeMap<&'static str, u64>,
}

impl Windows {
    pub(super) async fn change(&mut self, operation: Operation, agent_runs: bool) -> Result<()> {
        if self.open.is_none() {
            let mut before = BTreeMap::new();
            for device in DEVICES {
                before.insert(device.name, leaks::count(device.name).await?);
            }
            self.open = Some(Open { at: Instant::now(), before, attended: true });
        }
        if let Some(open) = &mut self.open {
            open.attended &= agent_runs;
        }
        match operation {
            Operation::ForgetDevice(device) => {
                nft(&format!("delete element inet pgw_filter clients {{ {} }}\n", device.ip)).await?;
            }
            _all_of_it => delete_tables().await?,
        }
        if agent_runs {
            // Not with a timeout around it: a window that is being closed must not be lost.
            let began = Instant::now();
            while !self.look().await? && began.elapsed() < HEED {
                tokio::time::sleep(GLANCE).await;
            }
            if let Some(open) = &mut self.open {
                // The next fault may be the agent's death.
                open.attended = false;
            }
        }
        Ok(())
    }

    /// Waits until the window is closed, if one is open.
    pub(super) async fn healed(&mut self) -> Result<()> {
        lab::eventually("every device is registered with the kernel again", async || {
            Ok(self.look().await?.then_some(()))
        })
        .await
    }

    /// Answers whether no window is open (any more).
    pub(super) async fn look(&mut self) -> Result<bool> {
        if self.open.is_none() {
            return Ok(true);
        }
        if !everybody_is_registered().await? {
            return Ok(false);
        }
        let closed = Instant::now();
        let Some(Open { at: opened, before, attended }) = self.open.take() else { return Ok(true) };
        // A packet that passed a moment ago may still be on its way to the counter.
        tokio::time::sleep(GLANCE).await;
        for (name, before) in before {
            *self.leaked.entry(name).or_default() += leaks::count(name).await?.since(&before).total();
        }
        self.closed.push(Window { opened, closed, attended });
        Ok(true)
    }

    /// How long they were open. An agent that is dead or frozen heals nothing until it is back.
    pub(super) fn times(&self) -> String {
        let of = |attended| {
            let windows = self.closed.iter().filter(|window| window.attended == attended);
            let mut ms: Vec<u128> =
                windows.map(|window| (window.closed - window.opened).as_millis()).collect();
            ms.sort_unstable();
            let median = ms.get(ms.len() / 2).copied().unwrap_or(0);
            format!("{} times, median {median} ms, longest {} ms", ms.len(), ms.last().copied().unwrap_or(0))
        };
        format!("with an agent that ran {}; without one {}", of(true), of(false))
    }

    pub(super) fn excuse(&self, began: Instant, ended: Instant) -> bool {
        self.closed.iter().any(|window| window.opened <= ended && began <= window.closed)
    }
}

pub(super) async fn delete_tables() -> Result<()> {
    nft("delete table ip pgw\ndelete table inet pgw_filter\n").await
}

/// What is gone already cannot be deleted again.
async fn nft(batch: &str) -> Result<()> {
    command::finish(GATEWAY, &["nft", "-f", "-"], batch).await.map(drop)
}

/// Our tables come and go whole, so one set tells of all.
async fn everybody_is_registered() -> Result<bool> {
    let listed = ["nft", "-j", "list", "set", "inet", "pgw_filter", "clients"];
    let listed = command::finish(GATEWAY, &listed, "").await?;
    let Ok(set) = serde_json::from_str::<Value>(&listed.stdout) else { return Ok(false) };
    let text = set.to_string();
    Ok(DEVICES.iter().all(|device| text.contains(&format!("\"{}\"", device.ip))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_met_a_window_is_excused() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let closed = vec![Window { opened: at(100), closed: at(200), attended: true }];
        let windows = Windows { closed, ..Windows::default() };
        for (began, ended, want) in
            [(0, 99, false), (0, 100, true), (120, 130, true), (200, 300, true), (201, 300, false)]
        {
            assert_eq!(windows.excuse(at(began), at(ended)), want, "{began}..{ended}");
        }
    }
}
