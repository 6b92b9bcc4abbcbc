//! HTTP for whoever connects: not too many, nobody crowded out by those who say nothing, all told
//! when to end. Behind the feature `serve`, for the programs that listen for HTTP.
//!
//! An answer may take as long as it likes, as streams of events do: only heads have a time.

mod room;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::resources::{file_limit, is_exhausted};
use crate::seldom::Seldom;
use room::{Busy, Guest, Room, Seat};

/// For a request's head, from the first byte or from the end of the request before it.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
const HEAD_BYTES: usize = 64 * 1024;
/// Of the files that the process may open, the machine's own connections take at most this part,
/// and as much those of others: the rest is for the work itself.
const PART_OF_FILES: usize = 8;
/// How many may wait to be accepted. The usual 128 are full after a moment of crowd, and whoever
/// comes then is not heard for a second or more.
const BACKLOG: i32 = 4096;
/// A reader that takes nothing of its answer, or is gone without a word, is given up after this.
const STALLED_MS: u32 = 60_000;
/// When no descriptor is left, trying again at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// A request's place among the connections. Whoever makes something else of the connection, such as a
/// WebSocket, keeps it for as long as that lasts.
#[derive(Clone)]
pub struct Place(#[expect(dead_code, reason = "held, and not looked at")] Arc<Busy>);

#[derive(Debug, thiserror::Error)]
#[error("its place was given to another connection")]
struct Ousted;

/// Accepts until told to stop; connections are `tasks`. At most `most` of this machine and `most`
/// of others are open at the same time; fewer where the process may open few files.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    most: usize,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    // Listening once more changes the length of the queue, and nothing else.
    if let Err(error) = rustix::net::listen(&listener, BACKLOG) {
        tracing::warn!(%error, "the queue of those who connect stays short");
    }
    let most = most.min(file_limit() / PART_OF_FILES);
    let room = Room::new(most);
    let (mut exhausted, mut refusals) = (false, Seldom::default());
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                exhausted = false;
                let own = stream.local_addr().ok().map(|own| own.ip());
                if let Some(seat) = room.enter(Guest::of(peer.ip(), own)) {
                    tasks.spawn(connection(stream, peer, app.clone(), seat, stop.clone()));
                } else if let Some(before) = refusals.due(Instant::now().into_std()) {
                    tracing::warn!(%peer, most, before, "too many connections at once; this one was refused");
                }
            }
            Err(error) if is_exhausted(&error) => {
                if !exhausted {
                    tracing::error!(%error, "cannot accept for now");
                }
                exhausted = true;
                room.make_room();
                tokio::time::sleep(PAUSE).await;
            }
            // That one connection is gone already; the next one is not.
            Err(error) => tracing::debug!(%error, "a connection was gone before it was accepted"),
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, app: Router, seat: Seat, stop: CancellationToken) {
    // Small answers and events should not wait for more.
    let tuned = stream.set_nodelay(true);
    if let Err(error) = tuned.and_then(|()| Ok(set_tcp_user_timeout(&stream, STALLED_MS)?)) {
        tracing::debug!(%peer, %error, "a connection cannot be tuned");
    }
    let seat = Arc::new(seat);
    let service = service_fn(|mut request: Request<Incoming>| {
        let (busy, app) = (seat.busy(), app.clone());
        async move {
            let busy = Arc::new(busy.ok_or(Ousted)?);
            request.extensions_mut().insert(Place(busy.clone()));
            request.extensions_mut().insert(ConnectInfo(peer));
            let Ok(response) = app.oneshot(request.map(Body::new)).await;
            // The body takes the guard along, to where its last piece has been handed over.
            let until_sent = move |body: Body| {
                Body::new(body.map_err(move |error| {
                    let _still = &busy;
                    error
                }))
            };
            Ok::<_, Ousted>(response.map(until_sent))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    // In this order: what can still be said is said before the connection is looked at.
    let ended = tokio::select! {
        biased;
        ended = serving.as_mut() => ended,
        () = seat.ousted() => return,
        () = stop.cancelled() => {
            if seat.is_quiet() {
                return;
            }
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
}
