//! A small world around the convergence loop: a database that lasts, forwarders and a kernel that
//! outlive the API, and a budget of effects after which the API is "killed".

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_api::activate::Activator;
use pgw_api::active::Generations;
use pgw_api::agent_client::{self, AgentError, Transport};
use pgw_api::board::Board;
use pgw_api::flags::Flags;
use pgw_api::store::sqlite::{PATIENCE, SqliteStore};
use pgw_api::store::{ClientPatch, ClientPlan, ListQuery, NewClient, NewMapping, NewProxy, Store};
use pgw_api::units::{UnitError, Units};
use pgw_core::active::{AppliedRule, ReconcileReport};
use pgw_core::control::{Answer, FwdStatus, flag_path, socket_path};
use pgw_core::flag::FlagFile;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::{ClientId, ClientIp, ProxyId};
use pgw_core::mapping::{Mapping, Target};
use pgw_core::ports::PortRange;
use pgw_core::proxy::Scheme;
use pgw_core::redact::{Secret, SniLog};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub(crate) struct World {
    dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    forwarders: Mutex<BTreeMap<u16, CancellationToken>>,
    kernel: Mutex<Kernel>,
    budget: AtomicUsize,
    killed: Notify,
}

#[derive(Default)]
struct Kernel {
    redirects: BTreeMap<Ipv4Addr, u16>,
    registered: BTreeSet<Ipv4Addr>,
}

/// One life of the API.
pub(crate) struct Process {
    world: Arc<World>,
    board: Arc<Board>,
    activator: Activator,
    stop: CancellationToken,
}

impl World {
    pub(crate) async fn new() -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("fwd")).unwrap();
        let url = format!("sqlite://{}", dir.path().join("pgw.db").display());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&url, dir.path(), PATIENCE).await.unwrap());
        for name in ["de1", "fr1"] {
            let id = store.create_proxy(proxy(name)).await.unwrap().id;
            found(store.as_ref(), id, HealthStatus::Ok).await;
        }
        Arc::new(Self {
            dir,
            store,
            forwarders: Mutex::default(),
            kernel: Mutex::default(),
            budget: AtomicUsize::new(usize::MAX),
            killed: Notify::new(),
        })
    }

    pub(crate) async fn plans(&self) -> Vec<ClientPlan> {
        self.store.plans().await.unwrap()
    }

    pub(crate) async fn client(&self, name: &str, ip: &str) {
        let new =
            NewClient { name: name.into(), ip_cidr: ip.parse().unwrap(), mac: None, note: String::new() };
        self.store.create_client(new).await.unwrap();
    }

    pub(crate) async fn map(&self, client: &str, proxy: &str) {
        let new = NewMapping {
            client_id: self.client_id(client).await,
            proxy_id: self.proxy_id(proxy).await,
            priority: 100,
            target: Target::Original,
            enabled: true,
        };
        self.store.create_mapping(new, &PortRange::spanning(15001, 15009)).await.unwrap();
    }

    pub(crate) async fn unmap(&self, client: &str, proxy: &str) {
        let (client, proxy) = (self.client_id(client).await, self.proxy_id(proxy).await);
        let mapping =
            self.mappings().await.into_iter().find(|m| m.client_id == client && m.proxy_id == proxy);
        self.store.remove_mapping(mapping.unwrap().id).await.unwrap();
    }

    pub(crate) async fn delete_client(&self, name: &str) {
        self.store.remove_client(self.client_id(name).await, true).await.unwrap();
    }

    pub(crate) async fn move_client(&self, name: &str, ip: &str) {
        let patch = ClientPatch { ip_cidr: Some(ip.parse().unwrap()), ..ClientPatch::default() };
        self.store.update_client(self.client_id(name).await, patch).await.unwrap();
    }

    pub(crate) async fn health(&self, name: &str, said: HealthStatus) {
        found(self.store.as_ref(), self.proxy_id(name).await, said).await;
    }

    /// A client "tv" at 10.0.0.3, open through de1.
    pub(crate) async fn open_client(&self, process: &Process) {
        self.client("tv", "10.0.0.3").await;
        self.map("tv", "de1").await;
        process.converge().await;
        assert_eq!(self.redirects().len(), 1, "the test begins with an open client");
    }

    pub(crate) fn forwarder_dies(&self, port: u16) {
        self.forwarders.lock().unwrap().remove(&port).unwrap().cancel();
        std::fs::remove_file(socket_path(self.dir.path(), port)).unwrap();
    }

    pub(crate) async fn mappings(&self) -> Vec<Mapping> {
        self.store.mappings(&everything()).await.unwrap().items
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

    pub(crate) fn kill_after(&self, effects: usize) {
        self.budget.store(effects, Ordering::SeqCst);
    }

    pub(crate) fn live_on(&self) {
        self.budget.store(usize::MAX, Ordering::SeqCst);
    }

    /// Each effect calls this before and after itself; with the budget used up it never returns.
    async fn effect(&self) {
        let spend = |left: usize| if left == usize::MAX { Some(left) } else { left.checked_sub(1) };
        if self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err() {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    async fn client_id(&self, name: &str) -> ClientId {
        let clients = self.store.clients(&everything()).await.unwrap().items;
        clients.iter().find(|client| client.name == name).unwrap().id
    }

    async fn proxy_id(&self, name: &str) -> ProxyId {
        let proxies = self.store.proxies(&everything()).await.unwrap().items;
        proxies.iter().find(|proxy| proxy.name == name).unwrap().id
    }

    fn flag(&self, port: u16) -> Option<FlagFile> {
        FlagFile::read(&std::fs::read(flag_path(self.dir.path(), port)).ok()?, port).ok()
    }

    /// G5: whoever is redirected meets a forwarder of his own, or none.
    fn assert_nobody_meets_a_strangers_forwarder(&self) {
        let running = self.forwarders();
        for (ip, port) in self.redirects() {
            if let Some(flag) = self.flag(port).filter(|_| running.contains(&port)) {
                assert!(self.kernel.lock().unwrap().registered.contains(&ip));
                // The forwarder refuses every address but its client's; see its own tests.
                assert!(
                    flag.client.ip_cidr.addr() == ip
                        || !self.redirects().contains_key(&flag.client.ip_cidr.addr())
                );
            }
        }
    }
}

impl Process {
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        let board = Arc::new(Board::new(Duration::from_secs(45)));
        let kernel = KernelOf {
            world: world.clone(),
            board: board.clone(),
            generations: Generations::new(Timestamp::now()),
        };
        let (agent, task) = agent_client::connect(Arc::new(kernel), board.clone());
        let stop = CancellationToken::new();
        tokio::spawn(task.run(stop.clone()));
        let activator = Activator {
            store: world.store.clone(),
            board: board.clone(),
            flags: Flags::new(world.dir.path()).unwrap(),
            units: Arc::new(UnitsOf(world.clone())),
            agent,
            run_dir: world.dir.path().to_owned(),
            sni_log: SniLog::Redacted,
            dns: None,
        };
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

    /// Two rounds over everybody, and what belongs to nobody.
    pub(crate) async fn converge(&self) {
        for _round in 0..2 {
            let in_use = self.activator.ports_in_use().await;
            let plans = self.world.store.plans().await.unwrap();
            let owned: BTreeSet<u16> = plans.iter().filter_map(|plan| plan.port).collect();
            for port in in_use.difference(&owned) {
                self.activator.sweep_port(*port).await;
            }
            self.activator.bring(ClientId(uuid::Uuid::nil())).await.unwrap();
            for plan in plans {
                self.activator.bring(plan.client.id).await.unwrap();
            }
        }
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

struct UnitsOf(Arc<World>);

#[async_trait]
impl Units for UnitsOf {
    async fn start(&self, port: u16) -> Result<(), UnitError> {
        self.0.effect().await;
        if !self.0.forwarders().contains(&port) {
            let path = socket_path(self.0.dir.path(), port);
            let listener = UnixListener::bind(path).unwrap();
            let end = CancellationToken::new();
            self.0.forwarders.lock().unwrap().insert(port, end.clone());
            tokio::spawn(serve(listener, port, flag_path(self.0.dir.path(), port), end));
        }
        self.0.assert_nobody_meets_a_strangers_forwarder();
        self.0.effect().await;
        Ok(())
    }

    async fn stop(&self, port: u16) -> Result<(), UnitError> {
        self.0.effect().await;
        let open: Vec<_> = self.0.redirects().into_iter().filter(|(_, to)| *to == port).collect();
        assert!(open.is_empty(), "the forwarder on {port} stops while {open:?} lead to it");
        if let Some(end) = self.0.forwarders.lock().unwrap().remove(&port) {
            end.cancel();
            std::fs::remove_file(socket_path(self.0.dir.path(), port)).unwrap();
        }
        self.0.effect().await;
        Ok(())
    }

    async fn running(&self) -> Result<BTreeSet<u16>, UnitError> {
        Ok(self.0.forwarders())
    }

    fn kind(&self) -> &'static str {
        "world"
    }
}

/// The kernel as the agent would fill it from this process's active set.
struct KernelOf {
    world: Arc<World>,
    board: Arc<Board>,
    generations: Generations,
}

#[async_trait]
impl Transport for KernelOf {
    async fn reconcile(&self) -> Result<ReconcileReport, AgentError> {
        self.world.effect().await;
        let plans = self.world.store.plans().await.unwrap();
        let desired = self.generations.active_set(&plans, &self.board).desired().unwrap();
        {
            let mut kernel = self.world.kernel.lock().unwrap();
            kernel.registered = desired.mapped.keys().chain(&desired.closed).copied().collect();
            kernel.redirects = desired.mapped.clone();
        }
        self.world.assert_nobody_meets_a_strangers_forwarder();
        self.world.effect().await;
        let applied = desired.mapped.iter();
        Ok(ReconcileReport {
            generation: desired.generation,
            changed: true,
            took_ms: 0,
            clients: desired.mapped.len() + desired.closed.len(),
            applied: applied
                .map(|(ip, port)| AppliedRule { ip_cidr: ClientIp::new(*ip).unwrap(), port: *port })
                .collect(),
        })
    }
}

/// A forwarder that tells, truly, what its flag file says.
async fn serve(listener: UnixListener, port: u16, flag: PathBuf, end: CancellationToken) {
    while let Some(Ok((stream, _))) = end.run_until_cancelled(listener.accept()).await {
        let Some(flag) = std::fs::read(&flag).ok().and_then(|text| FlagFile::read(&text, port).ok()) else {
            continue;
        };
        let status = FwdStatus {
            version: "0".into(),
            pid: 1,
            port,
            revision: flag.revision,
            draining: false,
            connections: 0,
            accepted: 0,
            refused: 0,
            bytes_up: 0,
            bytes_down: 0,
            dns_questions: 0,
            dns_from_cache: 0,
            dns_failed: 0,
        };
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(_ask)) = lines.next_line().await {
            let mut answer = serde_json::to_string(&Answer::Status(status.clone())).unwrap();
            answer.push('\n');
            if write.write_all(answer.as_bytes()).await.is_err() {
                break;
            }
        }
    }
}

fn everything() -> ListQuery {
    ListQuery { limit: 500, ..ListQuery::default() }
}

/// As if a check had found this.
async fn found(store: &dyn Store, id: ProxyId, status: HealthStatus) {
    let dial = store.upstream(id).await.unwrap();
    store.record_health(&[dial.found(Health { status, ..Health::default() })]).await.unwrap();
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
