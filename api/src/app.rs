//! Builds the parts and starts them in order; the only place that spawns what lasts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::active::ActiveSet;
use pgw_core::dial::Dialer;
use pgw_core::dns::DnsChoice;
use pgw_core::explain::Known;
use pgw_core::flag::{FlagDns, Limits};
use pgw_core::health::Health;
use pgw_core::ids::{ClientId, ProxyId};
use pgw_core::settings::ApiSettings;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activate::{Absences, Activator, Ports, Told};
use crate::active::Generations;
use crate::agent_client::{self, AgentClient, Http};
use crate::board::Board;
use crate::converge::{ConvergeTask, Converger, Settled};
use crate::credentials::{internal_hash, internal_token_file};
use crate::engine::{Engine, Readiness};
use crate::events::agent::Listener;
use crate::events::bounds::Bounds;
use crate::events::recorder::{RecorderTask, recorder};
use crate::events::{Bus, Pump};
use crate::flags::Flags;
use crate::geoip::GeoIp;
use crate::health::checks::{HealthChecks, NotChecked};
use crate::health::countries::Countries;
use crate::health::evidence::Evidence;
use crate::health::probe::HttpProbe;
use crate::health::scheduler::Scheduler;
use crate::known::known;
use crate::neighbourhood::Neighbourhood;
use crate::shared::Shared;
use crate::store::{Presence, Store, StoreError};
use crate::telemetry::connections::Connections;
use crate::telemetry::counts::Counts;
use crate::telemetry::puller::Puller;
use crate::telemetry::watch::Watch;
use crate::telemetry::{Telemetry, writer};
use crate::tunnels::{self, Link, listening};
use crate::units::{self, Units};
use crate::webhooks::{self, Webhooks};

/// How long a caller waits for rule and forwarder to be what was asked for.
const SETTLE: Duration = Duration::from_secs(8);
/// An agent may miss this many intervals before what it said last is worth nothing.
const BELIEVED_INTERVALS: u32 = 3;

/// Everything behind the handlers.
pub struct Machinery {
    store: Arc<dyn Store>,
    board: Arc<Board>,
    converger: Converger,
    health: HealthChecks,
    generations: Generations,
    geoip: Arc<GeoIp>,
    tunnels: Arc<Link>,
    units: Arc<dyn Units>,
    run_dir: PathBuf,
    dns: DnsChoice,
    /// How many forwarders run, or why nobody knows: /readyz is asked by anybody, and systemd is
    /// not to be asked as often.
    running: Shared<Result<usize, String>>,
}

/// What is built but not yet running.
pub struct Parts {
    pub engine: Arc<Machinery>,
    pub watch: Arc<Watch>,
    pub bus: Arc<Bus>,
    pub webhooks: Arc<Webhooks>,
    pub tunnels: Arc<Link>,
    agent: agent_client::AgentTask,
    converge: ConvergeTask,
    scheduler: Scheduler,
    evidence: Evidence,
    puller: Puller,
    neighbourhood: Neighbourhood,
    countries: Countries,
    log: Log,
    deaths: tokio::sync::mpsc::UnboundedReceiver<u16>,
}

/// What keeps the log of events.
struct Log {
    recorder: RecorderTask,
    pump: Pump,
    bounds: Bounds,
    listener: Listener,
}

pub async fn build(settings: &ApiSettings, store: Arc<dyn Store>) -> anyhow::Result<Parts> {
    // Before anything is shown or written: it asks since when nobody did.
    store.begin_watch(env!("CARGO_PKG_VERSION")).await?;
    let bus = Arc::new(Bus::new(store.gateway(), store.log_ends().await?.latest));
    let (recorder, recorder_task) = recorder(store.clone());
    store.keep_ports_within(&settings.ports).await?;
    let presence = Presence {
        version: env!("CARGO_PKG_VERSION"),
        ports: settings.ports.clone(),
        started_at: Timestamp::now(),
    };
    store.show_presence(&presence).await?;
    let board = Arc::new(Board::new(settings.reconcile_interval * BELIEVED_INTERVALS));
    let transport = Arc::new(Http::new(&settings.agent_url, internal_token_file(&settings.state_dir))?);
    let (agent, agent_task): (AgentClient, _) =
        agent_client::connect(transport.clone(), board.clone(), recorder.clone());
    let interval = settings.telemetry_interval;
    let telemetry = Arc::new(Telemetry::load(store.clone(), interval).await?);
    let (counts, checked) = (Counts::default(), telemetry.clone());
    let (counting, run_dir) = (counts.clone(), settings.run_dir.clone());
    let (told, deaths) = tokio::sync::mpsc::unbounded_channel();
    let puller = Puller {
        telemetry: telemetry.clone(),
        board: board.clone(),
        run_dir: run_dir.clone(),
        interval,
        told: told.clone(),
    };
    let watch = Arc::new(Watch {
        telemetry,
        connections: Connections { store: store.clone(), board: board.clone(), run_dir },
        counts,
        store: store.clone(),
        board: board.clone(),
        bus: bus.clone(),
        agent: transport.clone(),
        by_client: settings.metrics_clients,
    });
    let units = units::choose(settings.units, &settings.state_dir, &settings.run_dir, told.clone()).await;
    let units = units.context("PGW_UNITS cannot be used as it is set")?;
    let activator = Arc::new(Activator {
        store: store.clone(),
        board: board.clone(),
        flags: Flags::new(&settings.state_dir)?,
        units: units.clone(),
        agent: agent.clone(),
        ports: Ports::default(),
        absences: Absences::default(),
        told: Told::new(recorder),
        run_dir: settings.run_dir.clone(),
        sni_log: settings.sni_log,
        dns: FlagDns::of(settings.dns, &settings.dns_resolvers),
        limits: Limits { warm: settings.warm, ..Limits::default() },
    });
    activator.adopt().await?;
    let (converger, converge) = Converger::new(activator, settings.reconcile_interval);
    let geoip = Arc::new(GeoIp::open(settings.geoip_file.clone()));
    board.set_no_countries(geoip.trouble());
    let probe = HttpProbe {
        dialer: Dialer::new(),
        url: settings.health.url.clone(),
        timeout: settings.health.timeout,
        geoip: geoip.clone(),
    };
    let waking = converger.clone();
    let (health, mut scheduler) = Scheduler::new(
        store.clone(),
        board.clone(),
        Box::new(move |proxy| waking.wake_proxy(proxy)),
        Box::new(move |proxy, health| {
            counting.check(health);
            checked.checked(proxy, health);
        }),
        Arc::new(probe),
        settings.health.interval,
        settings.health.thresholds,
    );
    scheduler.load().await?;
    let evidence = Evidence {
        store: store.clone(),
        board: board.clone(),
        checks: health.clone(),
        run_dir: settings.run_dir.clone(),
        told,
    };
    let tunnels = tunnels::Parts {
        store: store.clone(),
        door: settings.tunnels.clone(),
        forwarders: settings.ports.clone(),
        health_token: internal_hash(&settings.state_dir)?,
        listening: listening::look,
        reopened: Box::new(move || {
            let agent = agent.clone();
            // It asks by itself, too: who waits for this one is nobody.
            tokio::spawn(async move { drop(agent.reconcile().await) });
        }),
    };
    let tunnels = Arc::new(Link::new(tunnels, &settings.run_dir));
    let neighbourhood = Neighbourhood {
        store: store.clone(),
        tunnels: tunnels.clone(),
        board: board.clone(),
        converger: converger.clone(),
        health: health.clone(),
        presence,
    };
    let webhooks =
        Webhooks { store: store.clone(), bus: bus.clone(), post: Arc::new(webhooks::Http::new()?) };
    let log = Log {
        recorder: recorder_task,
        pump: Pump { store: store.clone(), bus: bus.clone() },
        bounds: Bounds { store: store.clone(), days: settings.journal_days, rows: settings.journal_rows },
        listener: Listener { agent: transport, store: store.clone() },
    };
    let countries = Countries {
        geoip: geoip.clone(),
        store: store.clone(),
        board: board.clone(),
        checks: health.clone(),
    };
    let generations = Generations::new(Timestamp::now(), store.identity().id);
    let engine = Arc::new(Machinery {
        store,
        board,
        converger,
        health,
        generations,
        geoip,
        tunnels: tunnels.clone(),
        units,
        run_dir: settings.run_dir.clone(),
        dns: settings.dns,
        running: Shared::default(),
    });
    let webhooks = Arc::new(webhooks);
    Ok(Parts {
        engine,
        watch,
        bus,
        webhooks,
        tunnels,
        agent: agent_task,
        converge,
        scheduler,
        evidence,
        puller,
        neighbourhood,
        countries,
        log,
        deaths,
    })
}

impl Parts {
    pub fn start(self, tasks: &TaskTracker, stop: &CancellationToken) {
        tasks.spawn(self.agent.run(stop.clone()));
        tasks.spawn(self.converge.run(stop.clone()));
        tasks.spawn(self.scheduler.run(stop.clone()));
        tasks.spawn(self.evidence.run(stop.clone()));
        tasks.spawn(self.neighbourhood.run(stop.clone()));
        tasks.spawn(self.countries.run(stop.clone()));
        tasks.spawn(self.log.recorder.run(stop.clone()));
        tasks.spawn(self.log.pump.run(stop.clone()));
        tasks.spawn(self.log.bounds.run(stop.clone()));
        tasks.spawn(self.log.listener.run(stop.clone()));
        tasks.spawn(self.webhooks.run(stop.clone()));
        tasks.spawn(self.tunnels.run(stop.clone()));
        tasks.spawn(writer::run(self.puller.telemetry.clone(), stop.clone()));
        tasks.spawn(self.puller.run(stop.clone()));
        let (mut deaths, converger, stop) = (self.deaths, self.engine.converger.clone(), stop.clone());
        tasks.spawn(async move {
            while let Some(Some(port)) = stop.run_until_cancelled(deaths.recv()).await {
                converger.wake_port(port);
            }
        });
    }
}

#[async_trait]
impl Engine for Machinery {
    fn wake(&self, client: ClientId) {
        self.converger.wake(client);
    }

    async fn settle(&self, client: ClientId) -> Settled {
        let settled = tokio::time::timeout(SETTLE, self.converger.settle(client)).await;
        let settled = settled.unwrap_or_else(|_elapsed| Settled::No("it takes its time".to_owned()));
        if let Settled::Shut(why) | Settled::No(why) = &settled {
            tracing::warn!(client = %client, why, "a change takes longer than its caller waits; it goes on");
        }
        settled
    }

    async fn proxy_changed(&self, proxy: ProxyId) {
        self.health.changed(proxy).await;
    }

    fn check_soon(&self, proxy: ProxyId) {
        self.health.check_soon(proxy);
    }

    async fn check_now(&self, proxy: ProxyId) -> Result<Health, NotChecked> {
        self.health.check_now(proxy).await
    }

    async fn active_set(&self) -> Result<ActiveSet, StoreError> {
        let plans = self.store.plans().await?;
        Ok(self.generations.active_set(&plans, &self.board, self.tunnels.active()))
    }

    async fn known(&self, client: ClientId) -> Result<Option<Known>, StoreError> {
        let plan = self.store.plan(client).await?.filter(|plan| !plan.going);
        Ok(match plan {
            Some(plan) => Some(known(plan, &self.board, &self.run_dir, self.dns).await),
            None => None,
        })
    }

    async fn readiness(&self) -> Vec<Readiness> {
        let entry = |name, trouble: Option<String>, fine: &str| Readiness {
            name,
            ok: trouble.is_none(),
            detail: trouble.unwrap_or_else(|| fine.to_owned()),
        };
        let first_look =
            (!self.converger.has_swept()).then(|| "the first look at every client is under way".to_owned());
        let namesake = self
            .board
            .namesake()
            .then(|| format!("another gateway that is running is called {:?}", self.store.gateway()));
        let running = async { self.units.running().await.map(|all| all.len()).map_err(|e| e.to_string()) };
        let running = self.running.get(running).await;
        let forwarders = match &running {
            Ok(running) => format!("{running} running, kept by {}", self.units.kind()),
            Err(_) => String::new(),
        };
        vec![
            entry("agent", self.board.agent_trouble(), "it answers, and the kernel holds what it said"),
            entry("exits", self.geoip.warning(), "what mappings expect of their exits can be found out"),
            entry("forwarders", running.err(), &forwarders),
            entry("gateway", namesake, "no other gateway has its name"),
            entry("health", self.board.checks_error(), "upstreams can be asked"),
            entry("start", first_look, "every client has been looked at"),
            entry("tunnels", self.tunnels.trouble(), "pgw-tunneld answers, or no tunnel client needs it"),
        ]
    }
}
