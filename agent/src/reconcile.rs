//! One reconcile: read, plan, compare, apply, ask the kernel, save, report. Whatever fails, the
//! kernel keeps what it holds, and the next reconcile begins from what is there.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use pgw_core::active::{ActiveError, AgentStatus, AppliedRule, ReconcileReport};
use pgw_core::ids::{ClientIp, Generation};
use pgw_core::settings::AgentSettings;
use tokio::time::Instant;

use crate::api::{ActiveSource, ApiError};
use crate::nft::diff::{self, Found, Left, Step};
use crate::nft::kernel::{Kernel, KernelError};
use crate::nft::plan::{PlanError, Policy, plan};
use crate::nft::render;
use crate::nft::ruleset::Ruleset;
use crate::restore::{Restored, restore};
use crate::saved::Saved;

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the active set of pgw-api is refused: {0}")]
    Contradiction(#[from] ActiveError),
    #[error("the active set of pgw-api is refused: {0}")]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("nft reported success, but the kernel does not hold the rules; does something else manage them?")]
    NotConfirmed,
}

/// What `GET /agent/status` tells.
#[derive(Debug, Clone)]
pub struct Status(Arc<Mutex<AgentStatus>>);

pub struct Reconciler {
    source: Arc<dyn ActiveSource>,
    kernel: Arc<dyn Kernel>,
    saved: Saved,
    policy: Policy,
    status: Status,
    left: Option<Left>,
    /// What the kernel last confirmed to hold.
    confirmed: Option<Ruleset>,
    /// What is on the disk for the next boot.
    stored: Option<Ruleset>,
}

impl Status {
    pub fn new(settings: &AgentSettings) -> Self {
        Self(Arc::new(Mutex::new(AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: None,
            clients: 0,
            applied: 0,
            lan_if: settings.lan_if.clone(),
            wan_if: settings.wan_if.clone(),
            last_reconcile_at: None,
            last_error: None,
            drift_repaired: 0,
        })))
    }

    pub fn now(&self) -> AgentStatus {
        self.change(|status| status.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut AgentStatus) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reconciler {
    pub fn new(
        source: Arc<dyn ActiveSource>,
        kernel: Arc<dyn Kernel>,
        saved: Saved,
        policy: Policy,
        status: Status,
    ) -> Self {
        Self { source, kernel, saved, policy, status, left: None, confirmed: None, stored: None }
    }

    pub async fn reconcile(&mut self) -> Result<ReconcileReport, ReconcileError> {
        let began = Instant::now();
        let done = self.converge().await;
        let at = Timestamp::now();
        match done {
            Ok((generation, changed, found, unsaved)) => {
                let report = ReconcileReport {
                    generation,
                    changed,
                    took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    clients: found.elements.clients.len(),
                    applied: applied(&found),
                };
                let was_failing = self.status.change(|status| {
                    status.generation = Some(generation);
                    status.clients = report.clients;
                    status.applied = report.applied.len();
                    status.last_reconcile_at = Some(at);
                    std::mem::replace(&mut status.last_error, unsaved)
                });
                if changed || was_failing.is_some() {
                    let (clients, applied, took_ms) = (report.clients, report.applied.len(), report.took_ms);
                    tracing::info!(%generation, changed, clients, applied, took_ms, "reconciled");
                }
                Ok(report)
            }
            Err(error) => {
                let told = Some(error.to_string());
                let before = self.status.change(|status| {
                    status.last_reconcile_at = Some(at);
                    std::mem::replace(&mut status.last_error, told.clone())
                });
                // Once, not at every interval.
                if before != told {
                    tracing::warn!(%error, "not reconciled; the kernel keeps what it holds");
                }
                Err(error)
            }
        }
    }

    async fn converge(&mut self) -> Result<(Generation, bool, Found, Option<String>), ReconcileError> {
        let (generation, wanted) = match self.wanted().await {
            Ok(wanted) => wanted,
            Err(error) => {
                self.hold().await;
                return Err(error);
            }
        };
        let (changed, found) = self.make_so(&wanted).await?;
        let unsaved = self.store(wanted, generation).await;
        Ok((generation, changed, found, unsaved))
    }

    async fn wanted(&self) -> Result<(Generation, Ruleset), ReconcileError> {
        let set = self.source.active_set().await?;
        Ok((set.generation, plan(&set.desired()?, &self.policy)?))
    }

    /// Without word from the API what was last confirmed stays right, also when somebody else
    /// takes it away.
    async fn hold(&mut self) {
        let held = match self.confirmed.clone() {
            Some(confirmed) => self.make_so(&confirmed).await.map(drop),
            None => match restore(self.kernel.as_ref(), &self.saved, &self.policy).await {
                Ok(Restored::AlreadyThere) => Ok(()),
                Ok(restored) => {
                    restored.log();
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
        };
        if let Err(error) = held {
            tracing::error!(%error, "the last rules cannot be kept up");
        }
    }

    /// Did it have to change the kernel, and what does the kernel hold now?
    async fn make_so(&mut self, wanted: &Ruleset) -> Result<(bool, Found), ReconcileError> {
        let rendered = render::skeleton(&wanted.skeleton);
        let found = self.look().await?;
        if diff::drifted(self.left.as_ref(), found.as_ref()) {
            tracing::warn!("somebody else changed pgw's tables; they are made right again");
            self.status.change(|status| status.drift_repaired += 1);
        }
        let step = diff::step(self.left.as_ref(), found.as_ref(), wanted, &rendered);
        let (changed, found) = match (step, found) {
            (Step::Nothing, Some(found)) => (false, found),
            (step, before) => {
                // Until the kernel has confirmed, nobody knows what it holds.
                self.left = None;
                let printed = before.as_ref().map(|before| before.printed.clone());
                let elements_only = matches!(step, Step::Change(_));
                self.apply(step, wanted).await?;
                let mut found = self.confirm(wanted, before).await?;
                if elements_only && printed.as_ref() != Some(&found.printed) {
                    // Between our question and our change somebody touched the rules.
                    tracing::warn!("somebody else changed pgw's rules meanwhile; they are made right again");
                    self.status.change(|status| status.drift_repaired += 1);
                    self.kernel.apply(&render::replace(wanted)).await?;
                    found = self.confirm(wanted, Some(found)).await?;
                }
                (true, found)
            }
        };
        self.left = Some(Left { rendered, found: found.clone() });
        self.confirmed = Some(wanted.clone());
        Ok((changed, found))
    }

    /// A listing that cannot be read is as good as none: everything is replaced.
    async fn look(&self) -> Result<Option<Found>, KernelError> {
        match self.kernel.read().await {
            Err(KernelError::Unreadable(error)) => {
                tracing::warn!(%error, "pgw's tables cannot be read; they are replaced");
                Ok(None)
            }
            read => read,
        }
    }

    async fn apply(&self, step: Step, wanted: &Ruleset) -> Result<(), KernelError> {
        if let Step::Change(changes) = step {
            match self.kernel.apply(&render::changes(&changes)).await {
                // Somebody was faster between our question and our change.
                Err(KernelError::Refused(why)) => {
                    tracing::warn!(why, "elements could not be changed; everything is replaced");
                }
                done => return done,
            }
        }
        self.kernel.apply(&render::replace(wanted)).await
    }

    async fn confirm(&self, wanted: &Ruleset, before: Option<Found>) -> Result<Found, ReconcileError> {
        match self.kernel.read().await? {
            Some(found) if found.elements == wanted.elements => Ok(found),
            found => {
                tracing::error!(
                    same_as_before = found == before,
                    "the kernel does not hold what it was given"
                );
                Err(ReconcileError::NotConfirmed)
            }
        }
    }

    /// A full disk must not keep a device from being closed: it is told, and tried again at
    /// the next reconcile.
    async fn store(&mut self, wanted: Ruleset, generation: Generation) -> Option<String> {
        if self.stored.as_ref() == Some(&wanted) {
            return None;
        }
        self.stored = None;
        let (saved, ruleset) = (self.saved.clone(), wanted.clone());
        let stored = tokio::task::spawn_blocking(move || saved.store(&ruleset, generation)).await;
        let why = match stored {
            Ok(Ok(())) => {
                self.stored = Some(wanted);
                return None;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        tracing::error!(why, "the rules are in the kernel, but not saved for the next boot");
        Some(format!("the rules are in the kernel, but not saved for the next boot: {why}"))
    }
}

fn applied(found: &Found) -> Vec<AppliedRule> {
    let rules = found.elements.client_port.iter();
    rules
        .filter_map(|(ip, port)| Some(AppliedRule { ip_cidr: ClientIp::new(*ip).ok()?, port: *port }))
        .collect()
}

#[cfg(test)]
mod tests;
