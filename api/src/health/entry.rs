//! One proxy in the schedule: what was found of it, and when it is looked at again.

use std::time::Duration;

use jiff::Timestamp;
use pgw_core::health::{Blame, Gate, Health, HealthStatus, Sample};
use tokio::time::Instant;

use super::checks::Waiter;
use super::probe::{Answered, NotAnswered};
use crate::store::ProxyDial;

/// How soon an upstream that just failed is asked again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often what forwarders see of one upstream may have it checked, if it is the upstream's
/// own fault, or may be a destination's.
const FAULTS_APART: Duration = Duration::from_secs(1);
const DOUBTS_APART: Duration = Duration::from_secs(10);

pub(super) struct Entry {
    gate: Gate,
    /// Counts the ways it was dialled: an answer to an older one is thrown away.
    pub(super) epoch: u64,
    pub(super) due: Instant,
    pub(super) running: bool,
    /// Ask again as soon as the running check has ended.
    pub(super) again: bool,
    /// When a suspicion last had it checked.
    suspected: Option<Instant>,
    /// It failed elsewhere while a check was running, which may have begun before.
    doubted: bool,
    pub(super) waiting: Vec<Waiter>,
    /// How it was dialled last: while the database is away it is checked all the same.
    pub(super) dial: Option<ProxyDial>,
}

impl Entry {
    pub(super) fn new(gate: Gate) -> Self {
        Self {
            gate,
            epoch: 0,
            due: Instant::now(),
            running: false,
            again: false,
            suspected: None,
            doubted: false,
            waiting: Vec::new(),
            dial: None,
        }
    }

    /// Nothing that was known of it counts any more; a check that is under way goes on, in vain.
    pub(super) fn forget(&mut self, gate: Gate) {
        self.gate = gate;
        self.epoch += 1;
        (self.suspected, self.doubted, self.dial) = (None, false, None);
        self.again = self.running;
        self.due = Instant::now();
    }

    /// Somebody else saw it fail: it is checked now, within reason. Answers with its status if
    /// that counted.
    pub(super) fn suspect(&mut self, blame: Blame) -> Option<HealthStatus> {
        let apart = match blame {
            Blame::Upstream => FAULTS_APART,
            Blame::Unclear => DOUBTS_APART,
            Blame::Elsewhere => return None,
        };
        let now = Instant::now();
        if self.running {
            self.doubted |= blame == Blame::Upstream;
            return None;
        }
        if !self.gate.status().is_up() || self.suspected.is_some_and(|at| now < at + apart) {
            return None;
        }
        (self.suspected, self.due) = (Some(now), now);
        (blame == Blame::Upstream).then(|| self.gate.suspect())
    }

    /// Judges an answer, and says when to ask next.
    pub(super) fn judge(
        &mut self,
        found: Result<Answered, NotAnswered>,
        before: &Health,
        interval: Duration,
    ) -> Health {
        let health = judged(&mut self.gate, found, before);
        let sooner = std::mem::take(&mut self.doubted) || health.error.is_some();
        self.due = Instant::now() + next_check(health.status, sooner, interval, rand::random());
        health
    }

    /// Nothing was found out.
    pub(super) fn retry_soon(&mut self) {
        self.due = Instant::now() + jittered(AFTER_FAILURE, rand::random());
    }
}

fn judged(gate: &mut Gate, found: Result<Answered, NotAnswered>, before: &Health) -> Health {
    let checked_at = Some(Timestamp::now());
    match found {
        Ok(Answered { latency, exit_ip, country }) => {
            let latency_ms = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
            Health {
                status: gate.observe(Sample::Answered { latency_ms }),
                latency_ms: Some(latency_ms),
                exit_ip: exit_ip.map(|ip| ip.to_string()),
                country,
                checked_at,
                error: None,
            }
        }
        Err(NotAnswered { kind, detail }) => Health {
            status: gate.observe(Sample::Failed),
            latency_ms: None,
            exit_ip: before.exit_ip.clone(),
            country: before.country,
            checked_at,
            error: Some(format!("{kind} ({detail})")),
        },
    }
}

/// An upstream that fails while it is up is asked again at once, so that the failures in a row
/// come quickly; one that is down, three times an interval.
fn next_check(status: HealthStatus, failed: bool, interval: Duration, spread: f64) -> Duration {
    let base = match (status, failed) {
        (HealthStatus::Ok | HealthStatus::Degraded | HealthStatus::Unknown, true) => {
            AFTER_FAILURE.min(interval)
        }
        (HealthStatus::Down, _) => (interval / 3).max(AFTER_FAILURE).min(interval),
        (HealthStatus::Ok | HealthStatus::Degraded | HealthStatus::Unknown, false) => interval,
    };
    jittered(base, spread)
}

/// `spread` in 0..1.
fn jittered(base: Duration, spread: f64) -> Duration {
    base.mul_f64(0.9 + 0.2 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_come_sooner_after_a_failure_and_never_in_step() {
        let half_minute = Duration::from_secs(30);
        for (status, failed, interval, want_ms) in [
            (HealthStatus::Ok, false, half_minute, 30_000),
            (HealthStatus::Degraded, false, half_minute, 30_000),
            (HealthStatus::Degraded, true, half_minute, 1_000),
            (HealthStatus::Down, true, half_minute, 10_000),
            (HealthStatus::Down, true, Duration::from_millis(200), 200),
            (HealthStatus::Degraded, true, Duration::from_millis(200), 200),
        ] {
            assert_eq!(next_check(status, failed, interval, 0.5).as_millis(), want_ms, "{status:?} {failed}");
            assert!(next_check(status, failed, interval, 0.0) < next_check(status, failed, interval, 1.0));
        }
    }
}
