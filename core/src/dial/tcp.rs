//! From a host and a port to a connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpFastOpenConnect;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use super::names::Names;
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
    names: &Names,
    host: &str,
    port: u16,
    syn: Syn,
    deadline: Deadline,
) -> Result<TcpStream, DialError> {
    let addresses = resolve(names, host, port, deadline).await?;
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
    // It may have moved.
    names.forget(host);
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

async fn resolve(
    names: &Names,
    host: &str,
    port: u16,
    deadline: Deadline,
) -> Result<Vec<SocketAddr>, DialError> {
    let with_port = |addresses: Vec<IpAddr>| addresses.into_iter().map(|ip| (ip, port).into()).collect();
    let known = host.parse().ok().map(|ip| vec![ip]).or_else(|| names.fresh(host));
    if let Some(addresses) = known {
        return Ok(with_port(addresses));
    }
    let found = deadline
        .hold(CheckFailure::Dns, || format!("while resolving {host}"), lookup_host((host, port)))
        .await?
        .map_err(|told| {
            // The C library says that the name is not known when it cannot open its own files.
            let source = shortage().unwrap_or(told);
            DialError::new(CheckFailure::Dns, format!("resolving {host}: {source}"), Some(source))
        })?;
    let addresses: Vec<IpAddr> = found.take(MAX_ADDRESSES).map(|address| address.ip()).collect();
    names.keep(host, &addresses);
    Ok(with_port(addresses))
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_upstream_is_not_looked_up_again_at_once_unless_it_is_not_there_any_more() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let names = Names::default();
        let connect = async || {
            let deadline = Deadline::within(Duration::from_secs(20));
            connect(&names, "localhost", port, Syn::Alone, deadline).await
        };
        // Where nobody listens: what is known is used, and forgotten when it is of no use.
        let elsewhere: IpAddr = Ipv4Addr::new(127, 0, 0, 77).into();
        names.keep("localhost", &[elsewhere]);
        let error = connect().await.unwrap_err();
        assert_eq!(error.detail, format!("connecting to 127.0.0.77:{port}: connection refused"));
        connect().await.unwrap();
        assert!(names.fresh("localhost").is_some_and(|known| known.contains(&Ipv4Addr::LOCALHOST.into())));
    }
}
