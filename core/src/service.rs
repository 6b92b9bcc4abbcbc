//! What a service manager is told: that the program is ready, that it lives, that it stops. By
//! whom nobody asked, nothing is told. Behind the feature `service`.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// As sysexits.h has it: something that is needed is not to be had.
const UNAVAILABLE: u8 = 69;

/// How a program ends that could not start. A port that somebody else has does not become free
/// by trying again; nearly everything else may.
pub fn exit_code(error: &(dyn Error + 'static)) -> ExitCode {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(|error: &io::Error| error.kind() == io::ErrorKind::AddrInUse) {
            return ExitCode::from(UNAVAILABLE);
        }
        cause = error.source();
    }
    ExitCode::FAILURE
}

/// However closely it wants to watch.
const SHORTEST: Duration = Duration::from_millis(10);

/// The manager's view of one process.
#[derive(Debug)]
pub struct Service {
    /// Of a process that has handed its work over, the manager wants to hear nothing more.
    speaks: AtomicBool,
    watchdog: Option<Duration>,
}

impl Default for Service {
    fn default() -> Self {
        Self::watched(sd_notify::watchdog_enabled())
    }
}

impl Service {
    /// Watched so closely as another process of the service has told it.
    pub fn watched(watchdog: Option<Duration>) -> Self {
        Self { speaks: AtomicBool::new(true), watchdog }
    }

    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// From here on the service is that process, and this one says nothing more.
    pub fn succeeded_by(&self, pid: u32) {
        self.tell(&[NotifyState::MainPid(pid)]);
        self.speaks.store(false, Ordering::Relaxed);
    }

    /// The manager keeps it for the process that comes after this one, however this one ends.
    pub fn keep(&self, name: &str, socket: BorrowedFd<'_>) {
        let told = sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[socket]);
        if let Err(error) = told {
            tracing::warn!(error = %error, name, "the service manager cannot keep a socket");
        }
    }

    /// And no longer does.
    pub fn let_go(&self, name: &str) {
        self.tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }

    /// Says that the program lives, from the loop that does its work, for as long as it is wanted
    /// to; does not return.
    pub async fn live(&self) -> Infallible {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = interval((watchdog / 3).max(SHORTEST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell(&[NotifyState::Watchdog]);
        }
    }

    /// Ready, and alive on the threads that do the work, until somebody wants it to stop; alive also
    /// while it drains, which may take longer than the manager goes without a word.
    pub async fn until_stopped(self) -> io::Result<()> {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        self.ready();
        let service = Arc::new(self);
        let living = service.clone();
        let _until_the_end = tokio::spawn(async move { living.live().await });
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        service.stopping();
        Ok(())
    }

    fn tell(&self, news: &[NotifyState<'_>]) {
        if !self.speaks.load(Ordering::Relaxed) {
            return;
        }
        if let Err(error) = sd_notify::notify(news) {
            tracing::warn!(error = %error, "the service manager cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("PGW_UI_LISTEN cannot be listened on")]
    struct Listen(#[source] io::Error);

    #[test]
    fn a_port_that_is_taken_is_told_from_everything_else() {
        for (kind, want) in [
            (io::ErrorKind::AddrInUse, ExitCode::from(UNAVAILABLE)),
            // As at boot, when the interface is not up yet.
            (io::ErrorKind::AddrNotAvailable, ExitCode::FAILURE),
            (io::ErrorKind::StorageFull, ExitCode::FAILURE),
        ] {
            assert_eq!(exit_code(&Listen(kind.into())), want, "{kind}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_watched_has_nothing_to_say() {
        let living = tokio::time::timeout(Duration::from_secs(3600), Service::watched(None).live()).await;
        assert!(living.is_err());
    }
}
