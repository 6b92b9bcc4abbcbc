//! The public port of a tunnel, for TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::ids::TunnelId;
use pgw_core::resources::is_exhausted;
use pgw_core::tunnel::Protocol;
use ppp::v2;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::tunnel::{Away, Seat, Tunnel};
use crate::carrier::Channel;
use crate::relay::{Ended, Relay};
use crate::wire::frame;

/// How many may wait to be accepted.
const BACKLOG: i32 = 4096;
/// When no descriptor is left, trying again at once would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);
/// For a way to the client.
pub(super) const OPENED: Duration = Duration::from_secs(10);
/// A visitor that vanished without a word is noticed after two minutes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Connections that have just ended keep nobody from listening anew.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Until told to stop.
pub(super) async fn listen(
    gateway: Arc<Gateway>,
    id: TunnelId,
    listener: TcpListener,
    stop: CancellationToken,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, visitor)) => {
                // Sent away before anything is spent on it: a reset, as from a closed port.
                let Some(tunnel) = gateway.tunnel_of(id) else { continue };
                let place = gateway.crowd.clone().try_acquire_owned().map_err(|_full| Away::Full);
                match place.and_then(|place| Ok((place, tunnel.enter(visitor.ip())?))) {
                    Ok((place, seat)) => {
                        gateway.tasks.spawn(async move {
                            visit(stream, visitor, tunnel, seat).await;
                            drop(place);
                        });
                    }
                    Err(away) => {
                        tracing::debug!(tunnel = %id, %visitor, reason = %away, "visitor sent away");
                        reset(&stream);
                    }
                }
            }
            Err(error) if is_exhausted(&error) => {
                tracing::warn!(%error, "cannot accept visitors for now");
                tokio::time::sleep(PAUSE).await;
            }
            // That one connection is gone already; the next one is not.
            Err(error) => tracing::debug!(%error, "a visitor was gone before it was accepted"),
        }
    }
}

async fn visit(stream: TcpStream, visitor: SocketAddr, tunnel: Arc<Tunnel>, seat: Seat) {
    let session = seat.guest.session().clone();
    let tuned = stream.set_nodelay(true).and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
    if let Err(error) = tuned {
        tracing::debug!(%visitor, %error, "a connection cannot be tuned");
    }
    let own = stream.local_addr().unwrap_or(visitor);
    let carried = async {
        let Ok(Ok(channel)) = timeout(OPENED, session.channel()).await else {
            reset(&stream);
            return;
        };
        let relay = relay(stream, channel, &tunnel, &seat, visitor, own);
        let (stream, Ended { whole, told, channel }) = relay.run().await;
        if let Some(channel) = channel {
            session.lanes.give_back(channel);
        }
        if !whole {
            tracing::debug!(tunnel = %tunnel.spec.id, %visitor, reason = ?told, "broken off");
            reset(&stream);
        }
    };
    tokio::select! {
        () = carried => {}
        () = session.over.cancelled() => {}
        () = tunnel.over.cancelled() => {}
    }
    drop(seat);
}

/// The visitor's bytes, behind who it is and where it wants to go.
pub(super) fn relay<L: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    local: L,
    channel: Channel,
    tunnel: &Tunnel,
    seat: &Seat,
    visitor: SocketAddr,
    own: SocketAddr,
) -> Relay<L> {
    let open = tunnel.opening(false, visitor);
    let mut opening = frame::open(&open.encode()).unwrap_or_default();
    if tunnel.spec.proxy_protocol && tunnel.spec.protocol != Protocol::Http {
        let header = proxy_header(visitor, own);
        opening.extend(frame::data_head(header.len()).unwrap_or_default());
        opening.extend(header);
    }
    let (up, down) = seat.flows(tunnel);
    Relay::opening(local, channel, opening, open.compression).with(up, down)
}

/// PROXY protocol, version 2. Both addresses are of one family, or it says nothing of them.
fn proxy_header(visitor: SocketAddr, own: SocketAddr) -> Vec<u8> {
    let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let addresses = v2::Addresses::from((canonical(visitor), canonical(own)));
    v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, v2::Protocol::Stream, addresses)
        .build()
        .unwrap_or_default()
}

/// Nobody shall take what arrived for the whole.
pub(super) fn reset(stream: &TcpStream) {
    let _gone_already = stream.set_zero_linger();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_told_who_the_visitor_is() {
        let header = proxy_header("203.0.113.9:50000".parse().unwrap(), "192.0.2.1:9000".parse().unwrap());
        assert_eq!(header[..12], *b"\r\n\r\n\0\r\nQUIT\n");
        assert_eq!(header[12..16], [0x21, 0x11, 0, 12]);
        assert_eq!(header[16..], [203, 0, 113, 9, 192, 0, 2, 1, 0xc3, 0x50, 0x23, 0x28]);
    }
}
