//! When each proxy is checked: all the time, with jitter, concurrently with a bound, sooner
//! after a failure, and at once when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pgw_core::health::{Blame, Gate, Health, HealthStatus, Sample, Thresholds};
use pgw_core::ids::ProxyId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::probe::{Answered, NotAnswered, Probe};
use crate::board::Board;
use crate::store::{ProxyDial, Store, StoreError};

const AT_ONCE: usize = 64;
/// How soon an upstream that just failed is asked again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How often what forwarders see of one upstream may have it checked, if it is the upstream's
/// own fault, or may be a destination's.
const FAULTS_APART: Duration = Duration::from_secs(1);
const DOUBTS_APART: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct HealthChecks {
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    /// New, or dialled in another way.
    Changed(ProxyId),
    CheckSoon(ProxyId),
    Suspect(ProxyId, Suspicion),
    CheckNow(ProxyId, oneshot::Sender<Result<Health, StoreError>>),
}

/// Somebody else saw it fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    pub blame: Blame,
    /// How, in words.
    pub error: String,
}

pub type OnChange = Box<dyn Fn(ProxyId) + Send + Sync>;

pub struct Scheduler {
    store: Arc<dyn Store>,
    board: Arc<Board>,
    /// Told whenever a proxy's status, or the reason for it, is another than before.
    on_change: OnChange,
    probe: Arc<dyn Probe>,
    interval: Duration,
    thresholds: Thresholds,
    commands: mpsc::UnboundedReceiver<Command>,
    proxies: HashMap<ProxyId, Entry>,
    checks: JoinSet<Checked>,
    /// Whom each running check is for, known also when it panics.
    tasks: HashMap<task::Id, ProxyId>,
}

struct Entry {
    gate: Gate,
    /// Counts the ways it was dialled: an answer to an older one is thrown away.
    epoch: u64,
    due: Instant,
    running: bool,
    /// Ask again as soon as the running check has ended.
    again: bool,
    /// When a suspicion last had it checked.
    suspected: Option<Instant>,
    /// It failed elsewhere while a check was running, which may have begun before.
    doubted: bool,
    waiting: Vec<oneshot::Sender<Result<Health, StoreError>>>,
}

struct Checked {
    id: ProxyId,
    epoch: u64,
    /// None: it is disabled, and nobody asked for a check.
    outcome: Result<Option<Found>, StoreError>,
}

struct Found {
    name: String,
    answer: Result<Answered, NotAnswered>,
}

impl HealthChecks {
    pub fn changed(&self, proxy: ProxyId) {
        self.send(Command::Changed(proxy));
    }

    /// Without waiting for what it finds.
    pub fn check_soon(&self, proxy: ProxyId) {
        self.send(Command::CheckSoon(proxy));
    }

    /// Has it checked at once, within reason. Only a check takes it down.
    pub fn suspect(&self, proxy: ProxyId, suspicion: Suspicion) {
        self.send(Command::Suspect(proxy, suspicion));
    }

    pub async fn check_now(&self, proxy: ProxyId) -> Result<Health, StoreError> {
        let (send, receive) = oneshot::channel();
        self.send(Command::CheckNow(proxy, send));
        receive.await.unwrap_or(Err(StoreError::NotFound("proxy")))
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("health checks have stopped");
        }
    }
}

impl Scheduler {
    pub fn new(
        store: Arc<dyn Store>,
        board: Arc<Board>,
        on_change: OnChange,
        probe: Arc<dyn Probe>,
        interval: Duration,
        thresholds: Thresholds,
    ) -> (HealthChecks, Self) {
        let (send, commands) = mpsc::unbounded_channel();
        let (proxies, checks, tasks) = (HashMap::new(), JoinSet::new(), HashMap::new());
        let scheduler =
            Self { store, board, on_change, probe, interval, thresholds, commands, proxies, checks, tasks };
        (HealthChecks { commands: send }, scheduler)
    }

    /// Goes on from the health that the database remembers, so that a restart closes nobody;
    /// everything is checked at once all the same.
    pub async fn load(&mut self) -> Result<(), StoreError> {
        for ProxyDial { id, health, .. } in self.store.upstreams().await? {
            let entry = Entry::new(Gate::resume(self.thresholds, health.status));
            self.board.set_health(id, health);
            self.proxies.insert(id, entry);
        }
        Ok(())
    }

    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.start_due();
            let next = self.next_due();
            let due = async move {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                Some(command) = self.commands.recv() => self.take(command),
                Some(checked) = self.checks.join_next_with_id() => match checked {
                    Ok((task, checked)) => {
                        self.tasks.remove(&task);
                        self.ended(checked).await;
                    }
                    Err(panic) => self.panicked(&panic),
                },
                () = due => {}
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Changed(id) => {
                let fresh = Entry::new(Gate::new(self.thresholds));
                let old = self.proxies.insert(id, fresh);
                if let (Some(old), Some(entry)) = (old, self.proxies.get_mut(&id)) {
                    (entry.epoch, entry.running, entry.again) = (old.epoch + 1, old.running, old.running);
                    entry.waiting = old.waiting;
                }
                self.board.set_health(id, Health::default());
                (self.on_change)(id);
            }
            Command::CheckSoon(id) => {
                if let Some(entry) = self.proxies.get_mut(&id) {
                    entry.due = Instant::now();
                }
            }
            Command::Suspect(id, suspicion) => self.suspect(id, suspicion),
            Command::CheckNow(id, waiter) => {
                let thresholds = self.thresholds;
                let entry = self.proxies.entry(id).or_insert_with(|| Entry::new(Gate::new(thresholds)));
                entry.waiting.push(waiter);
                entry.due = Instant::now();
            }
        }
    }

    fn suspect(&mut self, id: ProxyId, Suspicion { blame, error }: Suspicion) {
        let apart = match blame {
            Blame::Upstream => FAULTS_APART,
            Blame::Unclear => DOUBTS_APART,
            Blame::Elsewhere => return,
        };
        let Some(entry) = self.proxies.get_mut(&id).filter(|entry| entry.gate.status().is_up()) else {
            return;
        };
        if entry.running {
            entry.doubted |= blame == Blame::Upstream;
            return;
        }
        let now = Instant::now();
        if entry.suspected.is_some_and(|at| now < at + apart) {
            return;
        }
        (entry.suspected, entry.due) = (Some(now), now);
        let before = self.board.health(id);
        if blame == Blame::Upstream && entry.gate.suspect() != before.status {
            let status = entry.gate.status();
            tracing::info!(proxy = %id, from = ?before.status, to = ?status, error, "health changed");
            self.board.set_health(id, Health { status, error: Some(error), ..before });
            (self.on_change)(id);
        }
    }

    fn next_due(&self) -> Option<Instant> {
        if self.checks.len() >= AT_ONCE {
            return None;
        }
        self.proxies.values().filter(|entry| !entry.running).map(|entry| entry.due).min()
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        for (id, entry) in &mut self.proxies {
            if self.checks.len() >= AT_ONCE {
                return;
            }
            if entry.running || entry.due > now {
                continue;
            }
            entry.running = true;
            let (id, epoch) = (*id, entry.epoch);
            let (store, probe) = (self.store.clone(), self.probe.clone());
            let asked_for = !entry.waiting.is_empty();
            let task = self.checks.spawn(async move {
                let outcome = match store.upstream(id).await {
                    Ok(dial) if dial.enabled || asked_for => {
                        let answer = probe.check(&dial.upstream).await;
                        Ok(Some(Found { name: dial.upstream.name, answer }))
                    }
                    Ok(_disabled) => Ok(None),
                    Err(error) => Err(error),
                };
                Checked { id, epoch, outcome }
            });
            self.tasks.insert(task.id(), id);
        }
    }

    /// It says nothing about the upstream, which is asked again.
    fn panicked(&mut self, panic: &task::JoinError) {
        tracing::error!(error = %panic, "a health check failed in itself");
        let id = self.tasks.remove(&panic.id());
        if let Some(entry) = id.and_then(|id| self.proxies.get_mut(&id)) {
            entry.running = false;
            entry.due = Instant::now() + AFTER_FAILURE;
        }
    }

    async fn ended(&mut self, Checked { id, epoch, outcome }: Checked) {
        let Some(entry) = self.proxies.get_mut(&id) else { return };
        entry.running = false;
        if entry.epoch != epoch || entry.again {
            entry.again = false;
            entry.due = Instant::now();
            return;
        }
        let health = match outcome {
            Ok(Some(found)) => self.judge(id, found).await,
            Ok(None) => {
                entry.due = Instant::now() + self.interval;
                self.board.health(id)
            }
            Err(StoreError::NotFound(_)) => {
                self.board.forget_health(id);
                self.proxies.remove(&id);
                // Dropped unanswered, the waiters are told that there is no such proxy.
                return;
            }
            Err(error) => {
                tracing::warn!(proxy = %id, error = %error, "a proxy cannot be read, and so not checked");
                entry.due = Instant::now() + AFTER_FAILURE;
                self.board.health(id)
            }
        };
        for waiter in self.proxies.get_mut(&id).into_iter().flat_map(|entry| entry.waiting.drain(..)) {
            // Whoever asked may have gone away.
            let _left = waiter.send(Ok(health.clone()));
        }
    }

    async fn judge(&mut self, id: ProxyId, Found { name, answer }: Found) -> Health {
        let before = self.board.health(id);
        let Some(entry) = self.proxies.get_mut(&id) else { return before };
        let health = judged(&mut entry.gate, answer, &before);
        let failed = health.error.is_some();
        let sooner = std::mem::take(&mut entry.doubted) || failed;
        entry.due = Instant::now() + next_check(health.status, sooner, self.interval, rand::random());
        self.board.set_health(id, health.clone());
        if health.status != before.status || health.error != before.error {
            let (from, to) = (before.status, health.status);
            tracing::info!(proxy = name, ?from, ?to, error = health.error, "health changed");
            (self.on_change)(id);
        }
        if let Err(error) = self.store.record_health(id, &health).await {
            tracing::warn!(proxy = name, error = %error, "health is known but could not be written down");
        }
        health
    }
}

impl Entry {
    fn new(gate: Gate) -> Self {
        let (due, waiting) = (Instant::now(), Vec::new());
        Self { gate, epoch: 0, due, running: false, again: false, suspected: None, doubted: false, waiting }
    }
}

fn judged(gate: &mut Gate, found: Result<Answered, NotAnswered>, before: &Health) -> Health {
    let checked_at = Some(Timestamp::now());
    match found {
        Ok(Answered { latency, exit_ip }) => {
            let latency_ms = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
            Health {
                status: gate.observe(Sample::Answered { latency_ms }),
                latency_ms: Some(latency_ms),
                exit_ip: exit_ip.map(|ip| ip.to_string()),
                checked_at,
                error: None,
            }
        }
        Err(NotAnswered { kind, detail }) => Health {
            status: gate.observe(Sample::Failed),
            latency_ms: None,
            exit_ip: before.exit_ip.clone(),
            checked_at,
            error: Some(format!("{kind} ({detail})")),
        },
    }
}

/// An upstream that fails while it is up is asked again at once, so that the failures in a row
/// come quickly; one that is down, three times an interval. `spread` in 0..1 is the jitter.
fn next_check(status: HealthStatus, failed: bool, interval: Duration, spread: f64) -> Duration {
    let base = match (status, failed) {
        (HealthStatus::Ok | HealthStatus::Degraded | HealthStatus::Unknown, true) => {
            AFTER_FAILURE.min(interval)
        }
        (HealthStatus::Down, _) => (interval / 3).max(AFTER_FAILURE).min(interval),
        (HealthStatus::Ok | HealthStatus::Degraded | HealthStatus::Unknown, false) => interval,
    };
    base.mul_f64(0.9 + 0.2 * spread.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
