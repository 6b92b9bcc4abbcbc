//! Who needs a look, and when: a client is brought (`activate`) by one task at a time, again at
//! once if it was touched meanwhile, later if a step failed, and every interval in any case.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgw_core::ids::{ClientId, ProxyId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::activate::{Activator, Settled};
use crate::store::{ClientPlan, StoreError};

/// Clients brought at the same time: enough to hide a slow unit, few enough for two cores.
const AT_ONCE: usize = 32;
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Converger {
    commands: mpsc::UnboundedSender<Command>,
    swept: Arc<AtomicBool>,
}

enum Command {
    Client(ClientId, Option<oneshot::Sender<()>>),
    Proxy(ProxyId),
    Port(u16),
}

type Outcome = Result<Settled, StoreError>;

pub struct ConvergeTask {
    activator: Arc<Activator>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// Its own line, for ports that were swept.
    converger: Converger,
    interval: Duration,
    /// A sweep could read the configuration.
    has_read: bool,
    clients: HashMap<ClientId, Entry>,
    running: JoinSet<Outcome>,
    /// Whom each running task is for, known also when it panics.
    tasks: HashMap<task::Id, ClientId>,
    permits: Arc<Semaphore>,
}

#[derive(Default)]
struct Entry {
    running: bool,
    /// Touched while running: what runs may not have seen it.
    again: bool,
    failures: u32,
    retry_at: Option<Instant>,
    /// Answered by the run that is under way, and by the one after it.
    waiting: Vec<oneshot::Sender<()>>,
    waiting_next: Vec<oneshot::Sender<()>>,
}

impl Converger {
    pub fn new(activator: Arc<Activator>, interval: Duration) -> (Self, ConvergeTask) {
        let (send, receive) = mpsc::unbounded_channel();
        let converger = Self { commands: send, swept: Arc::new(AtomicBool::new(false)) };
        let task = ConvergeTask {
            activator,
            commands: receive,
            converger: converger.clone(),
            interval,
            has_read: false,
            clients: HashMap::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
        };
        (converger, task)
    }

    pub fn wake(&self, client: ClientId) {
        self.send(Command::Client(client, None));
    }

    /// Every client that has a mapping to this proxy.
    pub fn wake_proxy(&self, proxy: ProxyId) {
        self.send(Command::Proxy(proxy));
    }

    /// Whoever has this port: its forwarder died or came back.
    pub fn wake_port(&self, port: u16) {
        self.send(Command::Port(port));
    }

    /// Done when a run that began after this call has ended, whatever came of it.
    pub async fn settle(&self, client: ClientId) {
        let (send, receive) = oneshot::channel();
        self.send(Command::Client(client, Some(send)));
        // The sender is dropped unanswered only when the program stops.
        let _stopping = receive.await;
    }

    /// Has every client been looked at once since the start?
    pub fn has_swept(&self) -> bool {
        self.swept.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("the converger has stopped");
        }
    }
}

impl ConvergeTask {
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sweep = tokio::time::interval(self.interval);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let retry = self.clients.values().filter_map(|entry| entry.retry_at).min();
            let retry = async move {
                match retry {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => self.sweep().await,
                Some(command) = self.commands.recv() => self.take(command).await,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = retry => self.start_due(),
            }
        }
    }

    /// Takes what else has arrived too: a hundred proxies that fail together cost one look at
    /// the database.
    async fn take(&mut self, first: Command) {
        let mut proxies = BTreeSet::new();
        let mut ports = BTreeSet::new();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Client(id, waiter) => self.touch(id, waiter),
                Command::Proxy(id) => drop(proxies.insert(id)),
                Command::Port(port) => drop(ports.insert(port)),
            }
            next = self.commands.try_recv().ok();
        }
        if proxies.is_empty() && ports.is_empty() {
            return;
        }
        let concerned = |plan: &ClientPlan| {
            plan.port.is_some_and(|port| ports.contains(&port))
                || plan.routes.iter().any(|route| proxies.contains(&route.proxy.id))
        };
        for plan in self.plans().await.unwrap_or_default().iter().filter(|plan| concerned(plan)) {
            self.touch(plan.client.id, None);
        }
    }

    /// Looks at everything; what belongs to nobody goes.
    async fn sweep(&mut self) {
        let in_use = self.activator.ports_in_use().await;
        // Read after `in_use`: a port taken in between is in the plans and not swept.
        let Some(plans) = self.plans().await else { return };
        self.has_read = true;
        let owned: BTreeSet<u16> = plans.iter().filter_map(|plan| plan.port).collect();
        for port in in_use.difference(&owned).copied() {
            tracing::info!(port, "a forwarder belongs to no client; it is stopped");
            let (activator, converger) = (self.activator.clone(), self.converger.clone());
            tokio::spawn(async move {
                activator.sweep_port(port).await;
                // Somebody may have been given the port meanwhile, and is brought again.
                converger.wake_port(port);
            });
        }
        // Nobody's: a reconcile takes place also when no client is left, for what a former
        // configuration may have left in the kernel.
        self.touch(ClientId(uuid::Uuid::nil()), None);
        for plan in &plans {
            self.touch(plan.client.id, None);
        }
    }

    async fn plans(&self) -> Option<Vec<ClientPlan>> {
        match self.activator.store.plans().await {
            Ok(plans) => Some(plans),
            Err(error) => {
                tracing::warn!(error = %error, "the configuration cannot be read; everything stays as it is");
                None
            }
        }
    }

    fn touch(&mut self, id: ClientId, waiter: Option<oneshot::Sender<()>>) {
        let entry = self.clients.entry(id).or_default();
        if entry.running {
            entry.again = true;
            entry.waiting_next.extend(waiter);
            return;
        }
        entry.waiting.extend(waiter);
        self.start(id);
    }

    fn start(&mut self, id: ClientId) {
        let entry = self.clients.entry(id).or_default();
        entry.running = true;
        entry.retry_at = None;
        let activator = self.activator.clone();
        let permits = self.permits.clone();
        let task = self.running.spawn(async move {
            let _permit = permits.acquire_owned().await;
            activator.bring(id).await
        });
        self.tasks.insert(task.id(), id);
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due = |entry: &Entry| !entry.running && entry.retry_at.is_some_and(|at| at <= now);
        let due: Vec<ClientId> = self.clients.iter().filter(|(_, e)| due(e)).map(|(id, _)| *id).collect();
        for id in due {
            self.start(id);
        }
    }

    fn ended(&mut self, ended: Result<(task::Id, Outcome), task::JoinError>) {
        let (task, settled) = match ended {
            Ok((task, Ok(settled))) => (task, settled),
            Ok((task, Err(error))) => {
                tracing::warn!(error = %error, "a client cannot be brought to its configuration now");
                (task, Settled::No)
            }
            Err(panic) => {
                tracing::error!(error = %panic, "bringing a client failed");
                (panic.id(), Settled::No)
            }
        };
        if self.has_read && self.running.is_empty() {
            self.converger.swept.store(true, Ordering::Relaxed);
        }
        let Some(id) = self.tasks.remove(&task) else { return };
        let Some(entry) = self.clients.get_mut(&id) else { return };
        entry.running = false;
        for waiter in entry.waiting.drain(..) {
            // Whoever asked may have given up waiting.
            let _gone = waiter.send(());
        }
        if entry.again {
            entry.again = false;
            entry.waiting = std::mem::take(&mut entry.waiting_next);
            return self.start(id);
        }
        match settled {
            Settled::Yes => drop(self.clients.remove(&id)),
            Settled::No => {
                entry.failures = entry.failures.saturating_add(1);
                entry.retry_at = Some(Instant::now() + retry_delay(entry.failures, rand::random()));
            }
        }
    }
}

/// Doubles from a quarter of a second to ten, minus up to a quarter of itself: `spread` in 0..1.
fn retry_delay(failures: u32, spread: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(LONGEST_RETRY).mul_f64(1.0 - spread.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_back_off_to_a_bound() {
        for (failures, spread, want_ms) in [
            (1, 0.0, 250),
            (2, 0.0, 500),
            (6, 0.0, 8_000),
            (7, 0.0, 10_000),
            (u32::MAX, 0.0, 10_000),
            (7, 1.0, 7_500),
        ] {
            assert_eq!(retry_delay(failures, spread).as_millis(), want_ms, "{failures} {spread}");
        }
    }
}
