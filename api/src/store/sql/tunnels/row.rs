//! A row of `tunnels`, and what it stands for.

use jiff::Timestamp;
use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::redact::Secret;
use pgw_core::tunnel::{BasicAuth, Limits, Origin, Protocol, Route, State, Target, TokenHash, TunnelSpec};
use sqlx::types::Text;
use uuid::Uuid;

use super::super::tunnel_clients;
use super::super::values::{Number, Word, now};
use crate::store::crypt::Vault;
use crate::store::{Header, NewLogin, StoreError, Tunnel, TunnelLogin, Wish};

/// With its client's name.
#[derive(Clone, sqlx::FromRow)]
pub(in super::super) struct Row {
    pub id: Uuid,
    pub tunnel_client_id: Uuid,
    pub client: String,
    pub gateway: String,
    pub name: String,
    pub origin: Word<Origin>,
    pub protocol: Word<Protocol>,
    pub public_port: Option<Number<u16>>,
    pub host: String,
    pub path: String,
    pub header_name: String,
    pub header_value: String,
    pub local_host: String,
    pub local_port: Number<u16>,
    pub enabled: bool,
    pub verified: bool,
    pub code: Option<Word<TokenHash>>,
    pub code_expires_at: Option<Text<Timestamp>>,
    pub code_attempts: i64,
    pub bandwidth: Option<Number<u64>>,
    pub max_connections: Option<Number<u32>>,
    pub max_per_visitor: Option<Number<u32>>,
    pub requests_per_minute: Option<Number<u32>>,
    /// Separated by commas.
    pub visitor_allow: String,
    /// A JSON list.
    pub auth_names: String,
    pub auth_passwords: Option<Vec<u8>>,
    pub compression: bool,
    pub proxy_protocol: bool,
    pub udp_idle_s: Number<u32>,
    pub state: Word<State>,
    pub reason: Option<String>,
    pub bytes_in: Number<u64>,
    pub bytes_out: Number<u64>,
    pub connections: Number<u64>,
    pub active: Number<u32>,
    pub told_in: Number<u64>,
    pub told_out: Number<u64>,
    pub told_connections: Number<u64>,
    pub revision: i64,
    pub created_at: Text<Timestamp>,
    pub updated_at: Text<Timestamp>,
}

impl From<Row> for Tunnel {
    fn from(row: Row) -> Self {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Self {
            id: TunnelId(row.id),
            tunnel_client_id: TunnelClientId(row.tunnel_client_id),
            host: text(&row.host),
            path: text(&row.path),
            header: row.header(),
            visitor_allow: row.visitor_allow.split(',').filter_map(text).collect(),
            basic_auth: row.users().into_iter().map(|username| TunnelLogin { username }).collect(),
            name: row.name,
            tunnel_client: row.client,
            gateway: row.gateway,
            protocol: row.protocol.0,
            public_port: row.public_port.map(|port| port.0),
            local_host: row.local_host,
            local_port: row.local_port.0,
            origin: row.origin.0,
            enabled: row.enabled,
            verified: row.verified,
            state: row.state.0,
            reason: row.reason,
            bandwidth: row.bandwidth.map(|rate| rate.0),
            max_connections: row.max_connections.map(|most| most.0),
            max_per_visitor: row.max_per_visitor.map(|most| most.0),
            requests_per_minute: row.requests_per_minute.map(|most| most.0),
            compression: row.compression,
            proxy_protocol: row.proxy_protocol,
            udp_idle_s: row.udp_idle_s.0,
            bytes_in: row.bytes_in.0,
            bytes_out: row.bytes_out.0,
            connections: row.connections.0,
            active: row.active.0,
            revision: Some(row.revision).filter(|_| row.origin.0 == Origin::Operator),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

impl Row {
    /// How one begins.
    pub(super) fn blank(id: Uuid, client: &tunnel_clients::Row, name: String, origin: Origin) -> Self {
        let at = Text(now());
        Self {
            id,
            tunnel_client_id: client.id,
            client: client.name.clone(),
            gateway: client.gateway.clone(),
            name,
            origin: Word(origin),
            protocol: Word(Protocol::Tcp),
            public_port: None,
            host: String::new(),
            path: String::new(),
            header_name: String::new(),
            header_value: String::new(),
            local_host: String::new(),
            local_port: Number(0),
            enabled: true,
            verified: true,
            code: None,
            code_expires_at: None,
            code_attempts: 0,
            bandwidth: None,
            max_connections: None,
            max_per_visitor: None,
            requests_per_minute: None,
            visitor_allow: String::new(),
            auth_names: "[]".to_owned(),
            auth_passwords: None,
            compression: false,
            proxy_protocol: false,
            udp_idle_s: Number(0),
            state: Word(State::Pending),
            reason: None,
            bytes_in: Number(0),
            bytes_out: Number(0),
            connections: Number(0),
            active: Number(0),
            told_in: Number(0),
            told_out: Number(0),
            told_connections: Number(0),
            revision: 1,
            created_at: at,
            updated_at: at,
        }
    }

    fn header(&self) -> Option<Header> {
        let (name, value) = (self.header_name.clone(), self.header_value.clone());
        Some(Header { name, value }).filter(|header| !header.name.is_empty())
    }

    pub(super) fn users(&self) -> Vec<String> {
        serde_json::from_str(&self.auth_names).unwrap_or_default()
    }

    /// It shall be open whenever its client is there.
    pub(super) fn is_wanted(&self) -> bool {
        self.enabled && self.verified
    }

    pub(super) fn wish(&self) -> Wish {
        Wish {
            protocol: self.protocol.0,
            host: self.host.clone(),
            path: self.path.clone(),
            header: self.header(),
            local_host: self.local_host.clone(),
            local_port: self.local_port.0,
            bandwidth: self.bandwidth.map(|rate| rate.0),
            max_connections: self.max_connections.map(|most| most.0),
            max_per_visitor: self.max_per_visitor.map(|most| most.0),
            requests_per_minute: self.requests_per_minute.map(|most| most.0),
            visitor_allow: self.visitor_allow.split(',').filter_map(|net| net.parse().ok()).collect(),
            basic_auth: self
                .users()
                .into_iter()
                .map(|username| NewLogin { username, password: None })
                .collect(),
            compression: self.compression,
            proxy_protocol: self.proxy_protocol,
            udp_idle_s: self.udp_idle_s.0,
        }
    }

    /// All but the logins, which are sealed.
    pub(super) fn take(&mut self, wish: Wish) {
        let (header_name, header_value) =
            wish.header.map(|header| (header.name, header.value)).unwrap_or_default();
        let nets: Vec<String> = wish.visitor_allow.iter().map(ToString::to_string).collect();
        self.protocol = Word(wish.protocol);
        self.host = wish.host;
        self.path = wish.path;
        self.header_name = header_name;
        self.header_value = header_value;
        self.local_host = wish.local_host;
        self.local_port = Number(wish.local_port);
        self.bandwidth = wish.bandwidth.map(Number);
        self.max_connections = wish.max_connections.map(Number);
        self.max_per_visitor = wish.max_per_visitor.map(Number);
        self.requests_per_minute = wish.requests_per_minute.map(Number);
        self.visitor_allow = nets.join(",");
        self.compression = wish.compression;
        self.proxy_protocol = wish.proxy_protocol;
        self.udp_idle_s = Number(wish.udp_idle_s);
    }

    fn place(&self) -> String {
        format!("tunnels:{}:auth", self.id)
    }

    pub(super) fn passwords(&self, vault: &Vault) -> Result<Vec<Secret>, StoreError> {
        let Some(sealed) = &self.auth_passwords else { return Ok(Vec::new()) };
        let plain = vault.open_at(&self.place(), sealed).map(zeroize::Zeroizing::new);
        let passwords = plain.and_then(|plain| serde_json::from_slice(&plain).ok());
        passwords.ok_or_else(|| StoreError::Sealed { what: format!("tunnel {}", self.name) })
    }

    pub(super) fn seal(&mut self, vault: &Vault, logins: &[(String, Secret)]) -> Result<(), StoreError> {
        let names: Vec<&str> = logins.iter().map(|(name, _)| name.as_str()).collect();
        self.auth_names = serde_json::json!(names).to_string();
        let passwords: Vec<&str> = logins.iter().map(|(_, password)| password.expose()).collect();
        let plain = zeroize::Zeroizing::new(serde_json::json!(passwords).to_string());
        let sealed = || vault.seal_at(&self.place(), plain.as_bytes());
        self.auth_passwords = if logins.is_empty() { None } else { Some(sealed()?) };
        Ok(())
    }

    pub(super) fn spec(self, vault: &Vault) -> Result<TunnelSpec, StoreError> {
        let passwords = self.passwords(vault)?;
        let logins = self.users().into_iter().zip(passwords);
        let header = self.header().map(|header| (header.name, header.value));
        let http = self.protocol.0 == Protocol::Http;
        let path = Some(self.path.clone()).filter(|path| !path.is_empty());
        let wish = self.wish();
        Ok(TunnelSpec {
            id: TunnelId(self.id),
            client_id: TunnelClientId(self.tunnel_client_id),
            name: self.name,
            protocol: self.protocol.0,
            public_port: self.public_port.map(|port| port.0),
            route: http.then_some(Route { host: self.host, path, header }),
            target: Target { host: wish.local_host, port: wish.local_port },
            limits: Limits {
                bandwidth: wish.bandwidth,
                max_connections: wish.max_connections,
                max_per_visitor: wish.max_per_visitor,
                requests_per_minute: wish.requests_per_minute,
                visitor_allow: wish.visitor_allow,
                basic_auth: logins.map(|(username, password)| BasicAuth { username, password }).collect(),
            },
            compression: wish.compression,
            proxy_protocol: wish.proxy_protocol,
            udp_idle_s: wish.udp_idle_s,
        })
    }
}
