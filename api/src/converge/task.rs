//! Takes what comes in, and looks at everything every interval.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::turns::Turns;
use super::{Command, Subject};
use crate::activate::Activator;
use crate::store::ClientPlan;

pub struct ConvergeTask {
    activator: Arc<Activator>,
    commands: mpsc::UnboundedReceiver<Command>,
    turns: Turns,
    /// A sweep could read the configuration.
    has_read: bool,
    swept: Arc<AtomicBool>,
    interval: Duration,
}

impl ConvergeTask {
    pub(super) fn new(
        activator: Arc<Activator>,
        commands: mpsc::UnboundedReceiver<Command>,
        turns: Turns,
        swept: Arc<AtomicBool>,
        interval: Duration,
    ) -> Self {
        Self { activator, commands, turns, has_read: false, swept, interval }
    }

    pub async fn run(mut self, stop: CancellationToken) {
        let mut sweep = tokio::time::interval(self.interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => self.sweep().await,
                Some(command) = self.commands.recv() => self.take(command).await,
                () = self.turns.next() => {}
            }
            if self.has_read && self.turns.are_over() {
                self.swept.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Takes what else has arrived too: a hundred proxies that fail together cost one look at
    /// the database.
    async fn take(&mut self, first: Command) {
        let mut proxies = BTreeSet::new();
        let mut ports = BTreeSet::new();
        let mut everything = false;
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Client(id, waiter) => self.turns.touch(Subject::Client(id), waiter),
                Command::Proxy(id) => drop(proxies.insert(id)),
                Command::Port(port) => drop(ports.insert(port)),
                Command::Everything => everything = true,
                Command::Waits { subject, run, so_far } => self.turns.waits(subject, run, &so_far),
            }
            next = self.commands.try_recv().ok();
        }
        if proxies.is_empty() && ports.is_empty() && !everything {
            return;
        }
        let concerned = |plan: &ClientPlan| {
            everything
                || plan.port.is_some_and(|port| ports.contains(&port))
                || plan.routes.iter().any(|route| proxies.contains(&route.proxy.id))
        };
        for plan in self.plans().await.unwrap_or_default().iter().filter(|plan| concerned(plan)) {
            self.turns.touch(Subject::Client(plan.client.id), None);
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
            self.turns.visit(Subject::Port(port));
        }
        self.turns.visit(Subject::Kernel);
        for plan in &plans {
            self.turns.visit(Subject::Client(plan.client.id));
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
}
