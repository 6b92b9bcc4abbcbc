//! One life of the API.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pgw_api::activate::{Absences, Activator, Ports, Told};
use pgw_api::active::Generations;
use pgw_api::agent_client;
use pgw_api::board::Board;
use pgw_api::converge::{Converger, Look, Settled, Subject, Turn};
use pgw_api::events::recorder::recorder;
use pgw_api::flags::Flags;
use pgw_core::redact::SniLog;
use tokio_util::sync::CancellationToken;

use super::World;
use super::effects::{KernelOf, UnitsOf};
use super::ledger::Ledger;

pub(crate) struct Process {
    world: Arc<World>,
    pub(crate) board: Arc<Board>,
    activator: Arc<Activator>,
    stop: CancellationToken,
}

impl Process {
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        let board = Arc::new(Board::new(Duration::from_secs(45)));
        let kernel = KernelOf {
            world: world.clone(),
            board: board.clone(),
            generations: Generations::new(Timestamp::now(), world.store.identity().id),
        };
        // Nobody reads along: what is told of forwarders changes nothing.
        let (recorder, _unread) = recorder(Arc::new(Ledger(world.clone())));
        let (agent, task) = agent_client::connect(Arc::new(kernel), board.clone(), recorder.clone());
        let stop = CancellationToken::new();
        tokio::spawn(task.run(stop.clone()));
        let activator = Arc::new(Activator {
            store: Arc::new(Ledger(world.clone())),
            board: board.clone(),
            flags: Flags::new(world.dir.path()).unwrap(),
            units: Arc::new(UnitsOf(world.clone())),
            agent,
            ports: Ports::default(),
            absences: Absences::default(),
            told: Told::new(recorder),
            run_dir: world.dir.path().to_owned(),
            sni_log: SniLog::Redacted,
            dns: None,
            limits: pgw_core::flag::Limits::default(),
        });
        let process = Self { world: world.clone(), board, activator, stop };
        process.sees_health().await;
        process.activator.adopt().await.unwrap();
        process
    }

    /// As the health scheduler does at its start and after each check.
    pub(crate) async fn sees_health(&self) {
        for dial in self.world.store.upstreams().await.unwrap() {
            self.board.set_health(dial.id, dial.health);
        }
    }

    /// A failed step is told by its reason, and tried again in the next round.
    pub(crate) async fn look(&self, subject: Subject) -> Settled {
        match self.activator.look(subject, &mut Turn::alone()).await {
            Ok(settled) => settled,
            Err(unfinished) => Settled::No(unfinished.to_string()),
        }
    }

    pub(crate) async fn client(&self, name: &str) -> Subject {
        Subject::Client(self.world.client_id(name).await)
    }

    /// Two rounds: what the first has done may be what somebody else waited for.
    pub(crate) async fn converge(&self) {
        self.round().await;
        self.round().await;
    }

    /// Over everybody, and then what belongs to nobody: a reconcile in between would take the rule
    /// away before the door is even tried.
    pub(crate) async fn round(&self) {
        let in_use = self.activator.ports_in_use().await;
        let plans = self.world.plans().await;
        let owned: BTreeSet<u16> = plans.iter().filter_map(|plan| plan.port).collect();
        let unowned = in_use.difference(&owned).map(|port| Subject::Port(*port));
        let clients = plans.iter().map(|plan| Subject::Client(plan.client.id));
        for subject in clients.chain(unowned).chain([Subject::Kernel]) {
            self.look(subject).await;
        }
    }

    /// The real thing, with its own tasks; it begins with a sweep.
    pub(crate) fn converger(&self) -> Converger {
        let hour = Duration::from_secs(3600);
        let (converger, task) = Converger::new(self.activator.clone(), hour);
        tokio::spawn(task.run(self.stop.clone()));
        converger
    }

    /// True when the work came to its end before the budget did.
    pub(crate) async fn until_killed(&self, work: impl Future<Output = ()>) -> bool {
        let whole = tokio::select! {
            () = work => true,
            () = self.world.killed.notified() => false,
        };
        self.stop.cancel();
        whole
    }
}
