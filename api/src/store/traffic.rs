//! What was carried and how upstreams did, over time: in fine steps for the last hour, in coarser
//! ones for longer. Every step is written when it happens, so that nothing has to be summed up later.

use async_trait::async_trait;
use pgw_core::control::{Carried, NameCount, Sum};
use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::state::MappingState;

use super::StoreError;

/// A width of steps, and how long they are kept. In seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub width: i64,
    pub kept: i64,
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// From fine to coarse; 1,000 clients that never rest make 1.3 million rows.
pub const TRAFFIC_STEPS: [Step; 3] =
    [Step { width: 15, kept: HOUR }, Step { width: 300, kept: DAY }, Step { width: HOUR, kept: 30 * DAY }];
/// An upstream is checked every half minute or so.
pub const HEALTH_STEPS: [Step; 3] = [
    Step { width: 60, kept: HOUR },
    Step { width: 900, kept: DAY },
    Step { width: 4 * HOUR, kept: 30 * DAY },
];
/// Names are told by the hour.
pub const NAMES_STEP: Step = Step { width: HOUR, kept: 7 * DAY };

/// The longest windows.
pub const LONGEST_WINDOW: i64 = 30 * DAY;

impl Step {
    /// The finest of these that reaches so far back.
    pub fn for_window(steps: &[Self; 3], seconds: i64) -> Self {
        let [.., coarsest] = *steps;
        steps.iter().copied().find(|step| step.kept >= seconds).unwrap_or(coarsest)
    }

    /// When the step began that this second is in.
    pub fn begin(self, second: i64) -> i64 {
        second - second.rem_euclid(self.width)
    }
}

#[async_trait]
pub trait Traffic {
    /// All of it or none: what was counted, and how far it has been counted.
    async fn record_traffic(&self, found: &TrafficRecord) -> Result<(), StoreError>;
    /// Summed up over whatever was not asked for, oldest first; steps in which nothing happened
    /// are absent.
    async fn traffic(&self, query: &TrafficQuery) -> Result<Vec<(i64, Sum)>, StoreError>;
    /// As this gateway's own checks found it.
    async fn health_history(&self, query: &HealthQuery) -> Result<Vec<(i64, HealthSum)>, StoreError>;
    /// From this second on; of everybody together, or of one client.
    async fn names(&self, client: Option<ClientId>, from: i64) -> Result<Vec<NamesRow>, StoreError>;
    /// Everything of one hour, but for what everybody together called.
    async fn names_of_hour(&self, at: i64) -> Result<Vec<NamesRow>, StoreError>;
    /// How far this gateway had counted what its forwarders carried.
    async fn counted(&self) -> Result<Vec<Counted>, StoreError>;
    /// Every mapping of this gateway, going ones included: whose traffic it is.
    async fn owners(&self) -> Result<Vec<MappingOwner>, StoreError>;
    /// How much of everything this gateway has.
    async fn census(&self) -> Result<Census, StoreError>;
}

/// What is written down in one go.
#[derive(Debug, Clone, Default)]
pub struct TrafficRecord {
    pub traffic: Vec<TrafficRow>,
    pub health: Vec<HealthRow>,
    pub names: Vec<NamesRow>,
    pub counted: Vec<Counted>,
    /// Forwarders that are gone: port and run.
    pub gone: Vec<(u16, u64)>,
    /// What is too old by this second goes.
    pub forget_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficRow {
    pub step_s: i64,
    pub at: i64,
    pub client: ClientId,
    /// None: it went by no proxy that is known.
    pub proxy: Option<ProxyId>,
    pub sum: Sum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthRow {
    pub step_s: i64,
    pub at: i64,
    pub proxy: ProxyId,
    pub sum: HealthSum,
}

/// What the checks of one step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSum {
    pub answered: u32,
    /// Of those that were answered, together.
    pub latency_ms: u64,
    pub worst: HealthStatus,
}

/// The names that were called most in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamesRow {
    pub at: i64,
    /// None: everybody together.
    pub client: Option<ClientId>,
    pub names: Vec<NameCount>,
}

/// How far one forwarder's counters have been counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub port: u16,
    pub run: u64,
    pub carried: Vec<Carried>,
}

#[derive(Debug, Clone, Copy)]
pub struct TrafficQuery {
    pub step_s: i64,
    pub from: i64,
    pub client: Option<ClientId>,
    pub proxy: Option<ProxyId>,
}

#[derive(Debug, Clone, Copy)]
pub struct HealthQuery {
    pub step_s: i64,
    pub from: i64,
    pub proxy: ProxyId,
}

/// Whose a mapping is, with the names that an operator gave.
#[derive(Debug, Clone)]
pub struct MappingOwner {
    pub mapping: MappingId,
    pub client: ClientId,
    pub client_name: String,
    pub client_ip: String,
    pub proxy: ProxyId,
    pub proxy_name: String,
    pub port: u16,
}

#[derive(Debug, Clone, Default)]
pub struct Census {
    /// With a way out, with none that is open, and with no mapping at all.
    pub clients_open: i64,
    pub clients_closed: i64,
    pub clients_unmapped: i64,
    pub mappings: Vec<(MappingState, i64)>,
    pub proxies: Vec<CountedProxy>,
}

#[derive(Debug, Clone)]
pub struct CountedProxy {
    pub id: ProxyId,
    pub name: String,
    pub enabled: bool,
}

impl TrafficRecord {
    pub fn is_nothing(&self) -> bool {
        let Self { traffic, health, names, counted, gone, forget_at } = self;
        traffic.is_empty()
            && health.is_empty()
            && names.is_empty()
            && counted.is_empty()
            && gone.is_empty()
            && forget_at.is_none()
    }
}

impl HealthSum {
    pub fn add(&mut self, other: Self) {
        self.answered = self.answered.saturating_add(other.answered);
        self.latency_ms = self.latency_ms.saturating_add(other.latency_ms);
        if rank(other.worst) > rank(self.worst) {
            self.worst = other.worst;
        }
    }
}

/// From good to bad, as it stands in the table.
pub fn rank(status: HealthStatus) -> u32 {
    match status {
        HealthStatus::Unknown => 0,
        HealthStatus::Ok => 1,
        HealthStatus::Degraded => 2,
        HealthStatus::Down => 3,
    }
}

pub fn of_rank(rank: u32) -> HealthStatus {
    match rank {
        1 => HealthStatus::Ok,
        2 => HealthStatus::Degraded,
        3 => HealthStatus::Down,
        _ => HealthStatus::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_in_the_finest_steps_that_reach_so_far() {
        for (window, want) in
            [(900, 15), (HOUR, 15), (HOUR + 1, 300), (DAY, 300), (DAY + 1, HOUR), (30 * DAY, HOUR)]
        {
            assert_eq!(Step::for_window(&TRAFFIC_STEPS, window).width, want, "{window}");
        }
        for steps in [TRAFFIC_STEPS, HEALTH_STEPS] {
            for Step { width, kept } in steps {
                assert_eq!(kept % width, 0, "no step is cut");
                assert!(kept / width <= 720, "an answer is bounded");
            }
        }
    }

    #[test]
    fn a_step_begins_at_a_multiple_of_its_width() {
        let step = Step { width: 15, kept: 60 };
        for (second, want) in [(0, 0), (14, 0), (15, 15), (1_000_000_007, 999_999_995 + 10), (-1, -15)] {
            assert_eq!(step.begin(second), want, "{second}");
        }
    }

    #[test]
    fn statuses_are_read_back_as_they_were_written() {
        for status in [HealthStatus::Unknown, HealthStatus::Ok, HealthStatus::Degraded, HealthStatus::Down] {
            assert_eq!(of_rank(rank(status)), status);
        }
    }
}
