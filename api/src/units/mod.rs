//! How forwarders are started and stopped: by systemd where it runs, else as children of the
//! API that outlive it. Both pass the same contract, and so does the fake that other tests use.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pgw_core::settings::UnitsChoice;
use tokio::sync::mpsc::UnboundedSender;

pub mod control;
mod listening;
pub mod spawn;
pub mod systemd;

#[cfg(test)]
mod contract;
#[cfg(test)]
pub(crate) mod fake;

/// Ports whose forwarder died or came back without having been asked to: look at them again.
/// Unbounded, for its length is the number of processes that died since the last look.
pub type Told = UnboundedSender<u16>;

#[async_trait]
pub trait Units: Send + Sync + 'static {
    /// Returns when the forwarder is up, within ten seconds once its predecessor is gone; fine
    /// when it is up already.
    async fn start(&self, port: u16) -> Result<(), UnitError>;

    /// Returns when the forwarder is gone; fine when there is none. What it carries may drain.
    async fn stop(&self, port: u16) -> Result<(), UnitError>;

    /// The ports that have a forwarder now, wanted or not.
    async fn running(&self) -> Result<BTreeSet<u16>, UnitError>;

    /// Does somebody keep the port open while its forwarder is gone, so that whoever connects waits
    /// for the next one?
    async fn keeps(&self, port: u16) -> bool;

    /// `systemd` or `spawn`.
    fn kind(&self) -> &'static str;
}

/// What the caller, or the operator who reads it as a mapping's reason, would do differs.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    #[error("{what} is not installed: {remedy}")]
    NotInstalled { what: String, remedy: &'static str },
    #[error("the forwarder on port {port} failed ({result}): {detail}")]
    Failed { port: u16, result: String, detail: String },
    #[error("the forwarder on port {port} did not {verb} within {seconds} s: {detail}")]
    Timeout { port: u16, verb: &'static str, seconds: u64, detail: String },
    #[error(
        "systemd does not let this user {verb} the forwarder on port {port}: is polkitd running, and is \
         50-pgw.rules installed?"
    )]
    Denied { port: u16, verb: &'static str },
    #[error("systemd cannot be reached over the system bus: {0}")]
    Bus(#[source] Box<zbus::Error>),
    #[error("{what} cannot be used: {source}")]
    System { what: String, source: io::Error },
}

impl From<zbus::Error> for UnitError {
    fn from(error: zbus::Error) -> Self {
        Self::Bus(Box::new(error))
    }
}

/// Exists where systemd is the init system, and nowhere else.
const SYSTEMD_RUNS: &str = "/run/systemd/system";

/// A systemd that was asked for by name must answer; with `auto`, children take its place.
pub async fn choose(
    choice: UnitsChoice,
    state_dir: &Path,
    run_dir: &Path,
    told: Told,
) -> Result<Arc<dyn Units>, UnitError> {
    let by_systemd = match choice {
        UnitsChoice::Spawn => false,
        UnitsChoice::Systemd => true,
        UnitsChoice::Auto => Path::new(SYSTEMD_RUNS).exists(),
    };
    if by_systemd {
        match systemd::Systemd::connect(Box::new(systemd::SystemBus), told.clone()).await {
            Ok(units) => return Ok(Arc::new(units)),
            Err(error) if choice == UnitsChoice::Systemd => return Err(error),
            Err(error) => tracing::warn!(error = %error, "forwarders become children of this program"),
        }
    }
    let program = spawn::Program::find()?;
    Ok(Arc::new(spawn::Spawn::new(program, state_dir, run_dir, told)))
}
