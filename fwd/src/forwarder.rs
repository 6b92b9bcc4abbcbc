//! A forwarder from its first connection to its last.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::carry::wake;
use crate::conn::End;
use crate::dns::udp::Datagrams;
use crate::dns::{tend, udp};
use crate::listener::accept;
use crate::serve::Shared;
use crate::sockets::{self, Sockets};

/// For connections that were told to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// As the flag file's own drain time.
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// Somebody's wish that the forwarder comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The first time: open connections may finish. The second time: they may not.
    Signal,
    /// Open connections may finish within this time, or that of the flag file.
    Drain(Option<Duration>),
}

/// Where somebody who is to take over waits for the sockets.
pub(crate) type Heir = oneshot::Sender<io::Result<Sockets>>;

/// Serves to the last connection, and keeps the house meanwhile.
pub(crate) async fn run(
    listener: TcpListener,
    datagrams: Datagrams,
    shared: Arc<Shared>,
    stop: mpsc::Receiver<Stop>,
    heirs: mpsc::Receiver<Heir>,
) {
    tokio::select! {
        () = serve(listener, datagrams, &shared, stop, heirs) => {}
        never = shared.service.live() => match never {},
        never = shared.pipes.tidy() => match never {},
        never = shared.live.watch_silence() => match never {},
        never = shared.asleep.watch(|sleeper| wake(&shared, sleeper)) => match never {},
    }
}

/// Serves until it is to stop; then open connections may finish, until their time is over.
async fn serve(
    listener: TcpListener,
    datagrams: Datagrams,
    shared: &Arc<Shared>,
    mut stop: mpsc::Receiver<Stop>,
    mut heirs: mpsc::Receiver<Heir>,
) {
    let tasks = &shared.tasks;
    let tended = shared.clone();
    let preparing = AbortOnDropHandle::new(tokio::spawn(async move { tended.lines.tend().await }));
    let listener = Arc::new(listener);
    // A task of its own: a connection that comes wakes nobody else of the house.
    let mut accepting = AbortOnDropHandle::new(tokio::spawn(accept(listener.clone(), shared.clone())));
    let asked = tokio::select! {
        Err(died) = &mut accepting => resume_unwind(died.into_panic()),
        () = udp::serve(&datagrams, shared) => None,
        () = tend(shared) => None,
        () = bequeath(&listener, &datagrams, &mut heirs) => None,
        asked = stop.recv() => asked,
    };
    accepting.abort();
    // Only then nobody holds the port any more.
    let _ended = accepting.await;
    drop((listener, datagrams, preparing));
    if let Some(Stop::Drain(_)) = asked {
        sockets::let_go(&shared.service);
    }
    shared.lines.close();
    shared.live.drain();
    shared.service.stopping();
    let limit = limit(asked, shared);
    tracing::info!(connections = shared.live.open(), limit_s = limit.as_secs(), "stopping");
    tasks.close();
    tokio::select! {
        () = tasks.wait() => {}
        () = time_is_over(asked, limit, shared, &mut stop) => {}
    }
    shared.live.end_all(End::Drain);
    let _done = timeout(LAST_WORDS, tasks.wait()).await;
}

fn limit(asked: Option<Stop>, shared: &Shared) -> Duration {
    let usual = Duration::from_secs(shared.flag.borrow().limits.drain_s);
    match asked {
        Some(Stop::Drain(Some(limit))) => limit.min(LONGEST_DRAIN),
        Some(Stop::Drain(None) | Stop::Signal) | None => usual,
    }
}

/// Whoever asks again can only make it sooner: somebody who asks every second gets his drain.
async fn time_is_over(
    mut asked: Option<Stop>,
    limit: Duration,
    shared: &Shared,
    stop: &mut mpsc::Receiver<Stop>,
) {
    let mut until = Instant::now() + limit;
    loop {
        tokio::select! {
            () = sleep_until(until) => return,
            Some(again) = stop.recv() => {
                if (asked, again) == (Some(Stop::Signal), Stop::Signal) {
                    return;
                }
                until = until.min(Instant::now() + self::limit(Some(again), shared));
                if again == Stop::Signal {
                    asked = Some(again);
                }
            }
        }
    }
}

/// Gives the sockets to whoever is to take over, as often as somebody wants to; does not return.
async fn bequeath(listener: &TcpListener, datagrams: &Datagrams, heirs: &mut mpsc::Receiver<Heir>) {
    while let Some(heir) = heirs.recv().await {
        // It may have gone again.
        let _gone = heir.send(Sockets::of(listener, datagrams));
    }
    std::future::pending().await
}
