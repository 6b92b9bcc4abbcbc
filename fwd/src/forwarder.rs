//! A forwarder from its first connection to its last.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::dns::udp::Datagrams;
use crate::dns::{tend, udp};
use crate::listener::accept;
use crate::serve::Shared;

/// For connections that were told to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves to the last connection, and keeps the house meanwhile.
pub(crate) async fn run(
    listener: TcpListener,
    datagrams: Datagrams,
    shared: Arc<Shared>,
    stop: mpsc::Receiver<()>,
) {
    tokio::select! {
        () = serve(listener, datagrams, &shared, stop) => {}
        never = shared.pipes.tidy() => match never {},
    }
}

/// Serves until the first `stop`; then open connections may finish, until the drain time is
/// over or the second `stop` comes.
async fn serve(
    listener: TcpListener,
    datagrams: Datagrams,
    shared: &Arc<Shared>,
    mut stop: mpsc::Receiver<()>,
) {
    let tasks = TaskTracker::new();
    let tended = shared.clone();
    let preparing = AbortOnDropHandle::new(tokio::spawn(async move { tended.lines.tend().await }));
    tokio::select! {
        () = accept(&listener, shared, &tasks) => {}
        () = udp::serve(&datagrams, shared) => {}
        () = tend(shared) => {}
        _asked = stop.recv() => {}
    }
    drop((listener, datagrams, preparing));
    shared.lines.close();
    shared.live.drain();
    let _told = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    let limit = Duration::from_secs(shared.flag.borrow().limits.drain_s);
    tracing::info!(connections = shared.live.open(), limit_s = limit.as_secs(), "stopping");
    tasks.close();
    tokio::select! {
        _done = timeout(limit, tasks.wait()) => {}
        _asked_again = stop.recv() => {}
    }
    shared.cut.cancel();
    let _done = timeout(LAST_WORDS, tasks.wait()).await;
}
