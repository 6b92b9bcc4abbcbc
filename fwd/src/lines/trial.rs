//! The first connection that says all at once, with one beside it that goes step by step should
//! the first one stay silent. What is sent ahead is a ClientHello: if the first one was only
//! slow, two hellos reach the destination, and nothing is done twice.

use std::sync::Arc;
use std::time::Duration;

use pgw_core::dial::{Deadline, Destination, DialError, Dialer, Line, Said, Tunnel};
use pgw_core::handshake::hello::{client_hello, is_server_hello};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::exit::Exit;

/// Besides the way there and back again.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// Where nobody waits for what comes of it.
pub(super) const LOGIN_PATIENCE: Duration = Duration::from_secs(2);

/// A hello follows the connection at once; a near upstream may be even quicker.
const HELLO_PATIENCE: Duration = Duration::from_millis(20);

/// Has the client said a whole one?
pub(super) async fn hello_came(said: &Said) -> bool {
    let mut said = said.clone();
    let whole = said.wait_for(|said| client_hello(said).is_some());
    timeout(HELLO_PATIENCE, whole).await.is_ok_and(|whole| whole.is_ok())
}

/// How long words at once may stay without an answer, by the time that connecting took.
pub(super) fn patience(connecting: Duration) -> Duration {
    (connecting * 2 + LEAST_PATIENCE).min(MOST_PATIENCE)
}

/// What is known when it ends, however it ends: the client may leave, or another upstream win.
pub(super) struct Trial {
    exit: Arc<Exit>,
    seen: Seen,
}

#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    Carried,
    /// It had its time and gave no sign.
    Silent,
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.exit.learn(|manner, now| match self.seen {
            Seen::Nothing => manner.gave_up(now),
            Seen::Carried => manner.has_carried(),
            Seen::Silent => manner.has_lost(now),
        });
    }
}

impl Trial {
    pub(super) fn of(exit: &Arc<Exit>) -> Self {
        Self { exit: exit.clone(), seen: Seen::Nothing }
    }
}

/// A tunnel by `line`, on which nothing was said yet, or by another one.
pub(super) async fn run(
    mut trial: Trial,
    dialer: &Dialer,
    line: Line,
    patience: Duration,
    (dest, said): (&Destination, Said),
    deadline: Deadline,
) -> Result<Tunnel, DialError> {
    let exit = trial.exit.clone();
    let upstream = &exit.upstream;
    let mut eager = std::pin::pin!(async {
        let tunnel = line.ask(upstream, dest, Some(said), deadline).await.ok()?;
        answered(tunnel).await
    });
    let early = timeout(patience, &mut eager).await;
    if let Ok(Some(tunnel)) = early {
        trial.seen = Seen::Carried;
        return Ok(tunnel);
    }
    trial.seen = Seen::Silent;
    let mut careful = std::pin::pin!(dialer.step_by_step(upstream, dest, deadline));
    if early.is_ok() {
        let tunnel = careful.await;
        if tunnel.is_err() {
            // It may well have been the destination.
            trial.seen = Seen::Nothing;
        }
        return tunnel;
    }
    tokio::select! {
        biased;
        tunnel = &mut eager => match tunnel {
            Some(tunnel) => {
                trial.seen = Seen::Carried;
                Ok(tunnel)
            }
            None => careful.await,
        },
        tunnel = &mut careful => match tunnel {
            Ok(tunnel) => Ok(tunnel),
            Err(error) => {
                trial.seen = Seen::Nothing;
                let late = timeout(deadline.left(), eager).await;
                late.ok().flatten().ok_or(error)
            }
        },
    }
}

/// The tunnel, if a server's hello comes out of it: a destination that was sent a part of
/// the client's would say something else, or nothing.
async fn answered(mut tunnel: Tunnel) -> Option<Tunnel> {
    loop {
        match is_server_hello(&tunnel.early) {
            Some(true) => return Some(tunnel),
            Some(false) => return None,
            None => match tunnel.stream.read_buf(&mut tunnel.early).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            },
        }
    }
}
