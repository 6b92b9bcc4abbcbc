//! A small world around the convergence loop: a database that lasts, forwarders and a kernel that
//! outlive the API, a budget of effects after which the API is "killed", and troubles.

mod effects;
mod ledger;
mod operator;
mod process;
mod promises;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use pgw_api::store::open::Opening;
use pgw_api::store::sqlite::SqliteStore;
use pgw_api::store::{ClientPlan, NewProxy, Store};
use pgw_core::control::{flag_path, socket_path};
use pgw_core::flag::FlagFile;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::ProxyId;
use pgw_core::proxy::Scheme;
use pgw_core::redact::Secret;
use sqlx::{Connection, SqliteConnection};
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub(crate) use process::Process;

/// Where upstreams lead at the beginning.
pub(crate) const EXITS: [(&str, &str); 2] = [("de1", "203.0.113.21"), ("fr1", "203.0.113.22")];

pub(crate) struct World {
    dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    forwarders: Mutex<BTreeMap<u16, CancellationToken>>,
    kernel: Mutex<Kernel>,
    /// Open, and none of what happens concerns it.
    bystander: Mutex<Option<Ipv4Addr>>,
    mood: watch::Sender<Mood>,
    /// Told whenever the agent is asked for a reconcile.
    pub(crate) asked: Notify,
    /// Ports that somebody keeps open although their forwarder is gone.
    kept: Mutex<BTreeSet<u16>>,
    /// Ports whose forwarder is being started or stopped.
    in_hand: Mutex<BTreeSet<u16>>,
    /// With none left, a forwarder that is stopped takes its time.
    pub(crate) stops: Semaphore,
    /// Forwarders accept questions and answer none.
    pub(crate) silent: AtomicBool,
    budget: AtomicUsize,
    killed: Notify,
}

#[derive(Default)]
struct Kernel {
    redirects: BTreeMap<Ipv4Addr, u16>,
    registered: BTreeSet<Ipv4Addr>,
}

/// Of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Answers,
    Fails,
    Hangs,
}

impl World {
    pub(crate) async fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("fwd")).unwrap();
        let opening = Opening::new("gw1", &dir.path().join("secret.key"));
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&dir.path().join("pgw.db"), &opening).await.unwrap());
        for (name, exit) in EXITS {
            let id = store.create_proxy(proxy(name)).await.unwrap().id;
            found(store.as_ref(), id, HealthStatus::Ok, exit).await;
        }
        Arc::new(Self {
            dir,
            store,
            forwarders: Mutex::default(),
            kernel: Mutex::default(),
            bystander: Mutex::default(),
            mood: watch::Sender::new(Mood::Answers),
            asked: Notify::new(),
            kept: Mutex::default(),
            in_hand: Mutex::default(),
            stops: Semaphore::new(1),
            silent: AtomicBool::new(false),
            budget: AtomicUsize::new(usize::MAX),
            killed: Notify::new(),
        })
    }

    pub(crate) async fn plans(&self) -> Vec<ClientPlan> {
        self.store.plans().await.unwrap()
    }

    /// It tells, truly, what its flag file says.
    pub(crate) fn start_forwarder(self: &Arc<Self>, port: u16) {
        let listener = UnixListener::bind(socket_path(self.dir.path(), port)).unwrap();
        let end = CancellationToken::new();
        assert!(self.forwarders.lock().unwrap().insert(port, end.clone()).is_none());
        tokio::spawn(effects::serve(self.clone(), listener, port, end));
    }

    pub(crate) fn forwarder_dies(&self, port: u16) {
        self.forwarders.lock().unwrap().remove(&port).unwrap().cancel();
        std::fs::remove_file(socket_path(self.dir.path(), port)).unwrap();
    }

    /// From now on, if it is open.
    pub(crate) fn watch_over(&self, ip: &str) {
        let ip = ip.parse().unwrap();
        *self.bystander.lock().unwrap() = self.redirects().contains_key(&ip).then_some(ip);
    }

    pub(crate) fn agent(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    fn mood(&self) -> Mood {
        *self.mood.borrow()
    }

    /// Somebody keeps its port open, while its forwarder is gone.
    pub(crate) fn keep_port(&self, port: u16) {
        self.kept.lock().unwrap().insert(port);
    }

    /// As on a disk that is full: what is there can be read.
    pub(crate) async fn writes_fail(&self, fail: bool) {
        let url = format!("sqlite://{}", self.dir.path().join("pgw.db").display());
        let mut db = SqliteConnection::connect(&url).await.unwrap();
        for (name, what) in [("said", "update on mappings"), ("gone", "delete on mappings")] {
            let sql = if fail {
                format!(
                    "create trigger if not exists {name} before {what} begin select raise(abort, 'the disk is full'); end"
                )
            } else {
                format!("drop trigger if exists {name}")
            };
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut db).await.unwrap();
        }
    }

    pub(crate) fn redirects(&self) -> BTreeMap<Ipv4Addr, u16> {
        self.kernel.lock().unwrap().redirects.clone()
    }

    pub(crate) fn registered(&self, ip: &str) -> bool {
        self.kernel.lock().unwrap().registered.contains(&ip.parse().unwrap())
    }

    pub(crate) fn forwarders(&self) -> BTreeSet<u16> {
        self.forwarders.lock().unwrap().keys().copied().collect()
    }

    pub(crate) fn flags(&self) -> BTreeSet<u16> {
        let names = std::fs::read_dir(self.dir.path().join("ports")).unwrap();
        names.filter_map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().ok()).collect()
    }

    /// What the forwarder on this port serves, if one runs.
    pub(crate) fn served(&self, port: u16) -> Option<FlagFile> {
        let running = self.forwarders().contains(&port);
        let text = running.then(|| std::fs::read(flag_path(self.dir.path(), port)).ok()).flatten()?;
        FlagFile::read(&text, port).ok()
    }

    pub(crate) fn kill_after(&self, effects: usize) {
        self.budget.store(effects, Ordering::SeqCst);
    }

    /// The next process has nothing in hand.
    pub(crate) fn live_on(&self) {
        self.budget.store(usize::MAX, Ordering::SeqCst);
        self.in_hand.lock().unwrap().clear();
    }

    /// Each effect calls this before and after itself; with the budget used up it never returns.
    async fn effect(&self) {
        self.assert_promises().await;
        let spend = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        if self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err() {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn is_in_hand(&self, port: u16) -> bool {
        self.in_hand.lock().unwrap().contains(&port)
    }

    fn takes_in_hand(&self, port: u16) {
        assert!(self.in_hand.lock().unwrap().insert(port), "port {port} is in two hands at once");
    }

    fn lets_go_of(&self, port: u16) {
        self.in_hand.lock().unwrap().remove(&port);
    }
}

/// As if a check had found this.
async fn found(store: &dyn Store, id: ProxyId, status: HealthStatus, exit: &str) {
    let dial = store.upstream(id).await.unwrap();
    let health = Health { status, exit_ip: Some(exit.to_owned()), ..Health::default() };
    store.record_health(&[dial.found(health)]).await.unwrap();
}

fn proxy(name: &str) -> NewProxy {
    NewProxy {
        name: name.into(),
        scheme: Scheme::Socks5,
        host: "proxy.example".parse().unwrap(),
        port: 1080,
        username: Some("bob".into()),
        password: Some(Secret::new("p:a@ss")),
        enabled: true,
        note: String::new(),
        labels: BTreeMap::new(),
    }
}
