//! What the rest of the API may ask of the health checks.

use pgw_core::health::{Blame, Health};
use pgw_core::ids::ProxyId;
use tokio::sync::{mpsc, oneshot};

/// A handle to the scheduler.
#[derive(Clone)]
pub struct HealthChecks {
    commands: mpsc::UnboundedSender<Command>,
}

/// Somebody else saw it fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    pub blame: Blame,
    /// How, in words.
    pub error: String,
}

/// Why a check that was asked for has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotChecked {
    #[error("there is no such proxy")]
    NoSuchProxy,
    /// It says nothing about the proxy, whose health stays what it was.
    #[error("the gateway itself cannot check now: {0}")]
    Gateway(String),
}

pub(super) type Waiter = oneshot::Sender<Result<Health, NotChecked>>;

pub(super) enum Command {
    /// New, or dialled in another way.
    Changed(ProxyId, oneshot::Sender<()>),
    CheckSoon(ProxyId),
    Meet(ProxyId),
    Suspect(ProxyId, Suspicion),
    CheckNow(ProxyId, Waiter),
}

impl HealthChecks {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Command>) {
        let (commands, taken) = mpsc::unbounded_channel();
        (Self { commands }, taken)
    }

    /// Returns when what was known of its health is forgotten: whoever looks at a device after
    /// that does not open it on the health of something else.
    pub async fn changed(&self, proxy: ProxyId) {
        let (done, forgotten) = oneshot::channel();
        self.send(Command::Changed(proxy, done));
        if forgotten.await.is_err() {
            tracing::debug!("health checks have stopped");
        }
    }

    /// Without waiting for what it finds.
    pub fn check_soon(&self, proxy: ProxyId) {
        self.send(Command::CheckSoon(proxy));
    }

    /// It may be new; if it is known, nothing follows.
    pub fn meet(&self, proxy: ProxyId) {
        self.send(Command::Meet(proxy));
    }

    /// Has it checked at once, within reason. Only a check takes it down.
    pub fn suspect(&self, proxy: ProxyId, suspicion: Suspicion) {
        self.send(Command::Suspect(proxy, suspicion));
    }

    /// What it finds is also written down by then, unless the database cannot be written.
    pub async fn check_now(&self, proxy: ProxyId) -> Result<Health, NotChecked> {
        let (send, receive) = oneshot::channel();
        self.send(Command::CheckNow(proxy, send));
        receive.await.unwrap_or_else(|_dropped| Err(NotChecked::Gateway("it is stopping".to_owned())))
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("health checks have stopped");
        }
    }
}
