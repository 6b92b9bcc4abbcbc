//! When each proxy is checked: all the time, with jitter, concurrently with a bound, sooner
//! after a failure, and at once when somebody asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::health::{CheckFailure, Gate, Health, Thresholds};
use pgw_core::ids::ProxyId;
use pgw_core::seldom::Seldom;
use tokio::sync::mpsc;
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checks::{Command, HealthChecks, NotChecked, Suspicion};
use super::entry::Entry;
use super::probe::{Answered, NotAnswered, Probe};
use super::records::Records;
use crate::board::Board;
use crate::store::{ProxyDial, Store, StoreError};

const AT_ONCE: usize = 64;

pub type OnChange = Box<dyn Fn(ProxyId) + Send + Sync>;
pub type OnCheck = Box<dyn Fn(ProxyId, &Health) + Send + Sync>;

pub struct Scheduler {
    store: Arc<dyn Store>,
    board: Arc<Board>,
    /// Told whenever a proxy's status, the reason for it or its exit is another than before.
    on_change: OnChange,
    /// Told of every check that said something about its upstream.
    on_check: OnCheck,
    probe: Arc<dyn Probe>,
    interval: Duration,
    thresholds: Thresholds,
    commands: mpsc::UnboundedReceiver<Command>,
    proxies: HashMap<ProxyId, Entry>,
    checks: JoinSet<Checked>,
    /// Whom each running check is for, known also when it panics.
    tasks: HashMap<task::Id, ProxyId>,
    records: Arc<Records>,
    /// What the gateway cannot do concerns every proxy at once.
    complaints: Seldom,
}

struct Checked {
    id: ProxyId,
    epoch: u64,
    /// None: it is disabled, and nobody asked for a check.
    outcome: Result<Option<Found>, StoreError>,
}

struct Found {
    dial: ProxyDial,
    answer: Result<Answered, NotAnswered>,
}

impl Scheduler {
    pub fn new(
        store: Arc<dyn Store>,
        board: Arc<Board>,
        on_change: OnChange,
        on_check: OnCheck,
        probe: Arc<dyn Probe>,
        interval: Duration,
        thresholds: Thresholds,
    ) -> (HealthChecks, Self) {
        let (handle, commands) = HealthChecks::new();
        let scheduler = Self {
            store,
            board,
            on_change,
            on_check,
            probe,
            interval,
            thresholds,
            commands,
            proxies: HashMap::new(),
            checks: JoinSet::new(),
            tasks: HashMap::new(),
            records: Arc::default(),
            complaints: Seldom::default(),
        };
        (handle, scheduler)
    }

    /// Goes on from the health that the database remembers, so that a restart closes nobody;
    /// everything is checked at once all the same.
    pub async fn load(&mut self) -> Result<(), StoreError> {
        for dial in self.store.upstreams().await? {
            let mut entry = Entry::new(Gate::resume(self.thresholds, dial.health.status));
            let id = dial.id;
            self.board.set_health(id, dial.health.clone());
            entry.dial = Some(dial);
            self.proxies.insert(id, entry);
        }
        Ok(())
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let (records, store, ended) = (self.records.clone(), self.store.clone(), CancellationToken::new());
        // Beside each other: a slow disk does not keep an upstream from being checked.
        let checks = async {
            self.check_until(stop).await;
            ended.cancel();
        };
        tokio::join!(checks, records.run(store.as_ref(), ended.clone()));
    }

    async fn check_until(&mut self, stop: CancellationToken) {
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
                        self.ended(checked);
                    }
                    Err(panic) => self.panicked(&panic),
                },
                () = due => {}
            }
        }
    }

    fn take(&mut self, command: Command) {
        let thresholds = self.thresholds;
        let fresh = || Entry::new(Gate::new(thresholds));
        match command {
            Command::Changed(id, forgotten) => {
                self.proxies.entry(id).or_insert_with(fresh).forget(Gate::new(thresholds));
                self.board.set_health(id, Health::default());
                (self.on_change)(id);
                // Whoever said so may have gone away.
                let _left = forgotten.send(());
            }
            Command::CheckSoon(id) => {
                if let Some(entry) = self.proxies.get_mut(&id) {
                    entry.due = Instant::now();
                }
            }
            Command::Meet(id) => drop(self.proxies.entry(id).or_insert_with(fresh)),
            Command::Suspect(id, suspicion) => self.suspect(id, suspicion),
            Command::CheckNow(id, waiter) => {
                let entry = self.proxies.entry(id).or_insert_with(fresh);
                entry.waiting.push(waiter);
                entry.due = Instant::now();
            }
        }
    }

    fn suspect(&mut self, id: ProxyId, Suspicion { blame, error }: Suspicion) {
        let Some(status) = self.proxies.get_mut(&id).and_then(|entry| entry.suspect(blame)) else { return };
        let before = self.board.health(id);
        if status != before.status {
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

    /// As many of those that are due as there is room for: first whom somebody waits for, then who has been due
    /// for longest. Where many upstreams hang, none of them is asked again before all others were.
    fn next_in_line(&self) -> Vec<ProxyId> {
        let room = AT_ONCE.saturating_sub(self.checks.len());
        if room == 0 {
            return Vec::new();
        }
        let now = Instant::now();
        let due = self.proxies.iter().filter(|(_, entry)| !entry.running && entry.due <= now);
        let mut due: Vec<(bool, Instant, ProxyId)> =
            due.map(|(id, entry)| (entry.waiting.is_empty(), entry.due, *id)).collect();
        if due.len() > room {
            due.select_nth_unstable(room);
            due.truncate(room);
        }
        due.into_iter().map(|(_, _, id)| id).collect()
    }

    fn start_due(&mut self) {
        for id in self.next_in_line() {
            let Some(entry) = self.proxies.get_mut(&id) else { continue };
            entry.running = true;
            let epoch = entry.epoch;
            let (store, probe) = (self.store.clone(), self.probe.clone());
            let asked_for = !entry.waiting.is_empty();
            let last = entry.dial.clone();
            let task = self.checks.spawn(async move {
                let dial = match (store.upstream(id).await, last) {
                    (Err(StoreError::Unavailable { .. }), Some(last)) => Ok(last),
                    (read, _) => read,
                };
                let outcome = match dial {
                    Ok(dial) if dial.enabled || asked_for => {
                        let answer = probe.check(&dial.upstream).await;
                        Ok(Some(Found { dial, answer }))
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
            entry.retry_soon();
        }
    }

    fn ended(&mut self, Checked { id, epoch, outcome }: Checked) {
        let Some(entry) = self.proxies.get_mut(&id) else { return };
        entry.running = false;
        if entry.epoch != epoch || entry.again {
            entry.again = false;
            entry.due = Instant::now();
            return;
        }
        match outcome {
            Ok(Some(Found { answer: Err(NotAnswered { kind: CheckFailure::Gateway, detail }), .. })) => {
                self.not_checked(id, &detail);
            }
            Ok(Some(found)) => {
                entry.dial = Some(found.dial.clone());
                self.judge(&found.dial, found.answer);
            }
            // Somebody may have asked for a check of it meanwhile.
            Ok(None) if entry.waiting.is_empty() => entry.due = Instant::now() + self.interval,
            Ok(None) => entry.due = Instant::now(),
            Err(StoreError::NotFound(_)) => {
                self.board.forget_health(id);
                self.answer_waiting(id, &NotChecked::NoSuchProxy);
                self.proxies.remove(&id);
            }
            Err(error) => self.not_checked(id, &format!("a proxy cannot be read: {error}")),
        }
    }

    /// Nothing was learnt about the upstream: no sample, and what was known stays.
    fn not_checked(&mut self, id: ProxyId, why: &str) {
        self.board.checks_failed(why);
        if let Some(before) = self.complaints.due(Instant::now().into_std()) {
            tracing::error!(proxy = %id, error = why, before, "the gateway itself cannot check its upstreams");
        }
        self.answer_waiting(id, &NotChecked::Gateway(why.to_owned()));
        if let Some(entry) = self.proxies.get_mut(&id) {
            entry.retry_soon();
        }
    }

    fn answer_waiting(&mut self, id: ProxyId, why: &NotChecked) {
        for waiter in self.proxies.get_mut(&id).into_iter().flat_map(|entry| entry.waiting.drain(..)) {
            // Whoever asked may have gone away.
            let _left = waiter.send(Err(why.clone()));
        }
    }

    fn judge(&mut self, dial: &ProxyDial, answer: Result<Answered, NotAnswered>) {
        let id = dial.id;
        let Some(entry) = self.proxies.get_mut(&id) else { return };
        let before = self.board.health(id);
        let health = entry.judge(answer, &before, self.interval);
        let waiting = std::mem::take(&mut entry.waiting);
        self.board.set_health(id, health.clone());
        (self.on_check)(id, &health);
        let changed = (health.status, &health.exit_ip, health.country)
            != (before.status, &before.exit_ip, before.country);
        if changed || health.error != before.error {
            let (proxy, from, to) = (&dial.upstream.name, before.status, health.status);
            tracing::info!(
                proxy,
                ?from,
                ?to,
                exit_ip = health.exit_ip,
                error = health.error,
                "health changed"
            );
            (self.on_change)(id);
        }
        if changed || !waiting.is_empty() {
            self.records.write_now(dial.found(health), waiting);
        } else {
            self.records.keep(dial.found(health));
        }
    }
}

#[cfg(test)]
mod tests;
