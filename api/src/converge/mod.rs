//! Who needs a look, and when: a client is brought (`activate`) by one task at a time, again at
//! once if it was touched meanwhile, later if a step failed, and every interval in any case.

mod task;
mod turn;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pgw_core::ids::{ClientId, ProxyId};
use tokio::sync::{mpsc, oneshot};

use crate::activate::Activator;
pub use task::ConvergeTask;
pub use turn::{Turn, Unfinished};
use turns::Turns;

#[derive(Clone)]
pub struct Converger {
    commands: mpsc::UnboundedSender<Command>,
    swept: Arc<AtomicBool>,
}

/// What is looked at, each by one task at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Nobody in particular: a reconcile takes place also when no client is left, for what a
    /// former configuration may have left in the kernel.
    Kernel,
    Client(ClientId),
    /// A port that has a forwarder and belongs to no client.
    Port(u16),
}

/// Is there anything left that trying again would change?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// Nothing leaves any more by what was taken away. What is missing is the tidying, in words:
    /// it goes on by itself.
    Shut(String),
    /// What is missing, in words. It is tried again by itself.
    No(String),
}

/// One look at one subject: what is missing is done.
#[async_trait]
pub trait Look: Send + Sync + 'static {
    async fn look(&self, subject: Subject, turn: &mut Turn) -> Result<Settled, Unfinished>;
}

enum Command {
    Client(ClientId, Option<oneshot::Sender<Settled>>),
    Proxy(ProxyId),
    Port(u16),
    Everything,
    /// This run waits, and has for so long that nobody should wait with it.
    Waits {
        subject: Subject,
        run: u64,
        so_far: Settled,
    },
}

impl Settled {
    /// Both, or what the one lacks that lacks more.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, other) => other,
            (Self::Shut(_), Self::No(why)) => Self::No(why),
            (lacking, _) => lacking,
        }
    }
}

impl Converger {
    pub fn new(activator: Arc<Activator>, interval: Duration) -> (Self, ConvergeTask) {
        let (send, receive) = mpsc::unbounded_channel();
        let swept = Arc::new(AtomicBool::new(false));
        let turns = Turns::new(activator.clone(), send.clone());
        let task = ConvergeTask::new(activator, receive, turns, swept.clone(), interval);
        (Self { commands: send, swept }, task)
    }

    pub fn wake(&self, client: ClientId) {
        self.send(Command::Client(client, None));
    }

    /// Every client that has a mapping to this proxy.
    pub fn wake_proxy(&self, proxy: ProxyId) {
        self.send(Command::Proxy(proxy));
    }

    /// Whoever has this port: its forwarder died or came back.
    pub fn wake_port(&self, port: u16) {
        self.send(Command::Port(port));
    }

    /// What the database says may be another thing for anybody.
    pub fn wake_all(&self) {
        self.send(Command::Everything);
    }

    /// Answers when a run that began after this call has ended, or waits for somebody who does
    /// not answer.
    pub async fn settle(&self, client: ClientId) -> Settled {
        let (send, receive) = oneshot::channel();
        self.send(Command::Client(client, Some(send)));
        receive.await.unwrap_or_else(|_dropped| Settled::No("pgw-api is stopping".to_owned()))
    }

    /// Has every client been looked at once since the start?
    pub fn has_swept(&self) -> bool {
        self.swept.load(Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("the converger has stopped");
        }
    }
}
