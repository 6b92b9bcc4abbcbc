//! Visitors of http tunnels: each request goes to the tunnel that its host, path and headers choose.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::tunnel::{Away, Tunnel};
use crate::carrier::Io;
use crate::wire::frame::Why;

mod auth;
pub(super) mod downloads;
mod forward;
mod headers;
mod pages;
pub(super) mod route;

use auth::Said;
use downloads::Pieces;
use forward::{Lost, Ways};
use route::Found;

const HEAD_WITHIN: Duration = Duration::from_secs(30);
const HEAD_BYTES: usize = 64 * 1024;

pub(super) type Body = Either<Incoming, Either<Full<Bytes>, Pieces>>;

/// Answers a visitor's requests for as long as it has any. It has a `place` among all visitors.
pub(super) async fn serve(
    io: impl Io + 'static,
    visitor: SocketAddr,
    tls: bool,
    gateway: Arc<Gateway>,
    place: OwnedSemaphorePermit,
) {
    let ways = Arc::new(Mutex::new(Ways::of(place)));
    let draining = gateway.draining.clone();
    let late = CancellationToken::new();
    let too_late = late.clone();
    let service = service_fn(move |request| {
        let (gateway, ways, late) = (gateway.clone(), ways.clone(), late.clone());
        async move {
            let answered = if tls && gateway.is_own(&request) {
                own(&request, &gateway, &late).await
            } else {
                answer(request, visitor, tls, &gateway, &ways).await
            };
            Ok::<_, Infallible>(answered)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = too_late.cancelled() => return,
        // Nobody waits for a visitor that asks nothing: the request at hand is the last.
        () = draining.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%visitor, %error, "a visitor's connection ended");
    }
}

impl Gateway {
    /// Whoever asks for it by a name that is no tunnel's asks the gateway itself.
    fn is_own(&self, request: &Request<Incoming>) -> bool {
        downloads::is_asked(request) && headers::host(request).is_none_or(|host| !self.routes().knows(&host))
    }
}

/// What is asked of the gateway itself.
pub(super) async fn own(
    request: &Request<Incoming>,
    gateway: &Gateway,
    late: &CancellationToken,
) -> Response<Body> {
    match gateway.downloads.answer(request, late).await {
        Ok(answer) => {
            answer.map(|pieces| pieces.map_or_else(nothing, |pieces| Either::Right(Either::Right(pieces))))
        }
        Err(status) => page(status),
    }
}

async fn answer(
    request: Request<Incoming>,
    visitor: SocketAddr,
    tls: bool,
    gateway: &Gateway,
    ways: &Mutex<Ways>,
) -> Response<Body> {
    let Some(host) = headers::host(&request) else { return page(StatusCode::BAD_REQUEST) };
    let routes = gateway.routes();
    let tunnel = match routes.find(&host, request.uri().path(), request.headers()) {
        Found::Tunnel(id) => gateway.tunnel_of(id),
        Found::Nothing => None,
    };
    let Some(tunnel) = tunnel else { return page(StatusCode::NOT_FOUND) };
    let kept = ways.lock().await.seat(&tunnel);
    let seat = match kept {
        Some(seat) => tunnel.admits(visitor.ip()).map(|()| seat),
        None => tunnel.enter(visitor.ip()).map(Arc::new),
    };
    let seat = match seat {
        Ok(seat) => seat,
        Err(Away::NotAllowed) => return page(StatusCode::FORBIDDEN),
        Err(Away::Offline | Away::Full) => return page(StatusCode::SERVICE_UNAVAILABLE),
    };
    if !tunnel.may_ask(visitor.ip()) {
        return page(StatusCode::TOO_MANY_REQUESTS);
    }
    if let Some(refused) = unknown(&request, visitor, &tunnel) {
        return refused;
    }
    match forward::forward(request, visitor, tls, seat, &tunnel, ways).await {
        Ok(answer) => answer,
        Err(lost) => lost_page(lost, &tunnel),
    }
}

/// For a tunnel that asks who it is. None: one whom it knows.
fn unknown(request: &Request<Incoming>, visitor: SocketAddr, tunnel: &Tunnel) -> Option<Response<Body>> {
    let known = &tunnel.spec.limits.basic_auth;
    if known.is_empty() {
        return None;
    }
    let said = auth::judge(known, request.headers());
    if said != Said::Nothing && !tunnel.may_guess(visitor.ip()) {
        return Some(page(StatusCode::TOO_MANY_REQUESTS));
    }
    match said {
        Said::Right => return None,
        Said::Wrong => {
            tracing::info!(tunnel = %tunnel.spec.id, %visitor, "a wrong name or password");
            tunnel.guessed_wrong(visitor.ip());
        }
        Said::Nothing => {}
    }
    let mut answer = page(StatusCode::UNAUTHORIZED);
    let ask = HeaderValue::from_static("Basic realm=\"tunnel\", charset=\"UTF-8\"");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, ask);
    Some(answer)
}

fn lost_page(lost: Lost, tunnel: &Tunnel) -> Response<Body> {
    tracing::debug!(tunnel = %tunnel.spec.id, ?lost, "no answer for a visitor");
    match lost {
        Lost::NoWay => page(StatusCode::SERVICE_UNAVAILABLE),
        Lost::Target(Some(Why::TargetTimeout)) => page(StatusCode::GATEWAY_TIMEOUT),
        Lost::Target(_) => page(StatusCode::BAD_GATEWAY),
    }
}

pub(super) fn nothing() -> Body {
    Either::Right(Either::Left(Full::default()))
}

fn page(status: StatusCode) -> Response<Body> {
    pages::page(status).map(|text| Either::Right(Either::Left(Full::new(text))))
}

fn of_target(answer: Response<Incoming>) -> Response<Body> {
    answer.map(Either::Left)
}
