//! The tables `mappings` and `ports`.

mod row;
mod told;

use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::state::{MappingState, Verdict};
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::changes;
use super::gateways::{self, tell};
use super::lists::{Column, Listing};
use super::values::{Number, Word, now, pattern, replace, unchanged};
use super::{clients, exits, holds, ports, proxies};
use crate::events::Action;
use crate::store::{
    By, Conflict, ListQuery, MappingPatch, NewMapping, News, Owner, Page, SortBy, StoreError,
};
pub(super) use row::Row;
use told::change;
pub(super) use told::{tell_removal, tell_state};

pub(super) async fn create(
    db: &mut Connection,
    own: &str,
    new: NewMapping,
    range: &PortRange,
) -> Result<Mapping, StoreError> {
    let gateway = present(clients::live(db, new.client_id).await)?.gateway;
    present(proxies::live(db, own, new.proxy_id).await)?;
    let range = if gateway == own { range.clone() } else { gateways::known(db, &gateway).await? };
    ports::ensure(db, &gateway, &[new.client_id], &range).await?;
    let id = insert(db, own, new).await?;
    Ok(live(db, id).await?.into())
}

/// Of a client that has a port.
pub(super) async fn insert(db: &mut Connection, own: &str, new: NewMapping) -> Result<MappingId, StoreError> {
    let id = MappingId(Uuid::now_v7());
    sqlx::query(
        "insert into mappings
            (id, client_id, proxy_id, priority, target, enabled, expect_exit, expect_country, expect_stable,
             exclusive, state, reason, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'PENDING', 'created; its first look is under way',
            $11, $11)",
    )
    .bind(id.0)
    .bind(new.client_id.0)
    .bind(new.proxy_id.0)
    .bind(Number(new.priority))
    .bind(Word(new.target))
    .bind(new.enabled)
    .bind(new.expect.exit_ip.map(Text))
    .bind(new.expect.country.map(Text))
    .bind(new.expect.stable)
    .bind(new.exclusive)
    .bind(Text(now()))
    .execute(&mut *db)
    .await?;
    tell(db, own, News::Client(new.client_id)).await?;
    change(db, own, id, Action::Created, &[]).await?;
    Ok(id)
}

/// Every one of a gateway's clients that is there.
pub(super) async fn of_gateway(db: &mut Connection, gateway: &str) -> Result<Vec<Mapping>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select m.*, ports.gateway, ports.port from mappings m join ports on ports.client_id = m.client_id
         where ports.gateway = $1 and m.removed_at is null",
    )
    .bind(gateway)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Mapping::from).collect())
}

/// Through which proxies clients of other gateways lead, and of which.
pub(super) async fn elsewhere(db: &mut Connection, own: &str) -> Result<Vec<(ProxyId, String)>, StoreError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select distinct m.proxy_id, c.gateway from mappings m join clients c on c.id = m.client_id
         where c.gateway <> $1 and m.removed_at is null",
    )
    .bind(own)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(proxy, gateway)| (ProxyId(proxy), gateway)).collect())
}

/// For a mapping, a client or proxy that is not there is a mistake in what was sent.
fn present<T>(found: Result<T, StoreError>) -> Result<T, StoreError> {
    found.map_err(|error| match error {
        StoreError::NotFound(what) => StoreError::Conflict(Conflict::Missing(what)),
        other => other,
    })
}

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<Mapping>, StoreError> {
    let column = match query.sort.by {
        SortBy::Priority => Column::Number("m.priority"),
        SortBy::State => Column::Text("m.state"),
        SortBy::Port => Column::Number("ports.port"),
        SortBy::ClientName => Column::Text("lower(c.name)"),
        SortBy::ProxyName => Column::Text("lower(p.name)"),
        SortBy::Updated => Column::Text("rtrim(m.updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "m.id");
    let statement = listing.statement(
        "m.*, ports.gateway, ports.port",
        r"mappings m
          join ports on ports.client_id = m.client_id
          join clients c on c.id = m.client_id
          join proxies p on p.id = m.proxy_id
          where m.removed_at is null
            and ($1 is null or lower(c.name) like $1 escape '\' or c.ip like $1 escape '\'
                 or lower(p.name) like $1 escape '\' or lower(p.host) like $1 escape '\')
            and ($2 is null or m.state = $2)
            and ($3 is null or m.client_id = $3)
            and ($4 is null or m.proxy_id = $4)
            and ($5 is null or ports.gateway = $5)",
        5,
    );
    let filled = sqlx::query(statement)
        .bind(pattern(query))
        .bind(query.state.map(Word))
        .bind(query.client_id.map(|id| id.0))
        .bind(query.proxy_id.map(|id| id.0))
        .bind(query.gateway.clone());
    listing.page(db, filled, |row: &Row| row.id).await
}

pub(super) async fn live(db: &mut Connection, id: MappingId) -> Result<Row, StoreError> {
    sqlx::query_as(
        "select m.*, ports.gateway, ports.port from mappings m join ports on ports.client_id = m.client_id
         where m.id = $1 and m.removed_at is null",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await?
    .ok_or(StoreError::NotFound("mapping"))
}

/// In failover order.
pub(super) async fn of_client(db: &mut Connection, client: ClientId) -> Result<Vec<Row>, StoreError> {
    Ok(sqlx::query_as(
        "select m.*, ports.gateway, ports.port from mappings m join ports on ports.client_id = m.client_id
         where m.client_id = $1 order by m.priority, m.id",
    )
    .bind(client.0)
    .fetch_all(db)
    .await?)
}

pub(super) async fn clients_of_proxy(db: &mut Connection, proxy: ProxyId) -> Result<Vec<Owner>, StoreError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select id, gateway from clients
         where id in (select client_id from mappings where proxy_id = $1) order by id",
    )
    .bind(proxy.0)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id, gateway)| Owner { client: ClientId(id), gateway }).collect())
}

pub(super) async fn update(
    db: &mut Connection,
    own: &str,
    id: MappingId,
    patch: MappingPatch,
) -> Result<Mapping, StoreError> {
    let before = live(db, id).await?;
    unchanged(patch.if_revision, before.revision)?;
    let mut row = before.clone();
    let redirected = replace(&mut row.proxy_id, patch.proxy_id.map(|id| id.0));
    if redirected {
        present(proxies::live(db, own, ProxyId(row.proxy_id)).await)?;
    }
    let switched = replace(&mut row.enabled, patch.enabled);
    row.expect = patch.expect.unwrap_or_else(|| row.expect.expect()).into();
    // Whoever switches it on anew takes it as it is.
    let switched_on = switched && row.enabled;
    if patch.accept_exit || !row.expect.expect().stable || redirected || switched_on {
        row.stable_exit_ip = None;
    }
    let fields = changes([
        ("proxy_id", redirected),
        ("priority", replace(&mut row.priority.0, patch.priority)),
        ("target", replace(&mut row.target.0, patch.target)),
        ("enabled", switched),
        ("expect", row.expect.expect() != before.expect.expect()),
        ("exclusive", replace(&mut row.exclusive, patch.exclusive)),
        ("stable_exit_ip", row.stable_exit_ip != before.stable_exit_ip),
    ]);
    if fields.is_empty() {
        return Ok(before.into());
    }
    // PENDING and FAILED mean closed. One that is switched off is as open as it was until the door
    // is shut; whoever shuts it says so.
    if row.enabled && (redirected || switched) {
        // What was true of the old way out says nothing of the new one.
        (row.state, row.reason, row.applied_at) = (Word(MappingState::Pending), "changed".to_owned(), None);
        let pending = Verdict { state: MappingState::Pending, reason: "it was changed".to_owned() };
        tell_state(db, own, id, &pending).await?;
    }
    let expect = row.expect.expect();
    sqlx::query(
        "update mappings set proxy_id = $2, priority = $3, target = $4, enabled = $5,
            expect_exit = $6, expect_country = $7, expect_stable = $8, exclusive = $9, stable_exit_ip = $10,
            state = $11, reason = $12, applied_at = $13, revision = revision + 1, updated_at = $14
         where id = $1",
    )
    .bind(id.0)
    .bind(row.proxy_id)
    .bind(row.priority)
    .bind(row.target)
    .bind(row.enabled)
    .bind(expect.exit_ip.map(Text))
    .bind(expect.country.map(Text))
    .bind(expect.stable)
    .bind(row.exclusive)
    .bind(row.stable_exit_ip)
    .bind(row.state)
    .bind(row.reason)
    .bind(row.applied_at)
    .bind(Text(now()))
    .execute(&mut *db)
    .await?;
    tell(db, own, News::Client(ClientId(row.client_id))).await?;
    if row.exclusive != before.exclusive {
        change_of_mind(db, own, id, row.exclusive).await?;
    }
    let now = live(db, id).await?;
    change(db, own, id, Action::Updated, &fields).await?;
    exits::settle(db, ClientId(now.client_id), By::current().0, "one of its mappings was changed").await?;
    Ok(now.into())
}

/// Whoever leads to the same address may be closed by it now, or open again.
async fn change_of_mind(
    db: &mut Connection,
    own: &str,
    id: MappingId,
    exclusive: bool,
) -> Result<(), StoreError> {
    holds::share(db, id, exclusive).await?;
    for owner in holds::sharers(db, id).await? {
        tell(db, own, News::Client(owner.client)).await?;
    }
    Ok(())
}

/// Those of a client or a proxy that are not going.
pub(super) async fn live_ids(
    db: &mut Connection,
    client: Option<ClientId>,
    proxy: Option<ProxyId>,
) -> Result<Vec<MappingId>, StoreError> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from mappings where (client_id = $1 or proxy_id = $2) and removed_at is null order by id",
    )
    .bind(client.map(|id| id.0))
    .bind(proxy.map(|id| id.0))
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(MappingId).collect())
}

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: MappingId,
    if_revision: Option<i64>,
) -> Result<Owner, StoreError> {
    let row = live(db, id).await?;
    unchanged(if_revision, row.revision)?;
    let client = ClientId(row.client_id);
    tell_removal(db, own, id).await?;
    sqlx::query("update mappings set removed_at = $2 where id = $1")
        .bind(id.0)
        .bind(Text(now()))
        .execute(&mut *db)
        .await?;
    tell(db, own, News::Client(client)).await?;
    exits::settle(db, client, By::current().0, "its mapping was removed").await?;
    Ok(Owner { client, gateway: row.gateway })
}

/// `applied_at` tells since when it is open without a break.
pub(super) async fn record_verdict(
    db: &mut Connection,
    own: &str,
    id: MappingId,
    verdict: &Verdict,
) -> Result<(), StoreError> {
    let Some(client) = tell_state(db, own, id, verdict).await? else { return Ok(()) };
    sqlx::query(
        "update mappings set state = $2, reason = $3,
            applied_at = case when $2 = 'APPLIED' then coalesce(applied_at, $4) end
         where id = $1 and removed_at is null and (state <> $2 or reason <> $3)",
    )
    .bind(id.0)
    .bind(Word(verdict.state))
    .bind(&verdict.reason)
    .bind(Text(now()))
    .execute(&mut *db)
    .await?;
    if verdict.state == MappingState::Failed {
        holds::release(db, id).await?;
    }
    exits::settle(db, client, None, &verdict.reason).await
}
