//! The table `proxies`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::{ClientId, ProxyId};
use pgw_core::proxy::{Credentials, Host, Proxy, Scheme, Upstream};
use pgw_core::redact::Secret;
use sqlx::types::{Json, Text};
use uuid::Uuid;

use super::db::Connection;
use super::lists::{Column, Listing};
use super::mappings;
use super::values::{Number, Word, now, pattern};
use crate::declarative::document::{Password, ProxyEntry};
use crate::store::crypt::Vault;
use crate::store::{
    Conflict, HealthRecord, ListQuery, NewProxy, Page, ProxyDial, ProxyPatch, SortBy, StoreError,
};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    name: String,
    scheme: Word<Scheme>,
    host: Text<Host>,
    port: Number<u16>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    enabled: bool,
    note: String,
    labels: Json<BTreeMap<String, String>>,
    dial_revision: i64,
    health_status: Word<HealthStatus>,
    health_latency_ms: Option<Number<u32>>,
    health_exit_ip: Option<String>,
    health_checked_at: Option<Text<Timestamp>>,
    health_error: Option<String>,
    created_at: Text<Timestamp>,
    updated_at: Text<Timestamp>,
}

impl Row {
    fn id(&self) -> ProxyId {
        ProxyId(self.id)
    }

    fn health(&self) -> Health {
        Health {
            status: self.health_status.0,
            latency_ms: self.health_latency_ms.map(|ms| ms.0),
            exit_ip: self.health_exit_ip.clone(),
            checked_at: self.health_checked_at.map(|Text(at)| at),
            error: self.health_error.clone(),
        }
    }

    fn set_health(&mut self, health: Health) {
        self.health_status = Word(health.status);
        self.health_latency_ms = health.latency_ms.map(Number);
        self.health_exit_ip = health.exit_ip;
        self.health_checked_at = health.checked_at.map(Text);
        self.health_error = health.error;
    }

    fn open_password(&self, vault: &Vault) -> Result<Option<Secret>, StoreError> {
        self.password.as_deref().map(|sealed| vault.open(self.id(), sealed)).transpose()
    }

    fn entry(self, vault: &Vault) -> ProxyEntry {
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
    pub(super) fn dial(&self, vault: &Vault) -> Result<ProxyDial, StoreError> {
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
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

pub(super) async fn create(db: &mut Connection, vault: &Vault, new: NewProxy) -> Result<Proxy, StoreError> {
    let id = ProxyId(Uuid::now_v7());
    let password = new.password.map(|secret| vault.seal(id, &secret)).transpose()?;
    let row: Row = sqlx::query_as(
        "insert into proxies
            (id, name, scheme, host, port, username, password, enabled, note, labels, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
         returning *",
    )
    .bind(id.0)
    .bind(new.name)
    .bind(Word(new.scheme))
    .bind(Text(new.host))
    .bind(Number(new.port))
    .bind(new.username)
    .bind(password)
    .bind(new.enabled)
    .bind(new.note)
    .bind(Json(new.labels))
    .bind(Text(now()))
    .fetch_one(db)
    .await?;
    Ok(row.into())
}

/// Every one that is there, as a document would say it. A password that cannot be opened is there
/// all the same.
pub(super) async fn entries(
    db: &mut Connection,
    vault: &Vault,
) -> Result<Vec<(ProxyId, ProxyEntry)>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("select * from proxies where removed_at is null").fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id(), row.entry(vault))).collect())
}

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<Proxy>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(name)"),
        SortBy::Host => Column::Text("host"),
        SortBy::Updated => Column::Text("rtrim(updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "id");
    let statement = listing.statement(
        "*",
        r"proxies where removed_at is null
            and ($1 is null or lower(name) like $1 escape '\' or lower(host) like $1 escape '\'
                 or lower(note) like $1 escape '\')",
        1,
    );
    listing.page(db, sqlx::query(statement).bind(pattern(query)), |row: &Row| row.id).await
}

pub(super) async fn live(db: &mut Connection, id: ProxyId) -> Result<Row, StoreError> {
    sqlx::query_as("select * from proxies where id = $1 and removed_at is null")
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("proxy"))
}

pub(super) async fn upstreams(db: &mut Connection, vault: &Vault) -> Result<Vec<ProxyDial>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("select * from proxies where removed_at is null order by id").fetch_all(db).await?;
    rows.iter().map(|row| row.dial(vault)).collect()
}

pub(super) async fn update(
    db: &mut Connection,
    vault: &Vault,
    id: ProxyId,
    patch: ProxyPatch,
) -> Result<Proxy, StoreError> {
    let mut row = live(db, id).await?;
    if patched(&mut row, vault, patch)? {
        row.dial_revision += 1;
        row.set_health(Health::default());
    }
    let row: Row = sqlx::query_as(
        "update proxies set name = $2, scheme = $3, host = $4, port = $5, username = $6, password = $7,
            enabled = $8, note = $9, labels = $10, health_status = $11, health_latency_ms = $12,
            health_exit_ip = $13, health_checked_at = $14, health_error = $15, dial_revision = $16,
            updated_at = $17
         where id = $1 returning *",
    )
    .bind(row.id)
    .bind(row.name)
    .bind(row.scheme)
    .bind(row.host)
    .bind(row.port)
    .bind(row.username)
    .bind(row.password)
    .bind(row.enabled)
    .bind(row.note)
    .bind(row.labels)
    .bind(row.health_status)
    .bind(row.health_latency_ms)
    .bind(row.health_exit_ip)
    .bind(row.health_checked_at)
    .bind(row.health_error)
    .bind(row.dial_revision)
    .bind(Text(now()))
    .fetch_one(db)
    .await?;
    Ok(row.into())
}

/// Answers whether it is dialled in another way now, or again, so that its health is unknown.
fn patched(row: &mut Row, vault: &Vault, patch: ProxyPatch) -> Result<bool, StoreError> {
    let mut redial = false;
    redial |= replace(&mut row.scheme.0, patch.scheme);
    redial |= replace(&mut row.host.0, patch.host);
    redial |= replace(&mut row.port.0, patch.port);
    redial |= replace(&mut row.username, patch.username);
    if let Some(password) = patch.password
        && password != row.open_password(vault)?
    {
        row.password = password.map(|secret| vault.seal(row.id(), &secret)).transpose()?;
        redial = true;
    }
    replace(&mut row.name, patch.name);
    // While it was disabled nobody looked: what was known then is worth nothing now.
    redial |= replace(&mut row.enabled, patch.enabled) && row.enabled;
    replace(&mut row.note, patch.note);
    replace(&mut row.labels.0, patch.labels);
    Ok(redial)
}

/// Answers whether it is another value.
fn replace<T: PartialEq>(field: &mut T, given: Option<T>) -> bool {
    match given {
        Some(value) if value != *field => {
            *field = value;
            true
        }
        Some(_) | None => false,
    }
}

pub(super) async fn remove(
    db: &mut Connection,
    id: ProxyId,
    cascade: bool,
) -> Result<Vec<ClientId>, StoreError> {
    live(db, id).await?;
    let removed_at = Text(now());
    let open: i64 =
        sqlx::query_scalar("select count(*) from mappings where proxy_id = $1 and removed_at is null")
            .bind(id.0)
            .fetch_one(&mut *db)
            .await?;
    if open > 0 && !cascade {
        return Err(StoreError::Conflict(Conflict::InUse { what: "proxy", mappings: open }));
    }
    sqlx::query("update mappings set removed_at = $2 where proxy_id = $1 and removed_at is null")
        .bind(id.0)
        .bind(removed_at)
        .execute(&mut *db)
        .await?;
    sqlx::query("update proxies set removed_at = $2 where id = $1")
        .bind(id.0)
        .bind(removed_at)
        .execute(&mut *db)
        .await?;
    let clients = mappings::clients_of_proxy(db, id).await?;
    sweep(db).await?;
    Ok(clients)
}

/// Drops the rows of going proxies that no mapping, not even a going one, leads through.
pub(super) async fn sweep(db: &mut Connection) -> Result<(), StoreError> {
    sqlx::query(
        "delete from proxies where removed_at is not null
            and not exists (select 1 from mappings where proxy_id = proxies.id)",
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A check may end after its proxy was removed, or after it was made to be dialled in another way;
/// then there is nothing to write down.
pub(super) async fn record_health(db: &mut Connection, found: &[HealthRecord]) -> Result<(), StoreError> {
    for HealthRecord { id, revision, health } in found {
        sqlx::query(
            "update proxies set health_status = $3, health_latency_ms = $4, health_exit_ip = $5,
                health_checked_at = $6, health_error = $7
             where id = $1 and dial_revision = $2 and removed_at is null",
        )
        .bind(id.0)
        .bind(revision)
        .bind(Word(health.status))
        .bind(health.latency_ms.map(Number))
        .bind(&health.exit_ip)
        .bind(health.checked_at.map(Text))
        .bind(&health.error)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}
