//! Everything that comes to `PGW_TUNNEL_LISTEN`: clients, natively or as a WebSocket, and visitors of
//! http tunnels, with TLS or without. What it is shows in the first byte, the certificate that is
//! asked for, and the path.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pgw_core::resources::is_exhausted;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::first::{self, Carrier, Upgraded};
use super::strangers::{Place, Strangers};
use super::{Gateway, http};
use crate::carrier::Io;
use crate::carrier::ahead::Ahead;
use crate::carrier::quic;
use crate::wire::{ALPN, SERVER_NAME};

/// For TLS and the first words.
pub(super) const HELLO: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(100);
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// Until the gateway drains.
pub(super) async fn run(gateway: Arc<Gateway>, listener: TcpListener, tls: Arc<ServerConfig>) {
    let room = Arc::<Strangers>::default();
    let acceptor = TlsAcceptor::from(tls);
    while let Some(accepted) = gateway.draining.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_exhausted(&error) => {
                tracing::warn!(%error, "cannot accept for now");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(_gone) => continue,
        };
        // One too many is hung up on: those who say nothing make room within seconds.
        let Some(place) = room.enter(peer.ip()) else { continue };
        let (gateway, acceptor) = (gateway.clone(), acceptor.clone());
        let tasks = gateway.tasks.clone();
        tasks.spawn(async move {
            let over = gateway.over.clone();
            let greeted = Box::pin(greet(gateway, acceptor, stream, peer, place));
            over.run_until_cancelled(greeted).await;
        });
    }
}

/// The same by UDP, until the gateway drains.
pub(super) async fn run_quic(gateway: Arc<Gateway>, endpoint: quinn::Endpoint) {
    let room = Arc::<Strangers>::default();
    while let Some(Some(incoming)) = gateway.draining.run_until_cancelled(endpoint.accept()).await {
        // A source that is not proven could be anybody's.
        if !incoming.remote_address_validated() && incoming.may_retry() {
            let _gone = incoming.retry();
            continue;
        }
        let Some(place) = room.enter(incoming.remote_address().ip()) else {
            incoming.refuse();
            continue;
        };
        let greeted = gateway.clone();
        gateway.tasks.spawn(async move {
            let over = greeted.over.clone();
            over.run_until_cancelled(Box::pin(greet_quic(greeted, incoming, place))).await;
        });
    }
    gateway.over.cancelled().await;
    endpoint.close(0_u8.into(), b"the gateway stops");
}

async fn greet_quic(gateway: Arc<Gateway>, incoming: quinn::Incoming, place: Place) {
    let peer = incoming.remote_address();
    let greeted = timeout(HELLO, async {
        let connection = incoming.await.map_err(std::io::Error::other)?;
        let stream = quic::accept(&connection).await?;
        Ok::<_, std::io::Error>((connection, stream))
    });
    if let Ok(Ok((connection, stream))) = greeted.await {
        let closing = connection.clone();
        first::meet(gateway, stream, peer, Carrier::Quic(connection), place).await;
        closing.close(0_u8.into(), b"over");
    }
}

async fn greet(
    gateway: Arc<Gateway>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
) {
    let tuned = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
    if let Err(error) = tuned {
        tracing::debug!(%peer, %error, "a connection cannot be tuned");
    }
    let mut byte = [0];
    match timeout(HELLO, stream.peek(&mut byte)).await {
        // A TLS handshake begins with this, and no HTTP does.
        Ok(Ok(1)) if byte == [0x16] => {}
        Ok(Ok(1)) => return visit(stream, peer, false, gateway, place).await,
        _ => return,
    }
    let stream = match timeout(HELLO, acceptor.accept(Ahead::new(stream))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS failed"),
        Err(_late) => return,
    };
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() == Some(ALPN) {
        // Clients speak 1.3 only; whoever pretends to be one has to as well.
        if session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
            first::meet(gateway, stream, peer, Carrier::Tls, place).await;
        }
    } else if session.server_name() == Some(SERVER_NAME) {
        as_browser(gateway, stream, peer, place).await;
    } else {
        visit(stream, peer, true, gateway, place).await;
    }
}

/// A visitor of http tunnels, who leaves his place among the strangers to the next one.
async fn visit(stream: impl Io + 'static, peer: SocketAddr, tls: bool, gateway: Arc<Gateway>, place: Place) {
    let Ok(among_visitors) = gateway.crowd.clone().try_acquire_owned() else { return };
    drop(place);
    http::serve(stream, peer, tls, gateway, among_visitors).await;
}

/// One request, which asks for a WebSocket; what comes behind it is a client's connection. Or for the
/// program, by a machine that has yet to become a client.
async fn as_browser(
    gateway: Arc<Gateway>,
    stream: TlsStream<Ahead<TcpStream>>,
    peer: SocketAddr,
    place: Place,
) {
    let (given, upgraded) = tokio::sync::oneshot::channel::<Upgraded>();
    let given = Arc::new(std::sync::Mutex::new(Some(given)));
    let (downloading, late) = (CancellationToken::new(), CancellationToken::new());
    let in_time = async {
        tokio::select! {
            () = tokio::time::sleep(HELLO) => {}
            () = downloading.cancelled() => late.cancelled().await,
        }
    };
    let (house, begins, ends) = (gateway.clone(), downloading.clone(), late.clone());
    let service = service_fn(move |request| {
        let (given, gateway) = (given.clone(), house.clone());
        let (begins, ends) = (begins.clone(), ends.clone());
        async move {
            Ok::<_, std::convert::Infallible>(if http::downloads::is_asked(&request) {
                begins.cancel();
                http::own(&request, &gateway, &ends).await
            } else {
                first::upgrade(request, &given)
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HELLO)
        // Who may ask again and again would never make room for the next stranger.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let served = tokio::select! {
        served = served => served.is_ok(),
        () = in_time => false,
    };
    if served
        && let Ok(upgraded) = upgraded.await
        && let Ok(Ok(io)) = timeout(HELLO, upgraded.websocket()).await
    {
        first::meet(gateway, io, peer, Carrier::WebSocket, place).await;
    }
}
