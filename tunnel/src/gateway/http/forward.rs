//! A request on its way to the target, and the answer back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};

use http_body_util::{Either, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use pgw_core::ids::TunnelId;
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::time::timeout;

use super::{Body, headers, of_target};
use crate::gateway::tcp::{self, OPENED};
use crate::gateway::tunnel::{Seat, Tunnel};
use crate::wire::frame::Why;

/// Between the visitor's HTTP and the tunnel.
const ROOM: usize = 64 * 1024;

/// As it came, or once more without a body.
type Asked = Request<Either<Incoming, Empty<Bytes>>>;

/// A visitor's ways to targets: one for each tunnel, one request after the other.
pub(super) struct Ways {
    kept: BTreeMap<TunnelId, Way>,
    /// Among all visitors. Who speaks another protocol by now is one still.
    place: Arc<OwnedSemaphorePermit>,
}

struct Way {
    send: SendRequest<Either<Incoming, Empty<Bytes>>>,
    /// As it was wanted then: it may lead elsewhere by now.
    tunnel: Arc<Tunnel>,
    /// Taken for as long as it lasts.
    seat: Weak<Seat>,
    lost: Arc<OnceLock<Option<Why>>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// The client cannot be reached.
    NoWay,
    /// The client says this of its target, or the target broke off.
    Target(Option<Why>),
}

impl Ways {
    pub(super) fn of(place: OwnedSemaphorePermit) -> Self {
        Self { kept: BTreeMap::new(), place: Arc::new(place) }
    }

    /// The visitor's own, of a request before: who asks again on the same connection is one visitor.
    pub(super) fn seat(&self, tunnel: &Tunnel) -> Option<Arc<Seat>> {
        let seat = self.kept.get(&tunnel.spec.id)?.seat.upgrade()?;
        (tunnel.session() == Some(seat.guest.session().id)).then_some(seat)
    }
}

impl Way {
    /// Not if the target, or the client, has ended it meanwhile.
    async fn is_usable(&mut self, tunnel: &Arc<Tunnel>, seat: &Arc<Seat>) -> bool {
        let same = Arc::ptr_eq(&self.tunnel, tunnel) && self.seat.as_ptr() == Arc::as_ptr(seat);
        same && self.lost.get().is_none() && self.send.ready().await.is_ok()
    }
}

pub(super) async fn forward(
    mut request: Request<Incoming>,
    visitor: SocketAddr,
    tls: bool,
    seat: Arc<Seat>,
    tunnel: &Arc<Tunnel>,
    ways: &Mutex<Ways>,
) -> Result<Response<Body>, Lost> {
    let asks_auth = !tunnel.spec.limits.basic_auth.is_empty();
    let wants_upgrade = headers::prepare(&mut request, visitor, tls, asks_auth);
    // The target is asked by a path, whatever form the visitor used.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_odd| Lost::Target(None))?;
    let theirs = wants_upgrade.then(|| hyper::upgrade::on(&mut request));
    // HTTP/1: the next request comes when this one is answered, and so the lock is held by nobody else.
    let mut ways = ways.lock().await;
    let mut kept = ways.kept.remove(&tunnel.spec.id);
    let is_usable = match &mut kept {
        Some(way) => way.is_usable(tunnel, &seat).await,
        None => false,
    };
    let (mut way, copy) = match kept {
        Some(way) if is_usable => (way, copy(&request)),
        _ => (open(tunnel, visitor, seat.clone()).await?, None),
    };
    let mut answered = way.send.try_send_request(request.map(Either::Left)).await;
    if let Err(broken) = &mut answered
        && let Some(request) = once_more(broken, copy)
    {
        way = open(tunnel, visitor, seat).await?;
        answered = way.send.try_send_request(request).await;
    }
    let mut answer = match answered {
        Ok(answer) => answer,
        Err(_broken) => {
            // Why it broke is known when the tunnel's side has ended, which is now or very soon.
            tokio::task::yield_now().await;
            return Err(Lost::Target(way.lost.get().copied().flatten()));
        }
    };
    let upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    match theirs {
        Some(theirs) if upgraded => {
            let ours = hyper::upgrade::on(&mut answer);
            let place = ways.place.clone();
            tokio::spawn(async move {
                if let (Ok(ours), Ok(theirs)) = (ours.await, theirs.await) {
                    let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
                    let _ended =
                        tokio::io::copy_bidirectional_with_sizes(&mut ours, &mut theirs, ROOM, ROOM).await;
                }
                drop(place);
            });
        }
        // Nobody has asked for another protocol.
        None if upgraded => return Err(Lost::Target(None)),
        Some(_) | None => drop(ways.kept.insert(tunnel.spec.id, way)),
    }
    headers::prepare_answer(&mut answer, upgraded);
    Ok(of_target(answer))
}

/// For the case that the target has ended a kept connection before it saw the request: only of what
/// does no more when it is done twice (RFC 9110, 9.2.2), and while nothing of it is gone.
fn copy(request: &Request<Incoming>) -> Option<Asked> {
    let harmless = request.method().is_idempotent() && request.body().is_end_stream();
    harmless.then(|| {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method.clone_from(request.method());
        parts.uri.clone_from(request.uri());
        parts.headers.clone_from(request.headers());
        Request::from_parts(parts, Either::Right(Empty::new()))
    })
}

/// What may be asked again: what was never sent, and else the copy, if what came was no bad answer.
fn once_more(broken: &mut TrySendError<Asked>, copy: Option<Asked>) -> Option<Asked> {
    broken.take_message().or_else(|| copy.filter(|_| !broken.error().is_parse()))
}

/// A new way to the target. It lasts as long as both ends want it, and so does the visitor's seat.
async fn open(tunnel: &Arc<Tunnel>, visitor: SocketAddr, seat: Arc<Seat>) -> Result<Way, Lost> {
    let session = seat.guest.session().clone();
    let (as_wanted, of_way) = (tunnel.clone(), Arc::downgrade(&seat));
    let channel = timeout(OPENED, session.channel()).await;
    let channel = channel.map_err(|_late| Lost::NoWay)?.map_err(|_gone| Lost::NoWay)?;
    let (near, far) = tokio::io::duplex(ROOM);
    let lost = Arc::<OnceLock<Option<Why>>>::default();
    let (told, tunnel) = (lost.clone(), tunnel.clone());
    tokio::spawn(async move {
        let carried = async {
            let (far, ended) = tcp::relay(far, channel, &tunnel, &seat, visitor, visitor).run().await;
            let _only_once = told.set(ended.told);
            if let Some(channel) = ended.channel {
                session.lanes.give_back(channel);
            }
            drop(far);
        };
        tokio::select! {
            () = carried => {}
            () = session.over.cancelled() => {}
            () = tunnel.over.cancelled() => {}
        }
        drop(seat);
    });
    let (send, connection) = http1::handshake(TokioIo::new(near)).await.map_err(|_broken| Lost::NoWay)?;
    tokio::spawn(async move {
        let _ended = connection.with_upgrades().await;
    });
    Ok(Way { send, tunnel: as_wanted, seat: of_way, lost })
}
