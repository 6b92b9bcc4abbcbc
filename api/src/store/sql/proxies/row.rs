//! A row of `proxies`, with what this gateway has found of its health.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgw_core::country::Country;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::ProxyId;
use pgw_core::proxy::{Credentials, Host, Proxy, Scheme, Upstream};
use pgw_core::redact::Secret;
use sqlx::types::{Json, Text};
use uuid::Uuid;

use super::super::values::{Number, Word};
use crate::declarative::document::{Password, ProxyEntry};
use crate::store::crypt::Vault;
use crate::store::{ProxyDial, StoreError};

#[derive(Clone, sqlx::FromRow)]
pub(in super::super) struct Row {
    pub(in super::super) id: Uuid,
    pub(super) name: String,
    pub(super) scheme: Word<Scheme>,
    pub(super) host: Text<Host>,
    pub(super) port: Number<u16>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Vec<u8>>,
    pub(super) enabled: bool,
    pub(super) note: String,
    pub(super) labels: Json<BTreeMap<String, String>>,
    pub(super) dial_revision: i64,
    pub(super) revision: i64,
    /// None: this gateway has found nothing yet.
    pub(super) health_status: Option<Word<HealthStatus>>,
    pub(super) health_latency_ms: Option<Number<u32>>,
    pub(super) health_exit_ip: Option<String>,
    pub(super) health_country: Option<Text<Country>>,
    pub(super) health_checked_at: Option<Text<Timestamp>>,
    pub(super) health_error: Option<String>,
    pub(super) created_at: Text<Timestamp>,
    pub(super) updated_at: Text<Timestamp>,
}

impl Row {
    pub(super) fn id(&self) -> ProxyId {
        ProxyId(self.id)
    }

    pub(super) fn health(&self) -> Health {
        Health {
            status: self.health_status.map_or_else(HealthStatus::default, |status| status.0),
            latency_ms: self.health_latency_ms.map(|ms| ms.0),
            exit_ip: self.health_exit_ip.clone(),
            country: self.health_country.map(|Text(country)| country),
            checked_at: self.health_checked_at.map(|Text(at)| at),
            error: self.health_error.clone(),
        }
    }

    pub(super) fn open_password(&self, vault: &Vault) -> Result<Option<Secret>, StoreError> {
        self.password.as_deref().map(|sealed| vault.open(self.id(), sealed)).transpose()
    }

    pub(super) fn entry(self, vault: &Vault) -> ProxyEntry {
        let password = match self.open_password(vault) {
            Ok(password) => password.map_or(Password::None, Password::Is),
            Err(_sealed) => Password::Untold,
        };
        ProxyEntry {
            name: self.name,
            scheme: self.scheme.0,
            host: self.host.0,
            port: self.port.0,
            username: self.username,
            password,
            enabled: self.enabled,
            note: self.note,
            labels: self.labels.0,
        }
    }

    /// With the password in clear: for those who dial.
    pub(in super::super) fn dial(&self, vault: &Vault) -> Result<ProxyDial, StoreError> {
        let password = self.open_password(vault)?.unwrap_or_else(|| Secret::new(""));
        let credentials = self.username.clone().map(|username| Credentials { username, password });
        let upstream = Upstream {
            name: self.name.clone(),
            scheme: self.scheme.0,
            host: self.host.0.clone(),
            port: self.port.0,
            credentials,
        };
        let (id, revision) = (self.id(), self.dial_revision);
        Ok(ProxyDial { id, revision, enabled: self.enabled, health: self.health(), upstream })
    }
}

impl From<Row> for Proxy {
    fn from(row: Row) -> Self {
        Self {
            id: row.id(),
            health: row.health(),
            name: row.name,
            scheme: row.scheme.0,
            host: row.host.0,
            port: row.port.0,
            username: row.username,
            has_password: row.password.is_some(),
            enabled: row.enabled,
            note: row.note,
            labels: row.labels.0,
            revision: row.revision,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}
