//! A run's right to work, and how it is lent to others while the run waits.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Command, Settled, Subject};
use crate::store::StoreError;

/// An agent that is well answers within a fraction of this, so whoever waits for the outcome is
/// not kept longer. The run itself goes on waiting.
const CALLERS_WAIT: Duration = Duration::from_secs(2);

/// Why a run ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// It waited while its subject was touched: what it knows is old, and the next run begins.
    #[error("there is news")]
    Touched,
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Turn {
    permits: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
    touched: CancellationToken,
    caller: Option<Caller>,
    shut: bool,
}

/// Where a long wait is told.
pub(super) struct Caller {
    pub(super) subject: Subject,
    pub(super) run: u64,
    pub(super) commands: mpsc::UnboundedSender<Command>,
}

impl Turn {
    /// With nobody to share it with, and never touched.
    pub fn alone() -> Self {
        let permits = Arc::new(Semaphore::new(1));
        Self { permits, permit: None, touched: CancellationToken::new(), caller: None, shut: false }
    }

    pub(super) async fn begin(permits: Arc<Semaphore>, touched: CancellationToken, caller: Caller) -> Self {
        let permit = permits.clone().acquire_owned().await.ok();
        Self { permits, permit, touched, caller: Some(caller), shut: false }
    }

    /// From here on nothing leaves by what the database has closed or removed, whoever is silent.
    pub fn is_shut(&mut self) {
        self.shut = true;
    }

    /// How a run stands that lacks this.
    pub fn lacking(&self, why: String) -> Settled {
        if self.shut { Settled::Shut(why) } else { Settled::No(why) }
    }

    /// Waits for somebody who may never answer. Others work meanwhile, and a touch ends the wait:
    /// a door that is to be shut is not kept open by an agent that hangs.
    pub async fn wait_for<T>(
        &mut self,
        whom: &'static str,
        answer: impl Future<Output = T>,
    ) -> Result<T, Unfinished> {
        self.permit = None;
        let answer = tokio::select! {
            biased;
            () = self.touched.cancelled() => return Err(Unfinished::Touched),
            answer = answer => answer,
            never = self.tell_a_long_wait(whom) => match never {},
        };
        self.permit = self.permits.clone().acquire_owned().await.ok();
        Ok(answer)
    }

    async fn tell_a_long_wait(&self, whom: &'static str) -> Infallible {
        tokio::time::sleep(CALLERS_WAIT).await;
        if let Some(Caller { subject, run, commands }) = &self.caller {
            // Nobody listens while the program stops.
            let so_far = self.lacking(format!("{whom} does not answer"));
            let _stopping = commands.send(Command::Waits { subject: *subject, run: *run, so_far });
        }
        std::future::pending().await
    }
}
