//! A forwarder's process, held by a file descriptor: a number that the kernel gives to somebody
//! else in the meantime is never signalled.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use super::Tempo;

/// What a forwarder says by its exit code when its flag file is of no use.
const BAD_FLAG_FILE: i32 = 78;

pub(super) struct Process {
    pid: Pid,
    fd: AsyncFd<OwnedFd>,
    /// None when an earlier API started it.
    child: Option<Child>,
    since: Instant,
}

/// How a forwarder is made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Farewell {
    /// It drains.
    Ask,
    /// It drains already; being asked twice it would cut off what it carries.
    Await,
    /// It does not listen, so it carries nothing.
    Kill,
}

/// Which program a process runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exe {
    Ours,
    /// Ours as it was before an upgrade took the file away.
    Replaced,
    Foreign,
}

impl Process {
    pub(super) fn spawned(mut child: Child) -> io::Result<Self> {
        // It is not reaped before somebody waits for it, so the number is still its own.
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let held = pid.ok_or_else(|| io::Error::other("it has no process id")).and_then(Self::held);
        match held {
            Ok(process) => Ok(Self { child: Some(child), ..process }),
            Err(error) => {
                child.start_kill()?;
                Err(error)
            }
        }
    }

    /// Whoever has this number now; the caller makes sure that it is who was meant.
    pub(super) fn held(pid: Pid) -> io::Result<Self> {
        #[expect(deprecated, reason = "its successor is unsafe; what is owned here is never replaced")]
        let fd = AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::NONBLOCK)?, Interest::READABLE)?;
        Ok(Self { pid, fd, child: None, since: Instant::now() })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// How it ended, once it has. May be called again, and given up at any time.
    pub(super) async fn ended(&mut self) -> String {
        let ended = match &mut self.child {
            Some(child) => child.wait().await.map(Some),
            None => self.fd.readable().await.map(|_ready| None),
        };
        match ended {
            Ok(status) => words(status),
            Err(error) => format!("it cannot be watched: {error}"),
        }
    }

    /// Returns when it is gone.
    pub(super) async fn retire(&mut self, farewell: Farewell, tempo: &Tempo) -> io::Result<()> {
        if farewell == Farewell::Ask {
            self.signal(Signal::TERM)?;
        }
        if farewell != Farewell::Kill && timeout(tempo.drain, self.ended()).await.is_ok() {
            return Ok(());
        }
        self.signal(Signal::KILL)?;
        match timeout(tempo.kill, self.ended()).await {
            Ok(_how) => Ok(()),
            Err(_elapsed) => Err(io::Error::other("it was killed and is still there")),
        }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(self.fd.get_ref(), signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn exe(&self, program: &Path) -> Exe {
        let link = format!("/proc/{}/exe", self.pid);
        let Ok(exe) = fs::read_link(link) else { return Exe::Foreign };
        if exe == program {
            return Exe::Ours;
        }
        let gone = exe.to_str().and_then(|exe| exe.strip_suffix(" (deleted)"));
        if gone.is_some_and(|exe| Path::new(exe) == program) { Exe::Replaced } else { Exe::Foreign }
    }
}

fn words(status: Option<ExitStatus>) -> String {
    let Some(status) = status else { return "it is gone; an earlier pgw-api had started it".into() };
    match (status.code(), status.signal()) {
        (Some(BAD_FLAG_FILE), _) => "exit code 78: its flag file cannot be used".into(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}
