//! One client, brought to what the database says. Each run asks what is true, does what is
//! missing, and writes down what came of it, so it may be cut off anywhere and run again.
//!
//! Opening: flag file, forwarder, rule, APPLIED. Closing is the mirror: a flag file without
//! upstreams, FAILED, rule, forwarder, row; and a reconcile last.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use pgw_core::flag::{FLAG_VERSION, FlagClient, FlagDns, FlagFile, FlagUpstream, Limits};
use pgw_core::ids::{ClientId, MappingId};
use pgw_core::redact::SniLog;
use pgw_core::state::{Enabled, Facts, Forwarder, MappingState, Rule, step};
use tokio::time::Instant;
use uuid::Uuid;

use crate::agent_client::AgentClient;
use crate::board::Board;
use crate::flags::{Flags, FlagsError};
use crate::store::{ClientPlan, Route, Store, StoreError};
use crate::units::control::{self, ControlError};
use crate::units::{UnitError, Units};

/// A running forwarder reads its changed file within milliseconds.
const RELOAD_DEADLINE: Duration = Duration::from_secs(3);
const ADOPTED_AT_ONCE: usize = 32;
const RELOAD_POLL: Duration = Duration::from_millis(2);

pub struct Activator {
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub flags: Flags,
    pub units: Arc<dyn Units>,
    pub agent: AgentClient,
    pub run_dir: PathBuf,
    pub sni_log: SniLog,
    /// None: the gateway's own resolver answers.
    pub dns: Option<FlagDns>,
    pub limits: Limits,
}

/// Is there anything left that trying again would change?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// A step failed; the mapping's reason says which.
    No,
}

/// Why a step failed, in words for `reason`.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Flags(#[from] FlagsError),
    #[error(transparent)]
    Units(#[from] UnitError),
    #[error("pgw-fwd on port {0} runs but does not load its flag file; its log says why")]
    NotLoaded(u16),
}

/// What is true of one route, but for its forwarder's troubles.
pub fn facts(plan: &ClientPlan, route: &Route, board: &Board) -> Facts {
    let health = board.health(route.proxy.id);
    let enabled = match (route.proxy.enabled, route.mapping.enabled) {
        (false, _) => Enabled::ProxyDisabled,
        (true, false) => Enabled::MappingDisabled,
        (true, true) => Enabled::Yes,
    };
    let (forwarder, rule) = match plan.port {
        Some(port) if board.forwarder_serves(port, route.mapping.id) => {
            (Forwarder::Ready, board.rule(plan.client.ip_cidr.addr(), port))
        }
        Some(_) | None => {
            (Forwarder::NotReady("it is being started".into()), Rule::Absent("not asked for".into()))
        }
    };
    Facts {
        proxy: route.proxy.upstream.name.clone(),
        enabled,
        health: health.status,
        health_error: health.error,
        forwarder,
        rule,
    }
}

impl Activator {
    /// At the start: forwarders that run with the flag file that lies there are facts already.
    /// Without this the first active set would be empty, and every device closed for a moment.
    pub async fn adopt(&self) -> Result<(), StoreError> {
        let plans = self.store.plans().await?;
        let ports = futures_util::stream::iter(plans.iter().filter_map(|plan| plan.port));
        ports.for_each_concurrent(ADOPTED_AT_ONCE, |port| self.adopt_port(port)).await;
        Ok(())
    }

    async fn adopt_port(&self, port: u16) {
        let Some(flag) = self.flags.read(port).await else { return };
        if self.loaded(port).await != Some(flag.revision) {
            return;
        }
        // So that the units watch it from now on, as they do those that they started.
        match self.units.start(port).await {
            Ok(()) => {
                let mappings = flag.upstreams.iter().map(|upstream| upstream.mapping_id).collect();
                self.board.forwarder_ready(port, mappings);
            }
            Err(error) => tracing::warn!(port, error = %error, "a running forwarder could not be adopted"),
        }
    }

    pub async fn bring(&self, id: ClientId) -> Result<Settled, StoreError> {
        let Some(mut plan) = self.store.plan(id).await? else {
            return Ok(self.reconciled().await);
        };
        if self.forwarder_died(&plan).await {
            let routes: Vec<&Route> = plan.routes.iter().filter(|route| !route.going).collect();
            self.judge(&plan, &routes, Some("it has stopped and is being started again")).await?;
            plan.routes = self.store.plan(id).await?.map(|plan| plan.routes).unwrap_or_default();
        }
        let (going, live): (Vec<&Route>, Vec<&Route>) =
            plan.routes.iter().partition(|route| plan.going || route.going);
        let (wanted, closed): (Vec<&Route>, Vec<&Route>) =
            live.iter().partition(|route| facts(&plan, route, &self.board).wanted());

        let settled = match (plan.port, wanted.is_empty()) {
            (Some(port), false) => self.open(&plan, port, &wanted, &closed).await?,
            (Some(port), true) => self.close(&plan, port, &closed).await?,
            (None, _) => self.reconciled().await,
        };
        if settled == Settled::Yes && (plan.going || !going.is_empty()) {
            let going: Vec<MappingId> = going.iter().map(|route| route.mapping.id).collect();
            self.store.finish_removal(id, &going).await?;
            return Ok(self.reconciled().await);
        }
        Ok(settled)
    }

    /// It was ready, and is not there any more. Its device meets a port on which nothing listens,
    /// so APPLIED is not true from now on, however soon it comes back.
    async fn forwarder_died(&self, plan: &ClientPlan) -> bool {
        let Some(port) = plan.port.filter(|port| self.board.forwarder_known(*port)) else { return false };
        let died = match control::status(&self.run_dir, port).await {
            Ok(status) => status.draining,
            Err(ControlError::Nobody(_) | ControlError::Nonsense { .. }) => true,
            // Busy, or we are: that says nothing about the device's connections.
            Err(ControlError::Silent(_) | ControlError::Unusable { .. }) => false,
        };
        died && self.board.forwarder_gone(port)
    }

    async fn open(
        &self,
        plan: &ClientPlan,
        port: u16,
        wanted: &[&Route],
        closed: &[&Route],
    ) -> Result<Settled, StoreError> {
        let recovering: Vec<&Route> =
            wanted.iter().copied().filter(|r| r.mapping.state == MappingState::Failed).collect();
        self.judge(plan, &recovering, None).await?;

        let start = Instant::now();
        let trouble = match self.start_forwarder(plan, port, wanted).await {
            Ok(()) => {
                self.board.forwarder_ready(port, wanted.iter().map(|route| route.mapping.id).collect());
                None
            }
            Err(error) => {
                tracing::warn!(port, client = %plan.client.name, error = %error, "the forwarder is not ready");
                self.board.forwarder_gone(port);
                Some(error.to_string())
            }
        };
        let forwarder_ms = millis(start.elapsed());
        let reconciled = self.reconciled().await;
        let rule_ms = millis(start.elapsed()) - forwarder_ms;
        // FAILED means closed: it is said once the forwarder has let go of the upstream.
        self.judge(plan, closed, None).await?;
        let opened = self.judge(plan, wanted, trouble.as_deref()).await?;
        for route in opened {
            let since_created = jiff::Timestamp::now().duration_since(route.mapping.created_at);
            tracing::info!(
                mapping = %route.mapping.id, client = %plan.client.name, port, forwarder_ms, rule_ms,
                age_ms = since_created.as_millis(), "open"
            );
        }
        Ok(if trouble.is_none() { reconciled } else { Settled::No })
    }

    async fn start_forwarder(
        &self,
        plan: &ClientPlan,
        port: u16,
        wanted: &[&Route],
    ) -> Result<(), OpenError> {
        let revision = self.flags.write(self.flag(plan, port, wanted)).await?;
        if !self.board.forwarder_known(port) {
            self.units.start(port).await?;
        }
        self.until_loaded(port, revision).await
    }

    async fn until_loaded(&self, port: u16, revision: Uuid) -> Result<(), OpenError> {
        let deadline = Instant::now() + RELOAD_DEADLINE;
        while self.loaded(port).await != Some(revision) {
            if Instant::now() >= deadline {
                return Err(OpenError::NotLoaded(port));
            }
            tokio::time::sleep(RELOAD_POLL).await;
        }
        Ok(())
    }

    /// The revision that new connections on this port are served by.
    async fn loaded(&self, port: u16) -> Option<Uuid> {
        let status = control::status(&self.run_dir, port).await.ok()?;
        (!status.draining).then_some(status.revision)
    }

    fn flag(&self, plan: &ClientPlan, port: u16, wanted: &[&Route]) -> FlagFile {
        let upstream = |route: &&Route| FlagUpstream {
            mapping_id: route.mapping.id,
            target: route.mapping.target,
            upstream: route.proxy.upstream.clone(),
        };
        FlagFile {
            version: FLAG_VERSION,
            revision: Uuid::now_v7(),
            port,
            client: FlagClient {
                id: plan.client.id,
                name: plan.client.name.clone(),
                ip_cidr: plan.client.ip_cidr,
            },
            upstreams: wanted.iter().map(upstream).collect(),
            limits: self.limits.clone(),
            sni_log: self.sni_log,
            dns: self.dns.clone(),
        }
    }

    /// The door closes before the lights go out. First the forwarder is left without upstreams:
    /// it cuts what it carries and refuses what comes, whether an agent answers or not. Then the
    /// rule goes, then the forwarder. While the rule may still be there nothing counts as settled,
    /// so that the port is not given to anybody else.
    async fn close(&self, plan: &ClientPlan, port: u16, closed: &[&Route]) -> Result<Settled, StoreError> {
        self.board.forwarder_gone(port);
        if self.loaded(port).await.is_some()
            && let Err(error) = self.empty_forwarder(plan, port).await
        {
            tracing::warn!(port, client = %plan.client.name, error = %error, "the forwarder keeps its upstreams until it stops");
        }
        // A disk that is full must not keep a device from being closed: what could not be written
        // down is told after the rest is done.
        let judged = self.judge(plan, closed, None).await;

        let reconciled = self.reconciled().await;
        if self.board.rule(plan.client.ip_cidr.addr(), port) == Rule::Confirmed {
            tracing::warn!(port, client = %plan.client.name, "the rule of a closed client is still in the kernel");
            return Ok(Settled::No);
        }
        let settled = match self.stop_forwarder(port).await {
            Ok(()) => reconciled,
            Err(error) => {
                tracing::warn!(port, client = %plan.client.name, error = %error, "the forwarder does not stop");
                Settled::No
            }
        };
        judged.map(|_opened| settled)
    }

    async fn empty_forwarder(&self, plan: &ClientPlan, port: u16) -> Result<(), OpenError> {
        let revision = self.flags.write(self.flag(plan, port, &[])).await?;
        self.until_loaded(port, revision).await
    }

    async fn stop_forwarder(&self, port: u16) -> Result<(), OpenError> {
        self.flags.remove(port).await?;
        self.units.stop(port).await?;
        Ok(())
    }

    /// A port that belongs to no client: a flag file or a forwarder that outlived its mapping.
    pub async fn sweep_port(&self, port: u16) {
        self.board.forwarder_gone(port);
        self.reconciled().await;
        // Somebody may have been given the port while the agent was at work.
        let plans = self.store.plans().await;
        if !plans.is_ok_and(|plans| plans.iter().all(|plan| plan.port != Some(port))) {
            return;
        }
        if let Err(error) = self.stop_forwarder(port).await {
            tracing::warn!(port, error = %error, "a forwarder that belongs to nobody does not stop");
        }
    }

    /// Ports that have a flag file or a running forwarder.
    pub async fn ports_in_use(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        match self.flags.ports().await {
            Ok(flagged) => ports.extend(flagged),
            Err(error) => tracing::warn!(error = %error, "flag files cannot be listed"),
        }
        match self.units.running().await {
            Ok(running) => ports.extend(running),
            Err(error) => tracing::warn!(error = %error, "forwarders cannot be listed"),
        }
        ports
    }

    async fn reconciled(&self) -> Settled {
        if self.agent.reconcile().await.is_ok() { Settled::Yes } else { Settled::No }
    }

    /// Decides each route's state and writes down what changed; answers with the newly open.
    async fn judge<'a>(
        &self,
        plan: &ClientPlan,
        routes: &[&'a Route],
        trouble: Option<&str>,
    ) -> Result<Vec<&'a Route>, StoreError> {
        let mut opened = Vec::new();
        for route in routes {
            let mut facts = facts(plan, route, &self.board);
            if let Some(why) = trouble {
                facts.forwarder = Forwarder::NotReady(why.to_owned());
            }
            let before = &route.mapping;
            let mut verdict = step(before.state, &facts);
            if before.state == MappingState::Failed && facts.forwarder == Forwarder::Ready {
                verdict = step(verdict.state, &facts);
            }
            if verdict.state == before.state && verdict.reason == before.reason {
                continue;
            }
            self.store.record_verdict(before.id, &verdict).await?;
            if verdict.state != before.state {
                tracing::info!(
                    mapping = %before.id, client = %plan.client.name, proxy = %facts.proxy,
                    from = %before.state, to = %verdict.state, reason = verdict.reason, "mapping changed"
                );
                if verdict.state == MappingState::Applied {
                    opened.push(*route);
                }
            }
        }
        Ok(opened)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
