//! Names for things. Whoever holds one of these need not check it again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = Uuid))]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

id! {
    /// An upstream proxy.
    ProxyId,
    /// A registered device.
    ClientId,
    /// One client's way out by one proxy.
    MappingId,
    /// An API token.
    TokenId,
    /// Somebody who is told of events.
    WebhookId,
    /// A person who logs in.
    UserId,
    /// A machine that keeps reverse tunnels.
    TunnelClientId,
    /// A reverse tunnel.
    TunnelId,
    /// One stay of a tunnel client at the gateway.
    SessionId,
    /// A code by which a tunnel client becomes known.
    EnrolmentId,
    /// An apply that has to be confirmed.
    ApplyId,
    /// A database: the same for all gateways that share it, and for what is restored from its backup.
    DatabaseId,
}

/// Which version of the configuration: counted by the API, confirmed by the agent. It only
/// grows within one database; after a restore it may be smaller, so it is compared for
/// equality and never for order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64))]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The one IPv4 address of a device; written `a.b.c.d/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String, example = "192.168.2.3/32"))]
#[serde(try_from = "String", into = "String")]
pub struct ClientIp(Ipv4Addr);

/// Why an address cannot be a client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientIpError {
    #[error("is not an IPv4 address, such as 192.168.2.3")]
    Malformed,
    #[error("is IPv6; a client is one IPv4 address")]
    Ipv6,
    #[error("has a prefix that is not /32; a client is exactly one address")]
    NotOneAddress,
    #[error("is the unspecified address")]
    Unspecified,
    #[error("is a loopback address")]
    Loopback,
    #[error("is a multicast address")]
    Multicast,
    #[error("is the broadcast address")]
    Broadcast,
    #[error("is an address that no device can have (0.0.0.0/8 and 240.0.0.0/4 are reserved)")]
    Reserved,
    #[error("is one of the leak drill's own (192.0.2.240/29)")]
    Drill,
}

impl ClientIp {
    pub fn new(ip: Ipv4Addr) -> Result<Self, ClientIpError> {
        if ip.is_unspecified() {
            Err(ClientIpError::Unspecified)
        } else if ip.is_loopback() {
            Err(ClientIpError::Loopback)
        } else if ip.is_multicast() {
            Err(ClientIpError::Multicast)
        } else if ip.is_broadcast() {
            Err(ClientIpError::Broadcast)
        } else if matches!(ip.octets(), [0 | 240.., ..]) {
            Err(ClientIpError::Reserved)
        } else if matches!(ip.octets(), [192, 0, 2, 240..=247]) {
            Err(ClientIpError::Drill)
        } else {
            Ok(Self(ip))
        }
    }

    pub fn addr(self) -> Ipv4Addr {
        self.0
    }
}

impl FromStr for ClientIp {
    type Err = ClientIpError;

    fn from_str(text: &str) -> Result<Self, ClientIpError> {
        let (addr, prefix) = match text.trim().split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text.trim(), None),
        };
        let ip = match addr.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => ip,
            Ok(IpAddr::V6(_)) => return Err(ClientIpError::Ipv6),
            Err(_) => return Err(ClientIpError::Malformed),
        };
        match prefix {
            None | Some("32") => Self::new(ip),
            Some(other) if other.parse::<u8>().is_ok_and(|p| p < 32) => Err(ClientIpError::NotOneAddress),
            Some(_) => Err(ClientIpError::Malformed),
        }
    }
}

impl TryFrom<String> for ClientIp {
    type Error = ClientIpError;

    fn try_from(text: String) -> Result<Self, ClientIpError> {
        text.parse()
    }
}

impl From<ClientIp> for String {
    fn from(ip: ClientIp) -> Self {
        ip.to_string()
    }
}

impl fmt::Display for ClientIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/32", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_exactly_one_usable_ipv4_address() {
        for (text, want) in [
            ("192.168.2.3", Ok("192.168.2.3/32")),
            ("192.168.2.3/32", Ok("192.168.2.3/32")),
            (" 10.0.0.7 ", Ok("10.0.0.7/32")),
            ("192.168.2.0/24", Err(ClientIpError::NotOneAddress)),
            ("192.168.2.3/31", Err(ClientIpError::NotOneAddress)),
            ("192.168.2.3/0", Err(ClientIpError::NotOneAddress)),
            ("192.168.2.3/33", Err(ClientIpError::Malformed)),
            ("192.168.2.3/", Err(ClientIpError::Malformed)),
            ("192.168.2.3/-1", Err(ClientIpError::Malformed)),
            ("192.168.2", Err(ClientIpError::Malformed)),
            ("192.168.002.3", Err(ClientIpError::Malformed)),
            ("", Err(ClientIpError::Malformed)),
            ("phone", Err(ClientIpError::Malformed)),
            ("fd00::1", Err(ClientIpError::Ipv6)),
            ("fd00::1/128", Err(ClientIpError::Ipv6)),
            ("::ffff:10.0.0.1", Err(ClientIpError::Ipv6)),
            ("0.0.0.0", Err(ClientIpError::Unspecified)),
            ("127.0.0.1", Err(ClientIpError::Loopback)),
            ("127.9.9.9/32", Err(ClientIpError::Loopback)),
            ("224.0.0.251", Err(ClientIpError::Multicast)),
            ("255.255.255.255", Err(ClientIpError::Broadcast)),
            ("0.1.2.3", Err(ClientIpError::Reserved)),
            ("240.0.0.1", Err(ClientIpError::Reserved)),
            ("192.0.2.240", Err(ClientIpError::Drill)),
            ("192.0.2.239", Ok("192.0.2.239/32")),
        ] {
            let got = text.parse::<ClientIp>();
            assert_eq!(got.map(|ip| ip.to_string()), want.map(str::to_owned), "{text:?}");
        }
    }
}
