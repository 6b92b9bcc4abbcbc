//! The upstreams' handshakes as pure functions: bytes in, bytes out, judged byte by byte.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV4};

use crate::health::CheckFailure;
use crate::proxy::Host;

pub mod hello;
pub mod http_connect;
pub mod socks5;

/// Where the tunnel shall end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    Addr(SocketAddrV4),
    Name(Host, u16),
}

/// The upstream's no, or what it said instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub kind: CheckFailure,
    /// One short line of printable ASCII, such as "407 Proxy Authentication Required".
    pub detail: String,
}

impl Destination {
    pub fn port(&self) -> u16 {
        match self {
            Self::Addr(addr) => addr.port(),
            Self::Name(_, port) => *port,
        }
    }
}

/// As an authority is written: `host:port`, with brackets around an IPv6 address.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(host, port) if host.as_str().parse::<Ipv6Addr>().is_ok() => {
                write!(f, "[{host}]:{port}")
            }
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl Refusal {
    fn new(kind: CheckFailure, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_written_as_an_authority() {
        let name = |host: &str| Destination::Name(host.parse().unwrap(), 443).to_string();
        assert_eq!(name("example.com"), "example.com:443");
        assert_eq!(name("2001:db8::1"), "[2001:db8::1]:443");
        assert_eq!(name("192.0.2.1"), "192.0.2.1:443");
        assert_eq!(Destination::Addr("192.0.2.1:80".parse().unwrap()).to_string(), "192.0.2.1:80");
    }
}
