//! The document itself. Proxies and tunnel clients are known by their names and clients by their
//! addresses, so that it means the same on every gateway; the order in which things stand means
//! nothing.

use std::collections::BTreeMap;

use pgw_core::exit::Expect;
use pgw_core::ids::ClientIp;
use pgw_core::mac::Mac;
use pgw_core::mapping::Target;
use pgw_core::proxy::{Host, Scheme};
use pgw_core::redact::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::tunnels::TunnelClientEntry;

pub const VERSION: u16 = 1;
/// Of proxies, of clients, and of tunnel clients.
pub const MOST_ENTRIES: usize = 10_000;

/// A section that is absent is left alone; one that is present is the whole of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    #[schema(minimum = 1, maximum = 1)]
    pub version: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub proxies: Option<Vec<ProxyEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub clients: Option<Vec<ClientEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tunnel_clients: Option<Vec<TunnelClientEntry>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyEntry {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    pub scheme: Scheme,
    #[schema(value_type = String)]
    pub host: Host,
    #[schema(minimum = 1)]
    pub port: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Password::is_untold")]
    #[schema(value_type = Option<String>, format = Password)]
    pub password: Password,
    #[schema(required = false)]
    pub enabled: bool,
    #[schema(required = false, max_length = 1000)]
    pub note: String,
    #[schema(required = false)]
    pub labels: BTreeMap<String, String>,
}

/// Documents are kept in git: a password is not in them but where somebody wants it there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Password {
    /// Nothing is said of it: what is stored stays. Of what is stored it says that there is one
    /// which cannot be opened.
    #[default]
    Untold,
    /// There is to be none.
    None,
    Is(Secret),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientEntry {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    pub ip_cidr: ClientIp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    #[schema(required = false, max_length = 1000)]
    pub note: String,
    #[schema(required = false)]
    pub mappings: Vec<MappingEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MappingEntry {
    /// Its name.
    pub proxy: String,
    #[schema(required = false)]
    pub priority: u16,
    #[schema(required = false)]
    pub target: Target,
    #[schema(required = false)]
    pub enabled: bool,
    #[serde(default, skip_serializing_if = "Expect::is_nothing")]
    #[schema(required = false)]
    pub expect: Expect,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub exclusive: bool,
}

impl Password {
    pub fn is_untold(&self) -> bool {
        matches!(self, Self::Untold)
    }

    pub fn secret(self) -> Option<Secret> {
        match self {
            Self::Is(secret) => Some(secret),
            Self::Untold | Self::None => None,
        }
    }
}

impl Serialize for Password {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(secret) => Secret::write_out(secret, to),
            Self::Untold | Self::None => to.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(from)?.map_or(Self::None, Self::Is))
    }
}
