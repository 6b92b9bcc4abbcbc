//! Which resolvers answer for open devices, and how they are written.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::settings::HttpUrl;

/// Each is asked in its turn, and nobody waits for more.
pub const MAX_RESOLVERS: usize = 8;

/// What a mistake in `PGW_DNS_RESOLVERS` is told.
pub const RESOLVERS_ALLOWED: &str = "1 to 8 resolvers by IPv4 address, such as https://1.1.1.1/dns-query or tcp://9.9.9.9:53, with commas between";

/// Who answers the DNS questions of open devices (`PGW_DNS`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DnsChoice {
    /// Each device's own forwarder, through the device's own upstream.
    #[default]
    Upstream,
    /// The gateway's own resolver, by the gateway's own uplink.
    Gateway,
}

/// A resolver, known by its address: a name would have to be looked up before the first answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Resolver {
    /// DNS over HTTPS (RFC 8484). The certificate must be for the address.
    Https { address: SocketAddrV4, path: String },
    /// DNS over TCP (RFC 7766).
    Tcp(SocketAddrV4),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a resolver by address, such as https://1.1.1.1/dns-query or tcp://9.9.9.9:53")]
pub struct ResolverError(String);

impl DnsChoice {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "upstream" => Some(Self::Upstream),
            "gateway" => Some(Self::Gateway),
            _ => None,
        }
    }
}

impl Resolver {
    /// Two operators, so that the trouble of one is not the trouble of all. Their certificates
    /// are for their addresses too.
    pub fn defaults() -> Vec<Self> {
        [Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)]
            .map(|ip| Self::Https { address: SocketAddrV4::new(ip, 443), path: "/dns-query".to_owned() })
            .into()
    }

    /// Written with commas between; none twice.
    pub fn parse_list(text: &str) -> Option<Vec<Self>> {
        let mut list = Vec::new();
        for part in text.split(',') {
            let resolver: Self = part.trim().parse().ok()?;
            if list.len() == MAX_RESOLVERS || list.contains(&resolver) {
                return None;
            }
            list.push(resolver);
        }
        Some(list)
    }

    /// As a URL has it: the port is left out where everybody expects it.
    pub fn authority(&self) -> String {
        match self {
            Self::Https { address, .. } if address.port() == 443 => address.ip().to_string(),
            Self::Https { address, .. } | Self::Tcp(address) => address.to_string(),
        }
    }

    pub fn address(&self) -> SocketAddrV4 {
        match self {
            Self::Https { address, .. } | Self::Tcp(address) => *address,
        }
    }
}

impl FromStr for Resolver {
    type Err = ResolverError;

    fn from_str(text: &str) -> Result<Self, ResolverError> {
        read(text).ok_or_else(|| ResolverError(text.chars().take(80).collect()))
    }
}

fn read(text: &str) -> Option<Resolver> {
    if let Some(rest) = text.strip_prefix("tcp://") {
        let (ip, port) = rest.rsplit_once(':').unwrap_or((rest, "53"));
        let port = port.parse().ok().filter(|port| *port > 0)?;
        return Some(Resolver::Tcp(SocketAddrV4::new(somebody(ip)?, port)));
    }
    let url = HttpUrl::parse(text).filter(|url| url.tls && text.len() <= 255)?;
    // A fragment is for whoever reads a page; a server never sees it.
    let path = Some(url.path).filter(|path| path.len() > 1 && !path.contains('#'))?;
    Some(Resolver::Https { address: SocketAddrV4::new(somebody(url.host.as_str())?, url.port), path })
}

/// An address that one machine can have.
fn somebody(text: &str) -> Option<Ipv4Addr> {
    let ip: Ipv4Addr = text.parse().ok()?;
    let nobody = ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast();
    (!nobody).then_some(ip)
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Https { path, .. } => write!(f, "https://{}{path}", self.authority()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl TryFrom<String> for Resolver {
    type Error = ResolverError;

    fn try_from(text: String) -> Result<Self, ResolverError> {
        text.parse()
    }
}

impl From<Resolver> for String {
    fn from(resolver: Resolver) -> Self {
        resolver.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_written_by_its_address_and_reads_back_the_same() {
        for (text, want) in [
            ("https://1.1.1.1/dns-query", Some("https://1.1.1.1/dns-query")),
            ("https://1.1.1.1:443/dns-query", Some("https://1.1.1.1/dns-query")),
            ("https://192.0.2.1:8443/x?y=1", Some("https://192.0.2.1:8443/x?y=1")),
            ("tcp://9.9.9.9:53", Some("tcp://9.9.9.9:53")),
            ("tcp://9.9.9.9", Some("tcp://9.9.9.9:53")),
            ("https://dns.example/dns-query", None),
            ("https://1.1.1.1", None),
            ("https://1.1.1.1/", None),
            ("https://1.1.1.1/a b", None),
            ("https://1.1.1.1/dns-query#x", None),
            ("https://user@1.1.1.1/dns-query", None),
            ("https://[2001:db8::1]/dns-query", None),
            ("http://1.1.1.1/dns-query", None),
            ("udp://9.9.9.9:53", None),
            ("9.9.9.9", None),
            ("tcp://9.9.9.9:0", None),
            ("tcp://9.9.9.9:70000", None),
            ("tcp://0.0.0.0:53", None),
            ("tcp://224.0.0.1:53", None),
            ("tcp://255.255.255.255:53", None),
            ("", None),
        ] {
            let got = text.parse::<Resolver>().ok().map(|resolver| resolver.to_string());
            assert_eq!(got.as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn a_list_holds_each_resolver_once_and_not_too_many() {
        let list = Resolver::parse_list("https://1.1.1.1/dns-query, tcp://9.9.9.9:53").unwrap();
        assert_eq!(list.iter().map(Resolver::address).map(|a| a.port()).collect::<Vec<_>>(), [443, 53]);
        let many: Vec<String> = (1..=9).map(|n| format!("tcp://192.0.2.{n}")).collect();
        assert_eq!(Resolver::parse_list(&many[..8].join(",")).unwrap().len(), 8);
        for text in ["", ",", "tcp://9.9.9.9,", "tcp://9.9.9.9,tcp://9.9.9.9:53", &many.join(",")] {
            assert_eq!(Resolver::parse_list(text), None, "{text:?}");
        }
    }
}
