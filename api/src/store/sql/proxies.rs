//! The table `proxies`.

mod row;
mod told;

use pgw_core::ids::{ClientId, ProxyId};
use pgw_core::proxy::Proxy;
use sqlx::types::{Json, Text};
use uuid::Uuid;

use super::db::Connection;
use super::gateways::tell;
use super::lists::{Column, Listing};
use super::values::{Number, Word, now, pattern, replace, unchanged};
use super::{exits, mappings};
use crate::declarative::document::ProxyEntry;
use crate::declarative::import::called;
use crate::events::Action;
use crate::store::crypt::Vault;
use crate::store::{
    By, Conflict, HealthRecord, ListQuery, NewProxy, News, Owner, Page, ProxyDial, ProxyPatch, SortBy,
    StoreError,
};
pub(super) use row::Row;
use told::{change, tell_health};

macro_rules! columns {
    () => {
        "p.*, h.status as health_status, h.latency_ms as health_latency_ms, h.exit_ip as health_exit_ip,
            h.country as health_country, h.checked_at as health_checked_at, h.error as health_error"
    };
}

/// Proxies with what one gateway, the first parameter, has found of their health.
macro_rules! tables {
    () => {
        "proxies p left join proxy_health h on h.proxy_id = p.id and h.gateway = $1"
    };
}

macro_rules! proxies_with_health {
    ($which:literal) => {
        concat!("select ", columns!(), " from ", tables!(), " ", $which)
    };
}

pub(super) async fn create(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    new: NewProxy,
) -> Result<Proxy, StoreError> {
    let id = ProxyId(Uuid::now_v7());
    let password = new.password.map(|secret| vault.seal(id, &secret)).transpose()?;
    sqlx::query(
        "insert into proxies
            (id, name, scheme, host, port, username, password, enabled, note, labels, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
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
    .execute(&mut *db)
    .await?;
    tell(db, own, News::Redialled(id)).await?;
    let row = live(db, own, id).await?;
    change(db, own, &row, Action::Created, &[]).await?;
    Ok(row.into())
}

/// Called by host and port, as it says, and by a number where another account there is called so.
pub(super) async fn create_unnamed(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    new: NewProxy,
) -> Result<Proxy, StoreError> {
    let known: Vec<_> = entries(db, own, vault).await?.into_iter().map(|(_, entry)| entry).collect();
    let name = called(&new, &known).ok_or(StoreError::Conflict(Conflict::SameProxy))?;
    create(db, own, vault, NewProxy { name, ..new }).await
}

/// Every one that is there, as a document would say it. A password that cannot be opened is there
/// all the same.
pub(super) async fn entries(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
) -> Result<Vec<(ProxyId, ProxyEntry)>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as(proxies_with_health!("where p.removed_at is null")).bind(own).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id(), row.entry(vault))).collect())
}

pub(super) async fn list(
    db: &mut Connection,
    own: &str,
    query: &ListQuery,
) -> Result<Page<Proxy>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(p.name)"),
        SortBy::Host => Column::Text("p.host"),
        SortBy::Updated => Column::Text("rtrim(p.updated_at, 'Z')"),
        // The worst first; not to know is neither good nor bad.
        SortBy::Health => Column::Number(
            "cast(case h.status when 'DOWN' then 0 when 'DEGRADED' then 1 when 'OK' then 3 else 2 end as bigint)",
        ),
        // What has no latency does not answer, as far as anybody knows.
        SortBy::Latency => Column::Number("coalesce(h.latency_ms, 9223372036854775807)"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "p.id");
    let statement = listing.statement(
        columns!(),
        concat!(
            tables!(),
            r" where p.removed_at is null
                and ($2 is null or lower(p.name) like $2 escape '\' or lower(p.host) like $2 escape '\'
                     or lower(p.note) like $2 escape '\')
                and ($3 is null or coalesce(h.status, 'UNKNOWN') = $3)"
        ),
        3,
    );
    let filled =
        sqlx::query(statement).bind(own.to_owned()).bind(pattern(query)).bind(query.health.map(Word));
    listing.page(db, filled, |row: &Row| row.id).await
}

pub(super) async fn live(db: &mut Connection, own: &str, id: ProxyId) -> Result<Row, StoreError> {
    sqlx::query_as(proxies_with_health!("where p.id = $2 and p.removed_at is null"))
        .bind(own)
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("proxy"))
}

pub(super) async fn upstreams(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
) -> Result<Vec<ProxyDial>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(proxies_with_health!("where p.removed_at is null order by p.id"))
        .bind(own)
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| row.dial(vault)).collect()
}

/// Going ones included.
pub(super) async fn all(db: &mut Connection, own: &str) -> Result<Vec<Row>, StoreError> {
    Ok(sqlx::query_as(proxies_with_health!("")).bind(own).fetch_all(db).await?)
}

/// Those that its mappings lead through, going ones included.
pub(super) async fn of_client(
    db: &mut Connection,
    own: &str,
    client: ClientId,
) -> Result<Vec<Row>, StoreError> {
    let of_client =
        proxies_with_health!("where p.id in (select proxy_id from mappings where client_id = $2)");
    Ok(sqlx::query_as(of_client).bind(own).bind(client.0).fetch_all(db).await?)
}

pub(super) async fn update(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    id: ProxyId,
    patch: ProxyPatch,
) -> Result<Proxy, StoreError> {
    let mut row = live(db, own, id).await?;
    unchanged(patch.if_revision, row.revision)?;
    let before = row.clone();
    let redialled = patched(&mut row, vault, patch)?;
    let fields = before.changes(&row);
    if fields.is_empty() {
        return Ok(before.into());
    }
    if redialled {
        row.dial_revision += 1;
        // What any gateway found is of the former way.
        sqlx::query("delete from proxy_health where proxy_id = $1").bind(id.0).execute(&mut *db).await?;
    }
    sqlx::query(
        "update proxies set name = $2, scheme = $3, host = $4, port = $5, username = $6, password = $7,
            enabled = $8, note = $9, labels = $10, dial_revision = $11, revision = revision + 1,
            updated_at = $12
         where id = $1",
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
    .bind(row.dial_revision)
    .bind(Text(now()))
    .execute(&mut *db)
    .await?;
    tell(db, own, if redialled { News::Redialled(id) } else { News::Proxy(id) }).await?;
    let now = live(db, own, id).await?;
    change(db, own, &now, Action::Updated, &fields).await?;
    tell_health(db, own, &before, &now.health()).await?;
    Ok(now.into())
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

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: ProxyId,
    cascade: bool,
    if_revision: Option<i64>,
) -> Result<Vec<Owner>, StoreError> {
    let row = live(db, own, id).await?;
    unchanged(if_revision, row.revision)?;
    let removed_at = Text(now());
    let open: i64 =
        sqlx::query_scalar("select count(*) from mappings where proxy_id = $1 and removed_at is null")
            .bind(id.0)
            .fetch_one(&mut *db)
            .await?;
    if open > 0 && !cascade {
        return Err(StoreError::Conflict(Conflict::InUse { what: "proxy", mappings: open }));
    }
    for mapping in mappings::live_ids(db, None, Some(id)).await? {
        mappings::tell_removal(db, own, mapping).await?;
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
    change(db, own, &row, Action::Deleted, &[]).await?;
    let reason = format!("proxy {} was removed", row.name);
    for owner in &clients {
        tell(db, own, News::Client(owner.client)).await?;
        exits::settle(db, owner.client, By::current().0, &reason).await?;
    }
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
pub(super) async fn record_health(
    db: &mut Connection,
    own: &str,
    found: &[HealthRecord],
) -> Result<(), StoreError> {
    for HealthRecord { id, revision, health } in found {
        let before = match live(db, own, *id).await {
            Ok(before) if before.dial_revision == *revision => before,
            Ok(_) | Err(StoreError::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        sqlx::query(
            "insert into proxy_health (gateway, proxy_id, status, latency_ms, exit_ip, country, checked_at, error)
             select $8, id, $3, $4, $5, $9, $6, $7 from proxies
             where id = $1 and dial_revision = $2 and removed_at is null
             on conflict (gateway, proxy_id) do update set status = excluded.status,
                latency_ms = excluded.latency_ms, exit_ip = excluded.exit_ip,
                country = excluded.country, checked_at = excluded.checked_at, error = excluded.error",
        )
        .bind(id.0)
        .bind(revision)
        .bind(Word(health.status))
        .bind(health.latency_ms.map(Number))
        .bind(&health.exit_ip)
        .bind(health.checked_at.map(Text))
        .bind(&health.error)
        .bind(own)
        .bind(health.country.map(Text))
        .execute(&mut *db)
        .await?;
        tell_health(db, own, &before, health).await?;
        if before.health_exit_ip != health.exit_ip {
            let reason = format!("proxy {} has another exit address", before.name);
            for owner in mappings::clients_of_proxy(db, *id).await? {
                if owner.gateway == own {
                    exits::settle(db, owner.client, None, &reason).await?;
                }
            }
        }
    }
    Ok(())
}
