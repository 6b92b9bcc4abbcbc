//! The scheduler with a scripted probe and a real database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use pgw_core::health::{Blame, HealthStatus};
use pgw_core::proxy::{Scheme, Upstream};
use sqlx::{Connection, SqliteConnection};
use tokio::task::JoinHandle;

use super::*;
use crate::store::open::Opening;
use crate::store::sqlite::SqliteStore;
use crate::store::{NewProxy, ProxyPatch};

/// Answers as told by the test, and tells the test whom it was asked about.
struct Scripted {
    asked: mpsc::UnboundedSender<u16>,
    answers: tokio::sync::Mutex<mpsc::UnboundedReceiver<Result<Answered, NotAnswered>>>,
}

#[async_trait]
impl Probe for Scripted {
    async fn check(&self, upstream: &Upstream) -> Result<Answered, NotAnswered> {
        self.asked.send(upstream.port).unwrap();
        self.answers.lock().await.recv().await.unwrap()
    }
}

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    board: Arc<Board>,
    checks: HealthChecks,
    proxy: ProxyId,
    asked: mpsc::UnboundedReceiver<u16>,
    answer: mpsc::UnboundedSender<Result<Answered, NotAnswered>>,
    told: Arc<Mutex<usize>>,
    running: JoinHandle<()>,
    stop: CancellationToken,
}

/// Longer than any test: nobody is saved by a write that gives up.
const PATIENCE: Duration = Duration::from_secs(600);

impl Bench {
    /// One proxy, known before the start, and the scheduler running.
    async fn new() -> Self {
        Self::every(Duration::from_millis(5)).await
    }

    /// The same, with this interval between checks.
    async fn every(interval: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let opening = Opening { patience: PATIENCE, ..Opening::new("gw1", &dir.path().join("secret.key")) };
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&dir.path().join("pgw.db"), &opening).await.unwrap());
        let new = NewProxy {
            name: "de1".into(),
            scheme: Scheme::Http,
            host: "proxy.example".parse().unwrap(),
            port: 1,
            username: None,
            password: None,
            enabled: true,
            note: String::new(),
            labels: BTreeMap::new(),
        };
        let proxy = store.create_proxy(new).await.unwrap().id;
        let board = Arc::new(Board::new(Duration::from_secs(1)));
        let (told_asked, asked) = mpsc::unbounded_channel();
        let (answer, answers) = mpsc::unbounded_channel();
        let probe = Scripted { asked: told_asked, answers: tokio::sync::Mutex::new(answers) };
        let told = Arc::new(Mutex::new(0));
        let count = told.clone();
        let (checks, mut scheduler) = Scheduler::new(
            store.clone(),
            board.clone(),
            Box::new(move |_proxy| *count.lock().unwrap() += 1),
            Box::new(|_proxy, _health| ()),
            Arc::new(probe),
            interval,
            Thresholds { degraded_ms: 1500, failures: 3 },
        );
        scheduler.load().await.unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(scheduler.run(stop.clone()));
        Self { dir, store, board, checks, proxy, asked, answer, told, running, stop }
    }

    fn status(&self) -> HealthStatus {
        self.board.health(self.proxy).status
    }

    /// Answers the check that is under way; returns what was made of it.
    async fn found(&mut self, outcome: Result<Answered, NotAnswered>) -> Health {
        let before = self.board.health(self.proxy).checked_at;
        self.answer.send(outcome).unwrap();
        while self.board.health(self.proxy).checked_at == before {
            tokio::task::yield_now().await;
        }
        self.board.health(self.proxy)
    }

    /// Answers the check that is under way; returns when the next one begins, by which time
    /// the answer has been judged.
    async fn answers(&mut self, outcome: Result<Answered, NotAnswered>) -> HealthStatus {
        self.answer.send(outcome).unwrap();
        self.asked.recv().await.unwrap();
        self.status()
    }

    /// What the database says of the proxy, at the latest when a check that is asked for has ended.
    async fn written(&mut self, outcome: Result<Answered, NotAnswered>) -> Health {
        let (checks, proxy) = (self.checks.clone(), self.proxy);
        let asked = tokio::spawn(async move { checks.check_now(proxy).await });
        self.answers(outcome.clone()).await;
        self.answer.send(outcome).unwrap();
        asked.await.unwrap().unwrap();
        self.asked.recv().await.unwrap();
        self.store.proxy(self.proxy).await.unwrap().health
    }

    /// Somebody else writes, until the answer is dropped.
    async fn lock(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.dir.path().join("pgw.db").display());
        let mut other = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("begin immediate").execute(&mut other).await.unwrap();
        other
    }
}

fn suspicion(blame: Blame) -> Suspicion {
    Suspicion { blame, error: "the connection was refused (seen)".into() }
}

fn fine() -> Result<Answered, NotAnswered> {
    Ok(Answered { latency: Duration::from_millis(20), exit_ip: Some([192, 0, 2, 7].into()), country: None })
}

fn out_of_files() -> Result<Answered, NotAnswered> {
    Err(NotAnswered { kind: CheckFailure::Gateway, detail: "Too many open files".into() })
}

fn refused() -> Result<Answered, NotAnswered> {
    Err(NotAnswered { kind: CheckFailure::Refused, detail: "connecting".into() })
}

#[tokio::test]
async fn an_upstream_is_checked_at_once_and_all_the_time_and_its_changes_are_told() {
    let mut bench = Bench::new().await;
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.status(), HealthStatus::Unknown, "closed until the first answer");
    assert_eq!(bench.answers(fine()).await, HealthStatus::Ok);
    assert_eq!(bench.answers(fine()).await, HealthStatus::Ok);
    assert_eq!(*bench.told.lock().unwrap(), 1, "told once, not with every check");
    assert_eq!(bench.answers(refused()).await, HealthStatus::Degraded);
    assert_eq!(bench.answers(refused()).await, HealthStatus::Degraded);
    assert_eq!(bench.answers(refused()).await, HealthStatus::Down);
    let written = bench.written(refused()).await;
    assert_eq!(written.status, HealthStatus::Down);
    assert_eq!(written.error.as_deref(), Some("the connection was refused (connecting)"));
    assert_eq!(written.exit_ip.as_deref(), Some("192.0.2.7"), "the last known exit is kept");
    assert_eq!(bench.answers(fine()).await, HealthStatus::Degraded, "one answer opens again");
}

#[tokio::test]
async fn an_answer_to_a_former_address_is_thrown_away() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.asked.recv().await, Some(1));
    let patch = ProxyPatch { port: Some(2), ..ProxyPatch::default() };
    bench.store.update_proxy(bench.proxy, patch).await.unwrap();
    bench.board.set_health(bench.proxy, Health { status: HealthStatus::Ok, ..Health::default() });
    bench.checks.changed(bench.proxy).await;
    assert_eq!(bench.status(), HealthStatus::Unknown, "whoever looks from now on opens nothing");
    // The old check answers well, but not for what is dialled now.
    bench.answer.send(fine()).unwrap();
    assert_eq!(bench.asked.recv().await, Some(2));
    assert_eq!(bench.status(), HealthStatus::Unknown);
    assert_eq!(bench.answers(refused()).await, HealthStatus::Down, "a first failure closes at once");
}

#[tokio::test]
async fn a_check_that_is_asked_for_answers_with_the_new_health() {
    let mut bench = Bench::new().await;
    bench.asked.recv().await.unwrap();
    let checks = bench.checks.clone();
    let proxy = bench.proxy;
    let asked = tokio::spawn(async move { checks.check_now(proxy).await });
    // It is answered by the check under way, or by the next, whichever it came before.
    bench.answers(fine()).await;
    bench.answer.send(fine()).unwrap();
    assert_eq!(asked.await.unwrap().unwrap().status, HealthStatus::Ok);
    let stranger = ProxyId(uuid::Uuid::from_u128(9));
    assert!(matches!(bench.checks.check_now(stranger).await, Err(NotChecked::NoSuchProxy)));
}

/// An upstream that was found fine, and that nobody checks again for a day.
async fn trusted() -> Bench {
    let mut bench = Bench::every(Duration::from_secs(24 * 3600)).await;
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.found(fine()).await.status, HealthStatus::Ok);
    bench
}

#[tokio::test]
async fn what_a_forwarder_saw_fail_is_checked_at_once_and_counts_until_a_check_answers() {
    let mut bench = trusted().await;
    bench.checks.suspect(bench.proxy, suspicion(Blame::Upstream));
    bench.asked.recv().await.unwrap();
    let health = bench.board.health(bench.proxy);
    assert_eq!(health.status, HealthStatus::Degraded);
    assert_eq!(health.error.as_deref(), Some("the connection was refused (seen)"));
    assert_eq!(bench.found(refused()).await.status, HealthStatus::Degraded, "the second failure");
    bench.checks.check_soon(bench.proxy);
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.found(refused()).await.status, HealthStatus::Down, "a check was the third");
}

#[tokio::test]
async fn what_a_destination_may_have_caused_is_checked_and_counts_nothing() {
    let mut bench = trusted().await;
    bench.checks.suspect(bench.proxy, suspicion(Blame::Elsewhere));
    bench.checks.suspect(bench.proxy, suspicion(Blame::Unclear));
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.status(), HealthStatus::Ok);
    let told = *bench.told.lock().unwrap();
    assert_eq!(bench.found(fine()).await.status, HealthStatus::Ok);
    assert_eq!(*bench.told.lock().unwrap(), told, "nothing has changed");
}

#[tokio::test]
async fn a_storm_of_suspicions_costs_one_check_at_a_time_and_takes_nothing_down() {
    let mut bench = trusted().await;
    for _ in 0..1_000 {
        bench.checks.suspect(bench.proxy, suspicion(Blame::Upstream));
        bench.checks.suspect(bench.proxy, suspicion(Blame::Unclear));
    }
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.status(), HealthStatus::Degraded);
    let health = bench.found(fine()).await;
    assert_eq!((health.status, health.error), (HealthStatus::Degraded, None), "the check answered");
    assert!(bench.asked.try_recv().is_err(), "one check for all of them");
    let stranger = ProxyId(uuid::Uuid::from_u128(9));
    bench.checks.suspect(stranger, suspicion(Blame::Upstream));
    assert!(!bench.board.health(stranger).status.is_up());
}

#[tokio::test]
async fn what_the_gateway_itself_cannot_do_is_no_sample_and_is_tried_again_soon() {
    let mut bench = Bench::new().await;
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.answers(fine()).await, HealthStatus::Ok);
    let before = bench.board.health(bench.proxy);
    assert_eq!(bench.board.checks_error(), None);
    for _ in 0..4 {
        let (checks, proxy) = (bench.checks.clone(), bench.proxy);
        let asked = tokio::spawn(async move { checks.check_now(proxy).await });
        bench.answers(out_of_files()).await;
        bench.answer.send(out_of_files()).unwrap();
        assert_eq!(asked.await.unwrap(), Err(NotChecked::Gateway("Too many open files".into())));
        bench.asked.recv().await.unwrap();
    }
    assert_eq!(bench.board.health(bench.proxy), before, "more often than would take it down");
    assert_eq!(*bench.told.lock().unwrap(), 1);
    assert_eq!(bench.board.checks_error().as_deref(), Some("Too many open files"), "for /readyz");
    assert_eq!(bench.answers(fine()).await, HealthStatus::Ok, "not even degraded");
}

#[tokio::test]
async fn a_database_that_cannot_be_written_keeps_nobody_from_being_checked() {
    let mut bench = Bench::new().await;
    bench.asked.recv().await.unwrap();
    bench.answers(fine()).await;
    let other = bench.lock().await;
    for want in [HealthStatus::Degraded, HealthStatus::Degraded, HealthStatus::Down, HealthStatus::Down] {
        let answered = tokio::time::timeout(Duration::from_secs(60), bench.answers(refused()));
        assert_eq!(answered.await.expect("the check waits for the disk"), want);
    }
    drop(other);
    assert_eq!(bench.written(refused()).await.status, HealthStatus::Down);
}

#[tokio::test]
async fn what_was_found_last_is_written_down_before_the_end() {
    let mut bench = Bench::new().await;
    bench.asked.recv().await.unwrap();
    bench.answers(fine()).await;
    for ms in [30, 40, 50] {
        let same = Answered { latency: Duration::from_millis(ms), ..fine().unwrap() };
        assert_eq!(bench.answers(Ok(same)).await, HealthStatus::Ok);
    }
    bench.stop.cancel();
    bench.running.await.unwrap();
    assert_eq!(bench.store.proxy(bench.proxy).await.unwrap().health.latency_ms, Some(50));
}

/// Somebody may have been promised another one.
#[tokio::test]
async fn another_exit_is_told_at_once_and_written_down() {
    let mut bench = Bench::every(Duration::from_secs(3600)).await;
    bench.asked.recv().await.unwrap();
    assert_eq!(bench.found(fine()).await.exit_ip.as_deref(), Some("192.0.2.7"));
    let told = *bench.told.lock().unwrap();
    for (exit_ip, country) in [([192, 0, 2, 8], None), ([192, 0, 2, 8], "NL".parse().ok())] {
        bench.checks.check_soon(bench.proxy);
        bench.asked.recv().await.unwrap();
        let moved = Answered { exit_ip: Some(exit_ip.into()), country, ..fine().unwrap() };
        let health = bench.found(Ok(moved)).await;
        assert_eq!((health.exit_ip.as_deref(), health.country), (Some("192.0.2.8"), country));
        while bench.store.proxy(bench.proxy).await.unwrap().health != health {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(*bench.told.lock().unwrap(), told + 2);
}

/// A provider that swallows whatever is sent to it, and more devices than checks at a time: each check takes
/// as long as it may, and none is over before others are due again.
#[tokio::test]
async fn of_many_that_are_due_those_go_first_that_somebody_asked_for_and_that_have_waited_longest() {
    let dir = tempfile::tempdir().unwrap();
    let opening = Opening::new("gw1", &dir.path().join("secret.key"));
    let store = Arc::new(SqliteStore::open(&dir.path().join("pgw.db"), &opening).await.unwrap());
    let (asked, _nobody_is_asked_yet) = mpsc::unbounded_channel();
    let probe = Scripted { asked, answers: tokio::sync::Mutex::new(mpsc::unbounded_channel().1) };
    let thresholds = Thresholds { degraded_ms: 1500, failures: 3 };
    let (_checks, mut scheduler) = Scheduler::new(
        store,
        Arc::new(Board::new(Duration::from_secs(1))),
        Box::new(|_proxy| ()),
        Box::new(|_proxy, _health| ()),
        Arc::new(probe),
        Duration::from_secs(30),
        thresholds,
    );
    let now = Instant::now();
    let id = |n: usize| ProxyId(uuid::Uuid::from_u128(n as u128));
    for n in 0..20 * AT_ONCE {
        let waited = Duration::from_millis(if n < AT_ONCE - 1 { 2 } else { 1 });
        let mut entry = Entry::new(Gate::new(thresholds));
        entry.due = now - waited;
        scheduler.proxies.insert(id(n), entry);
    }
    let (waiter, _answer) = tokio::sync::oneshot::channel();
    scheduler.take(Command::CheckNow(id(AT_ONCE), waiter));
    scheduler.start_due();
    let started = scheduler.proxies.iter().filter(|(_, entry)| entry.running).map(|(id, _)| *id);
    let wanted = (0..AT_ONCE - 1).chain([AT_ONCE]).map(id);
    assert_eq!(started.collect::<BTreeSet<_>>(), wanted.collect::<BTreeSet<_>>());
}
