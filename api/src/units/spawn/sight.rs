//! Who holds a port's control socket, and what is to become of them.

use pgw_core::control::FwdStatus;
use rustix::process::Pid;

use super::House;
use super::process::{Exe, Process};
use crate::units::UnitError;
use crate::units::control::{ControlError, Line};

/// API and forwarder are built and shipped together.
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What would be started now.
    Ours,
    /// On its way out.
    Leaving,
    /// A forwarder, but not the one that would be started now.
    Outdated,
    /// Perhaps no forwarder at all: touching it might end something that matters.
    Stranger(String),
}

/// The process behind the socket, if there is one.
pub(super) async fn look(
    house: &House,
    port: u16,
    known: &mut Option<Process>,
) -> Result<Option<(Process, Verdict)>, UnitError> {
    let strange = |detail: String| UnitError::Failed { port, result: "the port is taken".into(), detail };
    let mut line = match Line::open(&house.run_dir, port).await {
        Ok(line) => line,
        Err(ControlError::Nobody(_)) => return Ok(None),
        // One that is known is judged by those who wait for it.
        Err(_) if known.is_some() => return Ok(None),
        Err(error) => return Err(strange(error.to_string())),
    };
    let Some(pid) = line.pid() else { return Err(strange("its process cannot be told".into())) };
    let process = match known.take_if(|process| process.pid() == pid) {
        Some(process) => process,
        None if known.is_some() => return Ok(None),
        // Held before it answers: the answer then proves that the number was still its own.
        None => match Process::held(pid) {
            Ok(process) => process,
            // Gone since.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(strange(format!("process {pid} cannot be watched: {error}"))),
        },
    };
    let verdict = judge(pid, &process.exe(&house.program.path), line.status().await);
    Ok(Some((process, verdict)))
}

fn judge(pid: Pid, exe: &Exe, said: Result<FwdStatus, ControlError>) -> Verdict {
    let same_pid = |status: &FwdStatus| Pid::from_raw(status.pid.cast_signed()) == Some(pid);
    match (said, exe) {
        (Ok(status), _) if !same_pid(&status) => {
            Verdict::Stranger(format!("process {pid} holds the socket and calls itself {}", status.pid))
        }
        (Ok(status), _) if status.draining => Verdict::Leaving,
        (Ok(status), Exe::Ours) if status.version == VERSION => Verdict::Ours,
        (Ok(_), _) => Verdict::Outdated,
        // It may be starting, or buried in work: whoever waits for it decides.
        (Err(ControlError::Silent(_)), Exe::Ours) => Verdict::Ours,
        (Err(_), Exe::Ours | Exe::Replaced) => Verdict::Outdated,
        (Err(error), Exe::Foreign) => Verdict::Stranger(format!("{error}; process {pid} holds it")),
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn only_the_same_program_of_the_same_version_is_kept() {
        let pid = Pid::from_raw(42).unwrap();
        let status = |change: fn(&mut FwdStatus)| {
            let mut status =
                FwdStatus { version: VERSION.into(), pid: 42, port: 15001, ..FwdStatus::default() };
            change(&mut status);
            Ok(status)
        };
        let silent = || Err(ControlError::Silent(15001));
        let nonsense = || Err(ControlError::Nonsense { port: 15001, detail: "?".into() });
        let stranger = Verdict::Stranger(String::new());
        for (said, exe, want) in [
            (status(|_| ()), Exe::Ours, &Verdict::Ours),
            (status(|s| s.version = "0.0.1".into()), Exe::Ours, &Verdict::Outdated),
            (status(|_| ()), Exe::Replaced, &Verdict::Outdated),
            (status(|_| ()), Exe::Foreign, &Verdict::Outdated),
            (status(|s| s.draining = true), Exe::Ours, &Verdict::Leaving),
            (status(|s| s.draining = true), Exe::Replaced, &Verdict::Leaving),
            (status(|s| s.pid = 7), Exe::Ours, &stranger),
            (silent(), Exe::Ours, &Verdict::Ours),
            (silent(), Exe::Replaced, &Verdict::Outdated),
            (silent(), Exe::Foreign, &stranger),
            (nonsense(), Exe::Ours, &Verdict::Outdated),
            (nonsense(), Exe::Foreign, &stranger),
        ] {
            let case = format!("{said:?} {exe:?}");
            let got = judge(pid, &exe, said);
            assert_eq!(std::mem::discriminant(&got), std::mem::discriminant(want), "{case}: {got:?}");
        }
    }
}
