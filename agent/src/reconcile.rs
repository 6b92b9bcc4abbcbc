//! One reconcile: read, plan, compare, apply, ask the kernel, end what began under other rules,
//! save, report. Whatever fails, the kernel keeps what it holds, and the next reconcile begins
//! from what is there.

mod flows;
mod heal;
mod kernel;
mod status;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use pgw_core::active::{ActiveError, ActiveSet, AppliedRule, ReconcileReport};
use pgw_core::ids::{ClientIp, DatabaseId, Generation};
use tokio::time::Instant;

pub use self::status::Status;
use crate::api::{ActiveSource, ApiError};
use crate::conntrack::Conntrack;
use crate::drift::{Deaf, Episode};
use crate::interfaces::Interfaces;
use crate::nft::diff::{Found, Left};
use crate::nft::kernel::{Kernel, KernelError};
use crate::nft::plan::{PlanError, Policy, plan};
use crate::nft::ruleset::{Elements, Ruleset};
use crate::restore::{Restored, restore};
use crate::saved::{Saved, SavedError};

#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the active set of pgw-api is refused: {0}")]
    Contradiction(#[from] ActiveError),
    #[error("the active set of pgw-api is refused: {0}")]
    Plan(#[from] PlanError),
    #[error(
        "pgw-api answers from another database than the one whose rules these are; the kernel keeps what it holds; \
         set PGW_DATABASE_URL back, or remove {file} to go on with the other one"
    )]
    OtherDatabase { file: PathBuf },
    #[error(
        "{0}; the kernel keeps what it holds; remove the file to go on with the database that pgw-api has now"
    )]
    DatabaseUnknown(#[source] SavedError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("nft reported success, but the kernel does not hold the rules; does something else manage them?")]
    NotConfirmed,
}

/// What of this machine is looked at and changed.
#[derive(Clone)]
pub struct Machine {
    pub kernel: Arc<dyn Kernel>,
    pub conntrack: Arc<dyn Conntrack>,
    pub interfaces: Arc<dyn Interfaces>,
}

pub struct Reconciler {
    source: Arc<dyn ActiveSource>,
    machine: Machine,
    saved: Saved,
    policy: Policy,
    status: Status,
    /// Why foreign changes are not heard of, if they are not.
    deaf: Deaf,
    left: Option<Left>,
    /// What the kernel was last given, and took. Once somebody else has taken it away, this is
    /// what was last right.
    given: Option<Ruleset>,
    /// When the kernel was last asked and held just that.
    seen_at: Option<Instant>,
    /// Whose connections may have begun under other rules.
    owed: BTreeSet<Ipv4Addr>,
    /// What is on the disk for the next boot.
    stored: Option<Ruleset>,
    unsaved: Option<String>,
    unended: Option<String>,
    episode: Episode,
}

/// What the API said.
pub struct Asked {
    began: Instant,
    set: Result<ActiveSet, ApiError>,
}

/// What a reconcile came to.
struct Done {
    changed: bool,
    found: Found,
    flows_ended: usize,
}

impl Reconciler {
    pub fn new(
        source: Arc<dyn ActiveSource>,
        machine: Machine,
        saved: Saved,
        policy: Policy,
        status: Status,
        deaf: Deaf,
    ) -> Self {
        Self {
            source,
            machine,
            saved,
            policy,
            status,
            deaf,
            left: None,
            given: None,
            seen_at: None,
            owed: BTreeSet::new(),
            stored: None,
            unsaved: None,
            unended: None,
            episode: Episode::default(),
        }
    }

    /// Apart from the rest, because the API may take its time, and others may not.
    pub fn ask(&self) -> impl Future<Output = Asked> + Send + use<> {
        let (source, began) = (self.source.clone(), Instant::now());
        async move { Asked { began, set: source.active_set().await } }
    }

    pub async fn reconcile(&mut self, asked: Asked) -> Result<ReconcileReport, ReconcileError> {
        let done = self.converge(asked.set).await;
        self.calm();
        let warnings = self.warnings();
        let at = Timestamp::now();
        match done {
            Ok((generation, Done { changed, found, flows_ended })) => {
                let report = ReconcileReport {
                    generation,
                    changed,
                    took_ms: u64::try_from(asked.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    clients: found.elements.registered().count(),
                    applied: applied(&found),
                    flows_ended,
                    warnings,
                };
                let was_failing = self.status.reconciled(&report, at);
                if changed || was_failing {
                    let (clients, applied, took_ms) = (report.clients, report.applied.len(), report.took_ms);
                    tracing::info!(%generation, changed, clients, applied, flows_ended, took_ms, "reconciled");
                }
                Ok(report)
            }
            Err(error) => {
                self.status.failed(&error, at, warnings);
                Err(error)
            }
        }
    }

    async fn converge(
        &mut self,
        set: Result<ActiveSet, ApiError>,
    ) -> Result<(Generation, Done), ReconcileError> {
        let (generation, wanted, news) = match self.wanted(set).await {
            Ok(wanted) => wanted,
            Err(error) => {
                if let Err(error) = self.hold().await {
                    tracing::error!(%error, "the last rules cannot be kept up");
                }
                return Err(error);
            }
        };
        let done = self.make_so(&wanted).await?;
        self.store(wanted, generation, news).await;
        Ok((generation, done))
    }

    /// Another database, which is new or was meant by a mistyped setting, knows none of the devices
    /// that are held here. Read from the disk each time: who removes the file has it so at once.
    fn told_first(&self, said: Option<DatabaseId>) -> Result<Option<DatabaseId>, ReconcileError> {
        let Some(said) = said else { return Ok(None) };
        match self.saved.database().map_err(ReconcileError::DatabaseUnknown)? {
            Some(known) if known != said => {
                Err(ReconcileError::OtherDatabase { file: self.saved.database_path() })
            }
            Some(_same) => Ok(None),
            None => Ok(Some(said)),
        }
    }

    /// With the database, if it is not remembered yet.
    async fn wanted(
        &self,
        set: Result<ActiveSet, ApiError>,
    ) -> Result<(Generation, Ruleset, Option<DatabaseId>), ReconcileError> {
        let set = set?;
        let news = self.told_first(set.database)?;
        let desired = set.desired()?;
        let mut wanted = plan(&desired, &self.policy)?;
        if desired.tunnels.is_none() {
            wanted.elements = wanted.elements.with_tunnels_of(&self.held().await?);
        }
        Ok((desired.generation, wanted, news))
    }

    /// What the kernel was last given; before the first time, what it holds.
    async fn held(&self) -> Result<Elements, KernelError> {
        match &self.given {
            Some(given) => Ok(given.elements.clone()),
            None => Ok(self.look().await?.map(|found| found.elements).unwrap_or_default()),
        }
    }

    /// Without word from the API what was last given stays right, also when somebody else takes
    /// it away.
    async fn hold(&mut self) -> Result<(), ReconcileError> {
        if let Some(given) = self.given.clone() {
            return self.make_so(&given).await.map(drop);
        }
        match restore(self.machine.kernel.as_ref(), &self.saved, &self.policy).await? {
            Restored::AlreadyThere => {}
            restored => restored.log(),
        }
        Ok(())
    }

    /// A full disk must not keep a device from being closed: it is told, and tried again at
    /// the next reconcile.
    async fn store(&mut self, wanted: Ruleset, generation: Generation, database: Option<DatabaseId>) {
        if database.is_none() && self.stored.as_ref() == Some(&wanted) {
            return;
        }
        self.stored = None;
        let (saved, ruleset) = (self.saved.clone(), wanted.clone());
        let stored = tokio::task::spawn_blocking(move || {
            database.map_or(Ok(()), |id| saved.store_database(id))?;
            saved.store(&ruleset, generation)
        });
        let stored = stored.await;
        let why = match stored {
            Ok(Ok(())) => {
                (self.stored, self.unsaved) = (Some(wanted), None);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        self.unsaved = Some(format!("the rules are in the kernel, but not saved for the next boot: {why}"));
    }

    /// What is not as it should be, and keeps no rule from being in the kernel.
    fn warnings(&self) -> Vec<String> {
        let lan_if = &self.policy.lan_if;
        let lan = match self.machine.interfaces.list() {
            Ok(present) => present.lacks_lan(lan_if),
            Err(error) => Some(format!("whether PGW_LAN_IF={lan_if} exists cannot be found out: {error}")),
        };
        let deaf = self.deaf.borrow().as_ref().map(|why| {
            format!(
                "changes of the rules by others are found by the interval only; they are not heard of: {why}"
            )
        });
        [lan, deaf, self.unsaved.clone(), self.unended.clone()].into_iter().flatten().collect()
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
