//! What happens before the first connection: arguments, logs, signals, and what may go wrong.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use pgw_core::settings::Mistakes;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use crate::flagfile::LoadError;
use crate::forwarder::Stop;
use crate::listener::BindError;

/// Why a forwarder does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{USAGE}")]
    Usage,
    #[error(transparent)]
    Settings(#[from] Mistakes),
    #[error("the flag file {path} {error}", path = .0.display(), error = .1)]
    Flag(PathBuf, #[source] LoadError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("cannot make the control socket {path}: {error}", path = .0.display(), error = .1)]
    Control(PathBuf, #[source] io::Error),
    #[error("the forwarder that serves port {0} cannot be relieved, and goes on: {1}")]
    Relieve(u16, #[source] io::Error),
    #[error("the next forwarder of port {0} did not take over; the one that serves it goes on")]
    NotRelieved(u16),
    #[error("setsid (Debian package util-linux) cannot start the next forwarder: {0}")]
    Successor(#[source] io::Error),
    #[error("cannot start: {0}")]
    Runtime(#[source] io::Error),
}

impl Failure {
    /// As sysexits.h has them: 64 is a mistake in the call, 69 a port that is taken, 78 a
    /// mistake in the configuration.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage | Self::Settings(_) => ExitCode::from(64),
            Self::Flag(..) => ExitCode::from(78),
            Self::Bind(BindError::Taken(_)) => ExitCode::from(69),
            Self::Bind(BindError::Other(..))
            | Self::Control(..)
            | Self::Relieve(..)
            | Self::NotRelieved(_)
            | Self::Successor(_)
            | Self::Runtime(_) => ExitCode::FAILURE,
        }
    }
}

const USAGE: &str = "usage: pgw-fwd --port 15001 [--hand-over]";
const VERSION: &str = concat!("pgw-fwd ", env!("CARGO_PKG_VERSION"));

/// What the process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// The port, which nobody serves.
    Serve,
    /// The port, in place of the forwarder that serves it now.
    TakeOver,
    /// To start one that takes over, and to wait for it.
    HandOver,
}

/// What somebody only wants to know.
pub(crate) fn answer(mut arguments: impl Iterator<Item = OsString>) -> Option<&'static str> {
    match (arguments.next()?.to_str()?, arguments.next()) {
        ("--help" | "-h", None) => Some(USAGE),
        ("--version" | "-V", None) => Some(VERSION),
        _ => None,
    }
}

/// `--port 15001` or `--port=15001`, and perhaps `--hand-over` or `--take-over`.
pub(crate) fn call(arguments: impl Iterator<Item = OsString>) -> Result<(u16, Task), Failure> {
    let mut arguments: Vec<OsString> = arguments.take(4).collect();
    let task = match arguments.last() {
        Some(last) if last == "--hand-over" => Task::HandOver,
        Some(last) if last == "--take-over" => Task::TakeOver,
        _ => Task::Serve,
    };
    if task != Task::Serve {
        arguments.pop();
    }
    let value = match arguments.as_slice() {
        [name, value] if name == "--port" => value.to_str(),
        [both] => both.to_str().and_then(|both| both.strip_prefix("--port=")),
        _ => None,
    };
    let port = value.and_then(|value| value.parse().ok()).filter(|port| *port > 0);
    port.map(|port| (port, task)).ok_or(Failure::Usage)
}

/// SIGTERM and SIGINT as messages, SIGHUP as a wish to look at the flag file.
pub(crate) fn signals(reload: Arc<Notify>, stop: mpsc::Sender<Stop>) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            let sent = tokio::select! {
                _signal = hangup.recv() => {
                    reload.notify_one();
                    Ok(())
                }
                _signal = terminate.recv() => stop.try_send(Stop::Signal),
                _signal = interrupt.recv() => stop.try_send(Stop::Signal),
            };
            if sent.is_err() && stop.is_closed() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_is_answered_and_only_then() {
        for (arguments, want) in [
            (vec!["--help"], Some(USAGE)),
            (vec!["-V"], Some(VERSION)),
            (vec![], None),
            (vec!["--port", "--help"], None),
            (vec!["--help", "--port"], None),
        ] {
            assert_eq!(answer(arguments.iter().map(OsString::from)), want, "{arguments:?}");
        }
    }

    #[test]
    fn the_port_is_said_in_one_of_two_ways_and_the_task_behind_it() {
        for (arguments, want) in [
            (vec!["--port", "15001"], Some((15001, Task::Serve))),
            (vec!["--port=15001"], Some((15001, Task::Serve))),
            (vec!["--port", "15001", "--hand-over"], Some((15001, Task::HandOver))),
            (vec!["--port=15001", "--take-over"], Some((15001, Task::TakeOver))),
            (vec!["--hand-over"], None),
            (vec![], None),
            (vec!["--port"], None),
            (vec!["--port", "0"], None),
            (vec!["--port", "65536"], None),
            (vec!["--port", "15001", "more"], None),
            (vec!["15001"], None),
        ] {
            let got = call(arguments.iter().map(OsString::from)).ok();
            assert_eq!(got, want, "{arguments:?}");
        }
    }
}
