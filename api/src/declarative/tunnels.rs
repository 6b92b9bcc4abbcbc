//! Tunnel clients and their tunnels, as a document says them. Clients are known by their names,
//! and tunnels by theirs; what a client asks for by itself is in no document.

use ipnet::IpNet;
use pgw_core::ids::TunnelClientId;
use pgw_core::tunnel::{PortSpan, Protocol, TokenHash};
use serde::{Deserialize, Serialize};

use super::document::Password;
use crate::store::{AllowedPort, Header, NewLogin, Wish};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TunnelClientEntry {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    #[schema(required = false, max_length = 1000)]
    pub note: String,
    #[schema(required = false)]
    pub enabled: bool,
    /// Empty: the whole range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 64)]
    pub allowed_ports: Vec<AllowedPort>,
    #[schema(required = false, maximum = 1000)]
    pub max_tunnels: u32,
    #[schema(required = false, minimum = 1, maximum = 1_000_000)]
    pub max_connections: u32,
    /// Bytes per second, in each direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub bandwidth: Option<u64>,
    #[schema(required = false)]
    pub tunnels: Vec<TunnelEntry>,
    /// Only in what is kept for undoing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub kept: Option<Kept>,
}

/// By what a machine is known: a client that was removed and comes back is the one that it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub id: TunnelClientId,
    pub token: TokenHash,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TunnelEntry {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    pub protocol: Protocol,
    /// Left out or 0: the one that it has, or one that the gateway picks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub public_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Header>,
    pub local_host: String,
    #[schema(minimum = 1)]
    pub local_port: u16,
    #[schema(required = false)]
    pub enabled: bool,
    /// False: it opens without a code. Left out: as it is, and a new one needs a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub verify: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    pub bandwidth: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_connections: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub max_per_visitor: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub requests_per_minute: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, value_type = Vec<String>, max_items = 64)]
    pub visitor_allow: Vec<IpNet>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, max_items = 32)]
    pub basic_auth: Vec<LoginEntry>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub compression: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub proxy_protocol: bool,
    #[schema(required = false, minimum = 1, maximum = 86_400)]
    pub udp_idle_s: u32,
}

/// As with a proxy, a password of which nothing is said stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginEntry {
    #[schema(min_length = 1, max_length = 255)]
    pub username: String,
    #[serde(default, skip_serializing_if = "Password::is_untold")]
    #[schema(value_type = String, format = Password, required = false)]
    pub password: Password,
}

/// A host, a path and a header.
type Route<'a> = (&'a str, &'a str, Option<(&'a str, &'a str)>);

/// What is asked for of a tunnel besides how it is wanted.
#[derive(Debug, Clone)]
pub struct Named {
    pub name: String,
    pub enabled: bool,
    /// 0: none in particular.
    pub public_port: u16,
    pub verify: Option<bool>,
}

impl TunnelClientEntry {
    pub fn spans(&self) -> Vec<PortSpan> {
        self.allowed_ports.iter().filter_map(AllowedPort::span).collect()
    }
}

impl TunnelEntry {
    pub fn new(named: Named, wish: Wish) -> Self {
        let text = |text: String| Some(text).filter(|text| !text.is_empty());
        let login = |NewLogin { username, password }| LoginEntry {
            username,
            password: password.map_or(Password::Untold, Password::Is),
        };
        Self {
            name: named.name,
            protocol: wish.protocol,
            public_port: Some(named.public_port).filter(|port| *port > 0),
            host: text(wish.host),
            path: text(wish.path),
            header: wish.header,
            local_host: wish.local_host,
            local_port: wish.local_port,
            enabled: named.enabled,
            verify: named.verify,
            bandwidth: wish.bandwidth,
            max_connections: wish.max_connections,
            max_per_visitor: wish.max_per_visitor,
            requests_per_minute: wish.requests_per_minute,
            visitor_allow: wish.visitor_allow,
            basic_auth: wish.basic_auth.into_iter().map(login).collect(),
            compression: wish.compression,
            proxy_protocol: wish.proxy_protocol,
            udp_idle_s: wish.udp_idle_s,
        }
    }

    pub fn wish(&self) -> Wish {
        Wish {
            protocol: self.protocol,
            host: self.host.clone().unwrap_or_default(),
            path: self.path.clone().unwrap_or_default(),
            header: self.header.clone(),
            local_host: self.local_host.clone(),
            local_port: self.local_port,
            bandwidth: self.bandwidth,
            max_connections: self.max_connections,
            max_per_visitor: self.max_per_visitor,
            requests_per_minute: self.requests_per_minute,
            visitor_allow: self.visitor_allow.clone(),
            basic_auth: self.logins(),
            compression: self.compression,
            proxy_protocol: self.proxy_protocol,
            udp_idle_s: self.udp_idle_s,
        }
    }

    pub fn logins(&self) -> Vec<NewLogin> {
        let login = |entry: &LoginEntry| NewLogin {
            username: entry.username.clone(),
            password: entry.password.clone().secret(),
        };
        self.basic_auth.iter().map(login).collect()
    }

    /// No two http tunnels may have the same.
    pub fn route(&self) -> Option<Route<'_>> {
        let is_http = self.protocol == Protocol::Http;
        let host = self.host.as_deref().unwrap_or_default();
        let path = self.path.as_deref().unwrap_or_default();
        let header = self.header.as_ref().map(|header| (header.name.as_str(), header.value.as_str()));
        is_http.then_some((host, path, header))
    }

    /// With the passwords that it keeps, of those that are told of it or of what was before.
    pub fn with_passwords_of(mut self, before: &Self) -> Self {
        for login in self.basic_auth.iter_mut().filter(|login| login.password.is_untold()) {
            let same = before.basic_auth.iter().find(|known| known.username == login.username);
            login.password = same.map_or(Password::Untold, |known| known.password.clone());
        }
        self
    }

    /// Somebody new has none.
    pub fn lacks_a_password(&self, before: Option<&Self>) -> bool {
        let known = |name: &str| {
            before.is_some_and(|before| before.basic_auth.iter().any(|login| login.username == name))
        };
        self.basic_auth.iter().any(|login| login.password.is_untold() && !known(&login.username))
    }
}
