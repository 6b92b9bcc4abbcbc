//! Where each client gets out: the table `client_exits`, which holds what was last written of it, and
//! the events `client.exit`.

use jiff::Timestamp;
use pgw_core::country::Country;
use pgw_core::ids::{ClientId, ClientIp, MappingId, ProxyId};
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::{self, Row as EventRow, sortable};
use crate::events::{Device, Event, Exit, NewEvent};
use crate::store::{ExitAt, StoreError, Unwatched};

#[derive(sqlx::FromRow)]
struct Effective {
    mapping_id: Uuid,
    proxy_id: Uuid,
    proxy: String,
    exit_ip: Option<String>,
    country: Option<Text<Country>>,
}

/// Whose way out it is, and where.
#[derive(sqlx::FromRow)]
struct Whose {
    name: String,
    ip: Text<ClientIp>,
    gateway: String,
}

#[derive(sqlx::FromRow)]
struct Known {
    mapping_id: Option<Uuid>,
    exit_ip: Option<String>,
}

/// Writes an event if the client's effective way out, its first APPLIED mapping, is another than was
/// last written, or is none now. A way that is going counts as gone: its end was asked for.
pub(super) async fn settle(
    db: &mut Connection,
    client: ClientId,
    by: Option<String>,
    reason: &str,
) -> Result<(), StoreError> {
    let now: Option<Effective> = sqlx::query_as(
        "select m.id as mapping_id, m.proxy_id, p.name as proxy, h.exit_ip, h.country
         from mappings m
         join clients c on c.id = m.client_id
         join proxies p on p.id = m.proxy_id
         left join proxy_health h on h.proxy_id = p.id and h.gateway = c.gateway
         where m.client_id = $1 and m.state = 'APPLIED' and m.removed_at is null
         order by m.priority, m.id limit 1",
    )
    .bind(client.0)
    .fetch_optional(&mut *db)
    .await?;
    let known: Option<Known> =
        sqlx::query_as("select mapping_id, exit_ip from client_exits where client_id = $1")
            .bind(client.0)
            .fetch_optional(&mut *db)
            .await?;
    let same = known.is_some_and(|known| match &now {
        Some(now) => (known.mapping_id, &known.exit_ip) == (Some(now.mapping_id), &now.exit_ip),
        None => known.mapping_id.is_none(),
    });
    if same {
        return Ok(());
    }
    let exit = now.as_ref().map(|now| Exit {
        mapping_id: MappingId(now.mapping_id),
        proxy: now.proxy.clone(),
        exit_ip: now.exit_ip.clone(),
        country: now.country.map(|Text(country)| country),
    });
    let through = now.as_ref().zip(exit.as_ref()).map(|(now, exit)| (ProxyId(now.proxy_id), exit));
    let whose: Option<Whose> = sqlx::query_as("select name, ip, gateway from clients where id = $1")
        .bind(client.0)
        .fetch_optional(&mut *db)
        .await?;
    let Some(Whose { name, ip, gateway }) = whose else { return Ok(()) };
    let device = Device { id: client, name: &name, ip: ip.0.addr() };
    let event = NewEvent { by, ..NewEvent::exit(&device, through, reason) };
    // It happens where the client is, whoever asked for it.
    let id = events::write(db, &gateway, &event).await?;
    sqlx::query(
        "insert into client_exits (client_id, event_id, mapping_id, exit_ip) values ($1, $2, $3, $4)
         on conflict (client_id) do update set
            event_id = excluded.event_id, mapping_id = excluded.mapping_id, exit_ip = excluded.exit_ip",
    )
    .bind(client.0)
    .bind(id)
    .bind(now.as_ref().map(|now| now.mapping_id))
    .bind(now.as_ref().and_then(|now| now.exit_ip.as_ref()))
    .execute(db)
    .await?;
    Ok(())
}

/// Before anything is looked at.
pub(super) async fn begin_watch(db: &mut Connection, own: &str, version: &str) -> Result<(), StoreError> {
    let seen: Option<Text<Timestamp>> = sqlx::query_scalar("select seen_at from gateways where name = $1")
        .bind(own)
        .fetch_optional(&mut *db)
        .await?;
    // Between two of its signs of life it may have written something.
    let wrote: Option<Text<Timestamp>> =
        sqlx::query_scalar("select at from events where gateway = $1 order by id desc limit 1")
            .bind(own)
            .fetch_optional(&mut *db)
            .await?;
    let last = [seen, wrote].into_iter().flatten().map(|Text(at)| at).max();
    events::write(db, own, &NewEvent::started(version, last)).await?;
    settle_all(db, own).await
}

/// At the start: whoever does not get out where it was last written, or of whom nothing was written
/// yet.
async fn settle_all(db: &mut Connection, own: &str) -> Result<(), StoreError> {
    let clients: Vec<Uuid> =
        sqlx::query_scalar("select id from clients where gateway = $1 and removed_at is null order by id")
            .bind(own)
            .fetch_all(&mut *db)
            .await?;
    for client in clients {
        settle(db, ClientId(client), None, "so it was found when pgw-api started").await?;
    }
    Ok(())
}

/// Of a client that is gone nothing is kept beyond the log's bounds.
pub(super) async fn forget(db: &mut Connection, client: ClientId) -> Result<(), StoreError> {
    sqlx::query(
        "delete from client_exits where client_id = $1 and not exists (select 1 from clients where id = $1)",
    )
    .bind(client.0)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn at(db: &mut Connection, client: ClientId, at: Timestamp) -> Result<ExitAt, StoreError> {
    let because = last(db, client, at, i64::MAX).await?;
    let before = match &because {
        Some(because) => last(db, client, at, because.id).await?,
        None => None,
    };
    let known_from: Option<Text<Timestamp>> = sqlx::query_scalar(
        "select at from events where client_id = $1 and kind = 'client.exit' order by id limit 1",
    )
    .bind(client.0)
    .fetch_optional(&mut *db)
    .await?;
    let unwatched = match &because {
        Some(because) => unwatched(db, &because.gateway, at).await?,
        None => None,
    };
    Ok(ExitAt { because, before, known_from: known_from.map(|Text(at)| at), unwatched })
}

async fn last(
    db: &mut Connection,
    client: ClientId,
    at: Timestamp,
    before: i64,
) -> Result<Option<Event>, StoreError> {
    let row: Option<EventRow> = sqlx::query_as(
        "select * from events where client_id = $1 and kind = 'client.exit' and at <= $2 and id < $3
         order by id desc limit 1",
    )
    .bind(client.0)
    .bind(sortable(at))
    .bind(before)
    .fetch_optional(db)
    .await?;
    Ok(row.map(Event::from))
}

/// The first start after the time says since when nobody had watched.
async fn unwatched(db: &mut Connection, own: &str, at: Timestamp) -> Result<Option<Unwatched>, StoreError> {
    let row: Option<EventRow> = sqlx::query_as(
        "select * from events where kind = 'gateway' and gateway = $1 and at > $2 order by id limit 1",
    )
    .bind(own)
    .bind(sortable(at))
    .fetch_optional(db)
    .await?;
    let Some(started) = row.map(Event::from) else { return Ok(None) };
    let since =
        started.data.get("unwatched_since").and_then(|since| since.as_str()?.parse::<Timestamp>().ok());
    Ok(since.filter(|since| *since <= at).map(|from| Unwatched { from, to: started.at }))
}
