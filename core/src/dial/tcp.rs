//! From a host and a port to a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpFastOpenConnect;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::{Deadline, DialError};
use crate::health::CheckFailure;
use crate::resources::shortage;

/// Of a name with many addresses, how many are tried.
const MAX_ADDRESSES: usize = 4;

/// A peer that vanished without a word is noticed after two minutes.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// When the first packet to an upstream leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syn {
    /// At once: a connection that stands is one that was answered.
    Alone,
    /// With the first words in it, if this upstream has taken such before (TCP fast open,
    /// RFC 7413). It may arrive twice, and so nothing but a handshake or a hello may be in it.
    Full,
}

pub(super) async fn connect(
    host: &str,
    port: u16,
    syn: Syn,
    deadline: Deadline,
) -> Result<TcpStream, DialError> {
    let addresses = resolve(host, port, deadline).await?;
    // Of several addresses one may be dead, which a full packet learns too late to try the next.
    let syn = if addresses.len() == 1 { syn } else { Syn::Alone };
    let mut last = DialError::new(CheckFailure::Dns, format!("resolving {host}: it has no address"), None);
    for (tried, address) in addresses.iter().enumerate() {
        // A silent address leaves the others their share of the time.
        let left = u32::try_from(addresses.len() - tried).unwrap_or(1);
        let now = Instant::now();
        let share = now + deadline.at.saturating_duration_since(now) / left;
        match timeout_at(share, connect_to(*address, syn)).await {
            Ok(Ok(stream)) => match stream.set_nodelay(true) {
                Ok(()) => return Ok(stream),
                Err(source) => last = failed(*address, source),
            },
            Ok(Err(source)) => last = failed(*address, source),
            Err(_elapsed) => {
                last = deadline.missed(CheckFailure::Timeout, &format!("while connecting to {address}"));
            }
        }
    }
    Err(last)
}

async fn connect_to(address: SocketAddr, syn: Syn) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if syn == Syn::Full {
        // A kernel without it connects as ever.
        let _unknown = setsockopt(&socket, TcpFastOpenConnect, &true);
    }
    socket.connect(address).await
}

async fn resolve(host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>, DialError> {
    deadline
        .hold(CheckFailure::Dns, || format!("while resolving {host}"), lookup_host((host, port)))
        .await?
        .map(|addresses| addresses.take(MAX_ADDRESSES).collect())
        .map_err(|told| {
            // The C library says that the name is not known when it cannot open its own files.
            let source = shortage().unwrap_or(told);
            DialError::new(CheckFailure::Dns, format!("resolving {host}: {source}"), Some(source))
        })
}

fn failed(address: SocketAddr, source: io::Error) -> DialError {
    let (kind, words) = if let Some(unanswered) = unanswered(&source) {
        unanswered
    } else if source.kind() == io::ErrorKind::AddrNotAvailable && address.is_ipv4() {
        // With IPv6 it means that this machine has no address from which that one is reached.
        (CheckFailure::Gateway, "no local port is left".to_owned())
    } else {
        // No route, an ICMP error, or a firewall's no.
        (CheckFailure::Unreachable, source.to_string())
    };
    DialError::new(kind, format!("connecting to {address}: {words}"), Some(source))
}

/// Whether the first packet itself was refused, or lost.
pub(super) fn unanswered(source: &io::Error) -> Option<(CheckFailure, String)> {
    let is = |kind| source.kind() == kind;
    if is(io::ErrorKind::ConnectionRefused) {
        Some((CheckFailure::Refused, "connection refused".to_owned()))
    } else if is(io::ErrorKind::TimedOut) {
        Some((CheckFailure::Timeout, "no answer".to_owned()))
    } else if is(io::ErrorKind::HostUnreachable) || is(io::ErrorKind::NetworkUnreachable) {
        Some((CheckFailure::Unreachable, source.to_string()))
    } else {
        None
    }
}

/// The kernel asks now and then whether a silent peer is still there.
pub fn keep_alive(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_keepalive(&KEEPALIVE)
}
