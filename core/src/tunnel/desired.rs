//! What shall be open, for whom and to where: one document from the API to `pgw-tunneld`, which
//! keeps the last one, so that it starts and goes on without the API.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Filter, PortSpan};
use crate::ids::{EnrolmentId, TunnelClientId, TunnelId};
use crate::redact::Secret;

/// Of the document and of the words on the control socket.
pub const VERSION: u16 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    pub version: u16,
    pub revision: Uuid,
    pub clients: Vec<ClientSpec>,
    /// The operator's. Those that nobody has verified yet are not among them.
    pub tunnels: Vec<TunnelSpec>,
    #[serde(default)]
    pub enrolments: Vec<Enrolment>,
    /// Ports that no client is given: the forwarders' range, and those of tunnels that are not open.
    #[serde(default)]
    pub reserved: Vec<PortSpan>,
    /// The operator's, on top of each client's own.
    #[serde(default = "Filter::open")]
    pub filter: Filter,
    /// How long the ports that a client asked for are kept for it when it is away.
    #[serde(default = "usual_grace_s")]
    pub grace_s: u32,
    /// Of what is shown at `/healthz` by those who may know which clients are there. None: nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_token: Option<TokenHash>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSpec {
    pub id: TunnelClientId,
    /// What its configuration calls it.
    pub name: String,
    pub enabled: bool,
    /// Absent until it is enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenHash>,
    /// Nothing means the whole range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_ports: Vec<PortSpan>,
    /// Of the operator's and its own together.
    pub max_tunnels: u32,
    /// Visitors' connections at the same time.
    pub max_connections: u32,
    /// Bytes per second, in each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelSpec {
    pub id: TunnelId,
    pub name: String,
    pub client_id: TunnelClientId,
    pub protocol: Protocol,
    /// Of all but http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// Of http only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    pub target: Target,
    #[serde(default)]
    pub limits: Limits,
    /// Of what is not compressed already.
    #[serde(default)]
    pub compression: bool,
    /// The target is told who the visitor is (PROXY protocol, version 2); tcp only.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// After this a visitor's datagrams count as a new conversation.
    #[serde(default = "usual_udp_idle_s")]
    pub udp_idle_s: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Tcp,
    Udp,
    /// TCP and UDP on the same port number.
    Both,
    Http,
}

/// Who made a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Client,
    Operator,
}

/// Which requests an http tunnel gets: those for `host`, below `path`, with `header`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A label below `PGW_TUNNEL_DOMAIN`, or a whole name.
    pub host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A header's name and its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<(String, String)>,
}

/// Where the client goes to. A name is looked up there, each time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes per second, in each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_visitor: Option<u32>,
    /// Of one visitor, http only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Nothing means everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub visitor_allow: Vec<IpNet>,
    /// Of http only; one of them has to be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub basic_auth: Vec<BasicAuth>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicAuth {
    pub username: String,
    #[serde(serialize_with = "Secret::write_out")]
    pub password: Secret,
}

/// A code by which a client may once make its token known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    pub id: EnrolmentId,
    pub client_id: TunnelClientId,
    pub code: TokenHash,
    pub expires_at: Timestamp,
}

/// The SHA-256 of something random, as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash(String);

/// Why a document is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DesiredError {
    #[error("it is of version {0}, and this program reads version {VERSION}")]
    Version(u16),
    #[error("{0} is in it twice")]
    Twice(Uuid),
    #[error("tunnel {0} belongs to a client that is not in it")]
    NoClient(TunnelId),
    #[error("tunnel {0} needs a port if it is not http, and a route and no port if it is")]
    NoWayIn(TunnelId),
}

impl Desired {
    /// Nobody, and nothing open.
    pub fn nothing() -> Self {
        Self {
            version: VERSION,
            revision: Uuid::nil(),
            clients: Vec::new(),
            tunnels: Vec::new(),
            enrolments: Vec::new(),
            reserved: Vec::new(),
            filter: Filter::open(),
            grace_s: usual_grace_s(),
            health_token: None,
        }
    }

    pub fn client(&self, id: TunnelClientId) -> Option<&ClientSpec> {
        self.clients.iter().find(|client| client.id == id)
    }

    pub fn check(&self) -> Result<(), DesiredError> {
        if self.version != VERSION {
            return Err(DesiredError::Version(self.version));
        }
        let mut seen = BTreeSet::new();
        let ids = self.clients.iter().map(|client| client.id.0);
        let ids = ids.chain(self.tunnels.iter().map(|tunnel| tunnel.id.0));
        for id in ids.chain(self.enrolments.iter().map(|enrolment| enrolment.id.0)) {
            if !seen.insert(id) {
                return Err(DesiredError::Twice(id));
            }
        }
        for tunnel in &self.tunnels {
            if self.client(tunnel.client_id).is_none() {
                return Err(DesiredError::NoClient(tunnel.id));
            }
            let fits = match tunnel.protocol {
                Protocol::Http => tunnel.route.is_some() && tunnel.public_port.is_none(),
                Protocol::Tcp | Protocol::Udp | Protocol::Both => {
                    tunnel.public_port.is_some_and(|port| port > 0)
                }
            };
            if !fits {
                return Err(DesiredError::NoWayIn(tunnel.id));
            }
        }
        Ok(())
    }
}

impl Protocol {
    pub fn has_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both)
    }

    pub fn has_udp(self) -> bool {
        matches!(self, Self::Udp | Self::Both)
    }

    /// Both cannot have the same port.
    pub fn overlaps(self, other: Self) -> bool {
        (self.has_tcp() && other.has_tcp()) || (self.has_udp() && other.has_udp())
    }
}

impl TokenHash {
    /// Of a SHA-256.
    pub fn of(digest: [u8; 32]) -> Self {
        Self(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TokenHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text)) } else { Err("a token's hash is 64 hexadecimal digits") }
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.0
    }
}

/// Of no use to whoever reads it, and of none in a log either.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// As an authority is written: brackets around an IPv6 address.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn usual_grace_s() -> u32 {
    30
}

fn usual_udp_idle_s() -> u32 {
    30
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden() -> Desired {
        serde_json::from_str(include_str!("../../tests/golden/tunnels.json")).unwrap()
    }

    #[test]
    fn the_golden_document_is_read_and_written_back_the_same() {
        let text = include_str!("../../tests/golden/tunnels.json");
        assert_eq!(serde_json::to_string_pretty(&golden()).unwrap().trim(), text.trim());
        assert_eq!(golden().check(), Ok(()));
        assert!(!format!("{:?}", golden()).contains("only-for-friends"), "no secret is printed");
    }

    #[test]
    fn a_document_that_cannot_be_meant_is_not_taken() {
        let broken = |change: fn(&mut Desired)| {
            let mut desired = golden();
            change(&mut desired);
            desired.check().unwrap_err()
        };
        assert_eq!(broken(|d| d.version = 2), DesiredError::Version(2));
        assert!(matches!(broken(|d| d.clients.push(d.clients[0].clone())), DesiredError::Twice(_)));
        assert!(matches!(broken(|d| d.clients.clear()), DesiredError::NoClient(_)));
        assert!(matches!(broken(|d| d.tunnels[0].public_port = None), DesiredError::NoWayIn(_)));
        assert!(matches!(broken(|d| d.tunnels[0].protocol = Protocol::Http), DesiredError::NoWayIn(_)));
    }

    #[test]
    fn a_hash_is_nothing_but_a_hash() {
        assert!(TokenHash::try_from("ab".repeat(32)).is_ok());
        for text in ["", "ab", &"AB".repeat(32), &"zz".repeat(32), &"ab".repeat(33)] {
            TokenHash::try_from(text.to_owned()).unwrap_err();
        }
    }
}
