//! One port's forwarder: what it is told, and what it says of itself.

use std::time::Duration;

use futures_util::StreamExt;
use pgw_core::flag::{FLAG_VERSION, FlagClient, FlagFile, FlagUpstream};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::Activator;
use crate::flags::FlagsError;
use crate::store::{ClientPlan, Route, StoreError};
use crate::units::UnitError;
use crate::units::control::{self, ControlError};

/// A running forwarder reads its changed file within milliseconds.
const RELOAD_DEADLINE: Duration = Duration::from_secs(3);
const RELOAD_POLL: Duration = Duration::from_millis(2);
const ADOPTED_AT_ONCE: usize = 32;
/// For all of them together: the API must come up although forwarders are slow to answer.
const ADOPTION: Duration = Duration::from_secs(15);

/// Why a step failed, in words for `reason`.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwarderError {
    #[error(transparent)]
    Flags(#[from] FlagsError),
    #[error(transparent)]
    Units(#[from] UnitError),
    #[error("pgw-fwd on port {0} runs but does not load its flag file; its log says why")]
    NotLoaded(u16),
    /// Nothing that was started serves the port.
    #[error(transparent)]
    Gone(ControlError),
    /// Which says nothing about it: nothing follows, and it is asked again.
    #[error("{0}; what it serves is not known")]
    NotAsked(ControlError),
}

impl From<ControlError> for ForwarderError {
    fn from(error: ControlError) -> Self {
        if error.says_nothing() { Self::NotAsked(error) } else { Self::Gone(error) }
    }
}

impl Activator {
    /// At the start: forwarders that run with the flag file that lies there are facts already.
    /// Without this the first active set would be empty, and every device closed for a moment.
    pub async fn adopt(&self) -> Result<(), StoreError> {
        let plans = self.store.plans().await?;
        let ports = futures_util::stream::iter(plans.iter().filter_map(|plan| plan.port));
        let adopted = ports.for_each_concurrent(ADOPTED_AT_ONCE, |port| self.adopt_port(port));
        if timeout(ADOPTION, adopted).await.is_err() {
            tracing::warn!("some forwarders do not answer; their devices are closed until they do");
        }
        Ok(())
    }

    async fn adopt_port(&self, port: u16) {
        let Some(flag) = self.flags.read(port).await else { return };
        match self.serves_within(port, flag.revision, Duration::ZERO).await {
            Ok(()) => {}
            // It is asked with more patience only when it may be there.
            Err(ForwarderError::NotAsked(_)) => {
                if let Err(error) = self.until_loaded(port, flag.revision).await {
                    return tracing::warn!(port, error = %error, "a forwarder could not be asked");
                }
            }
            Err(_other_or_none) => return,
        }
        // So that the units watch it from now on, as they do those that they started.
        match self.units.start(port).await {
            Ok(()) => {
                let mappings = flag.upstreams.iter().map(|upstream| upstream.mapping_id).collect();
                self.board.forwarder_ready(port, mappings);
                self.told.adopted(port);
            }
            Err(error) => tracing::warn!(port, error = %error, "a running forwarder could not be adopted"),
        }
    }

    pub(super) async fn start_forwarder(
        &self,
        plan: &ClientPlan,
        port: u16,
        wanted: &[&Route],
    ) -> Result<(), ForwarderError> {
        let revision = self.flags.write(self.flag(plan, port, wanted)).await?;
        if !self.board.forwarder_known(port) {
            self.units.start(port).await?;
            self.told.started(port, &plan.client);
        }
        self.until_loaded(port, revision).await
    }

    /// Both are tried: a file that cannot be removed must not keep a forwarder running.
    pub(super) async fn stop_forwarder(&self, port: u16) -> Result<(), ForwarderError> {
        let removed = self.flags.remove(port).await;
        self.units.stop(port).await?;
        Ok(removed?)
    }

    /// Returns when new connections are served by this revision.
    pub(super) async fn until_loaded(&self, port: u16, revision: Uuid) -> Result<(), ForwarderError> {
        self.serves_within(port, revision, RELOAD_DEADLINE).await
    }

    async fn serves_within(
        &self,
        port: u16,
        revision: Uuid,
        patience: Duration,
    ) -> Result<(), ForwarderError> {
        let deadline = Instant::now() + patience;
        loop {
            let trouble = match control::status(&self.run_dir, port).await.map_err(ForwarderError::from) {
                Ok(status) if !status.draining && status.revision == revision => return Ok(()),
                Ok(_not_yet) => ForwarderError::NotLoaded(port),
                Err(error @ ForwarderError::NotAsked(_)) => error,
                Err(gone) => return Err(gone),
            };
            if Instant::now() >= deadline {
                return Err(trouble);
            }
            sleep(RELOAD_POLL).await;
        }
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
}
