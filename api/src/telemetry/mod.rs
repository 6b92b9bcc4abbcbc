//! What happens on the gateway, for people to look at: counted from what forwarders tell, kept for a
//! while, and nothing that pgw decides hangs on it.

mod book;
pub mod connections;
pub mod counts;
pub mod metrics;
mod names;
mod process;
pub mod puller;
mod series;
mod source;
mod tunnel_metrics;
pub mod watch;
pub mod writer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pgw_core::control::{FwdTraffic, NameCount, Sum};
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::{ClientId, ProxyId};
use serde::Serialize;
use tokio::sync::RwLock;
use tokio::time::Instant;

use crate::store::traffic::{
    HEALTH_STEPS, HealthQuery, HealthSum, NAMES_STEP, Step, TRAFFIC_STEPS, TrafficQuery, TrafficRecord,
};
use crate::store::{Store, StoreError};
use book::Book;
pub use book::{ClientNow, Now, Totals};

/// Answers that are missing for so many intervals are old.
const MISSED: u32 = 3;
/// Who asks whose the traffic is waits for others who do, so that one question serves many.
const OWNERS_APART: Duration = Duration::from_millis(250);

pub struct Telemetry {
    store: Arc<dyn Store>,
    interval: Duration,
    book: Mutex<Book>,
    /// Held while something goes from the book into the database, so that nobody counts it twice
    /// or not at all.
    moving: RwLock<()>,
    /// When that was last asked, and answered.
    owners_asked: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct TrafficOverTime {
    pub window_s: i64,
    pub step_s: i64,
    /// One for each step, oldest first; the last one is not over yet.
    pub points: Vec<TrafficPoint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct TrafficPoint {
    /// When the step began.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub at: Timestamp,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// That were begun.
    pub connections: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HealthOverTime {
    pub window_s: i64,
    pub step_s: i64,
    /// Oldest first; steps without a check are absent.
    pub points: Vec<HealthPoint>,
}

#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct HealthPoint {
    /// When the step began.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub at: Timestamp,
    /// Of the checks that were answered, on average; null when none was.
    pub latency_ms: Option<u64>,
    /// The worst in this step.
    pub status: HealthStatus,
}

impl Telemetry {
    /// Nothing has been counted before.
    pub fn new(store: Arc<dyn Store>, interval: Duration) -> Self {
        Self {
            store,
            interval,
            book: Mutex::new(Book::resume(&[], 0, Vec::new())),
            moving: RwLock::default(),
            owners_asked: tokio::sync::Mutex::default(),
        }
    }

    /// Goes on where the program before this one ended.
    pub async fn load(store: Arc<dyn Store>, interval: Duration) -> Result<Self, StoreError> {
        let hour = NAMES_STEP.begin(second());
        let (counted, names) = (store.counted().await?, store.names_of_hour(hour).await?);
        let own = Self::new(store, interval);
        *own.book() = Book::resume(&counted, hour, names);
        Ok(own)
    }

    /// What a forwarder says of itself. Where it cannot be found out whose it was, it is counted
    /// with the next answer, or, if there will be none, for the client alone.
    pub async fn heard(&self, told: FwdTraffic) {
        let known = self.book().knows_owners(&told) || self.find_owners().await;
        if known || told.last {
            self.book().hear(told, second(), Instant::now());
        }
    }

    /// A check has ended.
    pub fn checked(&self, proxy: ProxyId, health: &Health) {
        self.book().checked(second(), proxy, health);
    }

    pub fn now(&self) -> Now {
        self.book().now(Instant::now(), self.interval * MISSED)
    }

    pub fn totals(&self) -> Totals {
        self.book().totals.clone()
    }

    pub async fn traffic(
        &self,
        client: Option<ClientId>,
        proxy: Option<ProxyId>,
        window: i64,
    ) -> Result<TrafficOverTime, StoreError> {
        let (step, now) = (Step::for_window(&TRAFFIC_STEPS, window), second());
        let (begin, step_s) = (step.begin(now - window), step.width);
        let _still = self.moving.read().await;
        let query = TrafficQuery { step_s, from: begin, client, proxy };
        let mut sums: BTreeMap<i64, Sum> = self.store.traffic(&query).await?.into_iter().collect();
        for (at, sum) in self.book().traffic(step_s, client, proxy) {
            sums.entry(at).or_default().add(sum);
        }
        let steps = (begin..=now).step_by(usize::try_from(step_s).unwrap_or(1));
        let points = steps.map(|at| {
            let Sum { connections, bytes_up, bytes_down } = sums.get(&at).copied().unwrap_or_default();
            TrafficPoint { at: time(at), bytes_up, bytes_down, connections }
        });
        Ok(TrafficOverTime { window_s: window, step_s, points: points.collect() })
    }

    pub async fn health(&self, proxy: ProxyId, window: i64) -> Result<HealthOverTime, StoreError> {
        let (step, now) = (Step::for_window(&HEALTH_STEPS, window), second());
        let (from, step_s) = (step.begin(now - window), step.width);
        let _still = self.moving.read().await;
        let query = HealthQuery { step_s, from, proxy };
        let mut sums: BTreeMap<i64, HealthSum> =
            self.store.health_history(&query).await?.into_iter().collect();
        for (at, sum) in self.book().health(step_s, proxy).filter(|(at, _)| *at >= from) {
            sums.entry(at).and_modify(|known| known.add(sum)).or_insert(sum);
        }
        let point = |(at, sum): (i64, HealthSum)| HealthPoint {
            at: time(at),
            latency_ms: sum.latency_ms.checked_div(sum.answered.into()),
            status: sum.worst,
        };
        Ok(HealthOverTime { window_s: window, step_s, points: sums.into_iter().map(point).collect() })
    }

    /// The names that were called most in the hours that the window touches.
    pub async fn names(&self, client: Option<ClientId>, window: i64) -> Result<Vec<NameCount>, StoreError> {
        let from = NAMES_STEP.begin(second() - window);
        let _still = self.moving.read().await;
        let rows = self.store.names(client, from).await?;
        let book = self.book();
        let running = book.names.begin();
        let over = rows.into_iter().filter(|row| row.at != running).map(|row| row.names);
        Ok(names::gathered(over.chain([book.names.of(client)])))
    }

    /// Writes down what has come up to now, in one transaction.
    pub async fn write(&self, names: bool, forget: bool) -> Result<(), StoreError> {
        let second = second();
        let _alone = self.moving.write().await;
        let record = self.book().take(second, names);
        let record = TrafficRecord { forget_at: forget.then_some(second), ..record };
        if record.is_nothing() {
            return Ok(());
        }
        let written = self.store.record_traffic(&record).await;
        match written {
            Ok(()) if forget => self.book().forget_totals(),
            Ok(()) => {}
            Err(_) => self.book().put_back(record),
        }
        written
    }

    /// What a forwarder tells, the database knew before: any question that is asked from now on
    /// will do.
    async fn find_owners(&self) -> bool {
        let came = Instant::now();
        let mut asked = self.owners_asked.lock().await;
        if asked.is_some_and(|at| at > came) {
            return true;
        }
        if let Some(at) = *asked {
            tokio::time::sleep_until(at + OWNERS_APART).await;
        }
        let begun = Instant::now();
        match self.store.owners().await {
            Ok(owners) => {
                self.book().set_owners(owners.into_iter().map(|owner| (owner.mapping, owner.proxy)));
                *asked = Some(begun);
                true
            }
            Err(error) => {
                tracing::debug!(error = %error, "whose the traffic is cannot be read");
                false
            }
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing in there can be left half done that would matter to anybody.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn second() -> i64 {
    Timestamp::now().as_second()
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}
