//! From a host and a port to a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
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

pub(super) async fn connect(host: &str, port: u16, deadline: Deadline) -> Result<TcpStream, DialError> {
    let addresses = resolve(host, port, deadline).await?;
    let mut last = DialError::new(CheckFailure::Dns, format!("resolving {host}: it has no address"), None);
    for (tried, address) in addresses.iter().enumerate() {
        // A silent address leaves the others their share of the time.
        let left = u32::try_from(addresses.len() - tried).unwrap_or(1);
        let now = Instant::now();
        let share = now + deadline.at.saturating_duration_since(now) / left;
        match timeout_at(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => match tune(&stream) {
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
    let (kind, words) = if source.kind() == io::ErrorKind::ConnectionRefused {
        (CheckFailure::Refused, "connection refused".to_owned())
    } else if source.kind() == io::ErrorKind::TimedOut {
        (CheckFailure::Timeout, "no answer".to_owned())
    } else if source.kind() == io::ErrorKind::AddrNotAvailable && address.is_ipv4() {
        // With IPv6 it means that this machine has no address from which that one is reached.
        (CheckFailure::Gateway, "no local port is left".to_owned())
    } else {
        // No route, an ICMP error, or a firewall's no.
        (CheckFailure::Unreachable, source.to_string())
    };
    DialError::new(kind, format!("connecting to {address}: {words}"), Some(source))
}

/// Small writes leave at once, and a peer that died is noticed.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE)
}
