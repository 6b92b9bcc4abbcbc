//! When an upstream counts as healthy. The gate starts closed; samples go in, a status comes
//! out. Pure: who checks, and when, is the API's matter.

use std::collections::VecDeque;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::country::Country;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthStatus {
    /// Never checked.
    #[default]
    Unknown,
    Ok,
    /// Answers, but slowly or not always.
    Degraded,
    Down,
}

impl HealthStatus {
    /// May a device leave by this upstream?
    pub fn is_up(self) -> bool {
        match self {
            Self::Ok | Self::Degraded => true,
            Self::Unknown | Self::Down => false,
        }
    }
}

/// What the last check found, as the API tells it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Health {
    pub status: HealthStatus,
    pub latency_ms: Option<u32>,
    /// The address that the probe saw, where it answers with one.
    pub exit_ip: Option<String>,
    /// Where that address is, if `PGW_GEOIP_FILE` tells.
    #[serde(default)]
    pub country: Option<Country>,
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    #[serde(serialize_with = "crate::time::millis")]
    pub checked_at: Option<Timestamp>,
    /// Why the last check failed, in words.
    pub error: Option<String>,
}

/// What went wrong on the way through an upstream. Operators act on the difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CheckFailure {
    /// The proxy's own name does not resolve.
    Dns,
    /// Nothing listens there.
    Refused,
    /// No route, or an ICMP error.
    Unreachable,
    Timeout,
    /// 407, or SOCKS5 credentials not taken.
    Auth,
    /// The TLS session with the proxy (or the https probe) could not be made.
    Tls,
    /// The proxy works but cannot, or will not, reach the destination.
    Target,
    /// Something that is not the protocol, or the connection was closed in the middle of it.
    BadAnswer,
    /// This machine had no descriptor, port or memory to ask with. It says nothing about the proxy.
    Gateway,
}

impl CheckFailure {
    /// In words that follow "proxy de1 is down: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::Dns => "its host name does not resolve",
            Self::Refused => "the connection was refused",
            Self::Unreachable => "its address cannot be reached",
            Self::Timeout => "it did not answer in time",
            Self::Auth => "it did not accept the user name and password",
            Self::Tls => "the TLS session with it failed",
            Self::Target => "it could not reach the destination",
            Self::BadAnswer => "it answered with something that is not the protocol",
            Self::Gateway => "this gateway has nothing left to ask it with",
        }
    }
}

/// Against whom a failed attempt speaks, as far as one attempt can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Wherever it had been asked to lead: it failed before it knew, or it refused the user.
    Upstream,
    /// It fell silent, or broke off, when it knew the destination: one of the two is at fault.
    Unclear,
    /// The destination's, which it could not or would not reach, or the gateway's own: nothing
    /// is known against it.
    Elsewhere,
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// One check's outcome, as the gate sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    Answered { latency_ms: u32 },
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Slower than this is DEGRADED (`PGW_HEALTH_DEGRADED_MS`).
    pub degraded_ms: u32,
    /// Failures in a row that take an upstream down when it was up (`PGW_HEALTH_FAILURES`).
    pub failures: u32,
}

/// How many of the last checks a single failure still colours DEGRADED.
const REMEMBERED: usize = 5;

/// Opposite observations are counted, and the status flips at the threshold; a first check
/// decides at once.
#[derive(Debug, Clone)]
pub struct Gate {
    thresholds: Thresholds,
    status: HealthStatus,
    failures_in_row: u32,
    recent: VecDeque<Sample>,
}

impl Gate {
    pub fn new(thresholds: Thresholds) -> Self {
        Self::resume(thresholds, HealthStatus::Unknown)
    }

    /// Goes on from what was known before a restart, so that a restart closes no device.
    pub fn resume(thresholds: Thresholds, status: HealthStatus) -> Self {
        Self { thresholds, status, failures_in_row: 0, recent: VecDeque::with_capacity(REMEMBERED) }
    }

    pub fn status(&self) -> HealthStatus {
        self.status
    }

    pub fn observe(&mut self, sample: Sample) -> HealthStatus {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(sample);
        self.status = match sample {
            Sample::Failed => {
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                let enough = self.failures_in_row >= self.thresholds.failures;
                if self.status.is_up() && !enough { HealthStatus::Degraded } else { HealthStatus::Down }
            }
            Sample::Answered { latency_ms } => {
                self.failures_in_row = 0;
                let slow = latency_ms > self.thresholds.degraded_ms;
                if slow || self.recent.contains(&Sample::Failed) {
                    HealthStatus::Degraded
                } else {
                    HealthStatus::Ok
                }
            }
        };
        self.status
    }

    /// What somebody else saw fail counts like a failed check, but never as the last one that
    /// is missing: only a check takes an upstream down, and only a check brings it back.
    pub fn suspect(&mut self) -> HealthStatus {
        if self.status.is_up() && self.failures_in_row.saturating_add(1) < self.thresholds.failures {
            self.observe(Sample::Failed);
        }
        self.status
    }
}

#[cfg(test)]
mod tests {
    use super::HealthStatus::{Degraded, Down, Ok, Unknown};
    use super::*;

    const LIMITS: Thresholds = Thresholds { degraded_ms: 1500, failures: 3 };
    const GOOD: Sample = Sample::Answered { latency_ms: 20 };
    const SLOW: Sample = Sample::Answered { latency_ms: 1501 };
    const BAD: Sample = Sample::Failed;

    #[test]
    fn the_gate_starts_closed() {
        assert_eq!(Gate::new(LIMITS).status(), Unknown);
        assert!(!Unknown.is_up() && !Down.is_up() && Ok.is_up() && Degraded.is_up());
    }

    #[test]
    fn a_status_follows_its_samples() {
        for (name, from, samples) in [
            ("a first failure is down at once", Unknown, vec![(BAD, Down)]),
            ("a first answer opens", Unknown, vec![(GOOD, Ok)]),
            ("a slow answer is degraded", Unknown, vec![(SLOW, Degraded), (GOOD, Ok)]),
            ("exactly the limit is not slow", Ok, vec![(Sample::Answered { latency_ms: 1500 }, Ok)]),
            (
                "three failures in a row take it down",
                Ok,
                vec![(BAD, Degraded), (BAD, Degraded), (BAD, Down), (BAD, Down)],
            ),
            (
                "an answer in between starts the count again",
                Ok,
                vec![
                    (BAD, Degraded),
                    (BAD, Degraded),
                    (GOOD, Degraded),
                    (BAD, Degraded),
                    (BAD, Degraded),
                    (BAD, Down),
                ],
            ),
            (
                "a failure colours the next four checks",
                Ok,
                vec![
                    (BAD, Degraded),
                    (GOOD, Degraded),
                    (GOOD, Degraded),
                    (GOOD, Degraded),
                    (GOOD, Degraded),
                    (GOOD, Ok),
                ],
            ),
            ("one answer brings it back", Down, vec![(GOOD, Ok)]),
            ("down stays down", Down, vec![(BAD, Down)]),
        ] {
            let mut gate = Gate::resume(LIMITS, from);
            for (step, (sample, want)) in samples.into_iter().enumerate() {
                assert_eq!(gate.observe(sample), want, "{name}, step {step}");
            }
        }
    }

    #[test]
    fn a_suspicion_counts_as_a_failure_and_never_as_the_last_one() {
        for failures in 1..=4 {
            let mut gate = Gate::resume(Thresholds { failures, ..LIMITS }, Ok);
            for _ in 0..10 {
                assert!(gate.suspect().is_up(), "{failures}: suspicions alone took it down");
            }
            assert_eq!(gate.observe(BAD), Down, "{failures}: they did not count");
            assert_eq!(gate.suspect(), Down);
            let mut gate = Gate::resume(Thresholds { failures, ..LIMITS }, Ok);
            gate.suspect();
            gate.observe(GOOD);
            for checks in 1..failures {
                assert!(gate.observe(BAD).is_up(), "{failures}: {checks} after an answer, which clears");
            }
        }
        let mut gate = Gate::new(LIMITS);
        assert_eq!(gate.suspect(), Unknown, "what was never checked stays closed until it is");
        assert_eq!(gate.observe(GOOD), Ok);
    }

    #[test]
    fn a_threshold_of_one_takes_down_at_once() {
        let mut gate = Gate::resume(Thresholds { degraded_ms: 1, failures: 1 }, Ok);
        assert_eq!(gate.observe(BAD), Down);
    }
}
