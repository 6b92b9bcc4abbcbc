//! The tables `events`, `event_log` and `agent_news`.

use jiff::Timestamp;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use serde_json::Value;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::gateways::tell;
use super::values::Word;
use crate::events::{Action, Event, Kind, NewEvent, Thing};
use crate::store::{By, Heard, JournalPage, JournalQuery, LogEnds, News, StoreError};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: i64,
    at: Text<Timestamp>,
    gateway: String,
    kind: Word<Kind>,
    client_id: Option<Uuid>,
    mapping_id: Option<Uuid>,
    proxy_id: Option<Uuid>,
    asked_by: Option<String>,
    data: Text<Value>,
}

impl From<Row> for Event {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            at: row.at.0,
            gateway: row.gateway,
            kind: row.kind.0,
            client_id: row.client_id.map(ClientId),
            mapping_id: row.mapping_id.map(MappingId),
            proxy_id: row.proxy_id.map(ProxyId),
            by: row.asked_by,
            data: row.data.0,
        }
    }
}

/// With as many digits for every time, so that their order is that of their texts.
pub(super) fn sortable(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Answers with its id, which is larger than that of everything that was written before.
pub(super) async fn write(db: &mut Connection, own: &str, event: &NewEvent) -> Result<i64, StoreError> {
    tell(db, own, News::Events).await?;
    Ok(sqlx::query_scalar(
        "insert into events (at, gateway, kind, client_id, mapping_id, proxy_id, asked_by, data)
         values ($1, $2, $3, $4, $5, $6, $7, $8) returning id",
    )
    .bind(sortable(event.at))
    .bind(own)
    .bind(Word(event.kind))
    .bind(event.client_id.map(|id| id.0))
    .bind(event.mapping_id.map(|id| id.0))
    .bind(event.proxy_id.map(|id| id.0))
    .bind(&event.by)
    .bind(event.data.to_string())
    .fetch_one(db)
    .await?)
}

/// Of a change that an operator made, in the transaction of the change. Answers with the event's id.
pub(super) async fn changed(
    db: &mut Connection,
    own: &str,
    what: Thing,
    action: Action,
    name: &str,
    fields: &[&str],
) -> Result<i64, StoreError> {
    write(db, own, &NewEvent::change(By::current().0, what, action, name, fields)).await
}

/// The names of those fields that are another now.
pub(super) fn changes<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    fields.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
}

pub(super) async fn record(db: &mut Connection, own: &str, events: &[NewEvent]) -> Result<(), StoreError> {
    for event in events {
        write(db, own, event).await?;
    }
    Ok(())
}

pub(super) async fn record_news(
    db: &mut Connection,
    own: &str,
    heard: Heard,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    record(db, own, events).await?;
    sqlx::query(
        "insert into agent_news (gateway, run, number) values ($1, $2, $3)
         on conflict (gateway) do update set run = excluded.run, number = excluded.number",
    )
    .bind(own)
    .bind(heard.run)
    .bind(i64::try_from(heard.number).unwrap_or(i64::MAX))
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn heard(db: &mut Connection, own: &str) -> Result<Option<Heard>, StoreError> {
    let row: Option<(Uuid, i64)> = sqlx::query_as("select run, number from agent_news where gateway = $1")
        .bind(own)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|(run, number)| Heard { run, number: u64::try_from(number).unwrap_or(0) }))
}

pub(super) async fn ends(db: &mut Connection) -> Result<LogEnds, StoreError> {
    let (oldest, latest): (i64, Option<i64>) =
        sqlx::query_as("select complete_from, (select max(id) from events) from event_log")
            .fetch_one(db)
            .await?;
    Ok(LogEnds { oldest, latest: latest.unwrap_or(0) })
}

pub(super) async fn after(db: &mut Connection, after: i64, limit: u32) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("select * from events where id > $1 order by id limit $2")
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

pub(super) async fn own_after(
    db: &mut Connection,
    own: &str,
    after: i64,
    limit: u32,
) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<Row> =
        sqlx::query_as("select * from events where id > $1 and gateway = $2 order by id limit $3")
            .bind(after)
            .bind(own)
            .bind(i64::from(limit))
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// What leads is what an index is there for; the rest filters what it finds.
macro_rules! journal {
    ($lead:literal) => {
        concat!(
            "select * from events where ",
            $lead,
            " and id < $2 and at >= $3 and at <= $4
              and ($5 is null or $5 like '%,' || kind || ',%')
              and ($6 is null or asked_by = $6)
              and ($7 is null or client_id = $7)
              and ($8 is null or mapping_id = $8)
              and ($9 is null or proxy_id = $9)
              order by id desc limit $10"
        )
    };
}

pub(super) async fn journal(db: &mut Connection, query: &JournalQuery) -> Result<JournalPage, StoreError> {
    let (client, mapping, proxy) =
        (query.client_id.map(|id| id.0), query.mapping_id.map(|id| id.0), query.proxy_id.map(|id| id.0));
    let by_id = |sql, id: Uuid| sqlx::query_as::<_, Row>(sql).bind(id);
    let statement = match (mapping, client, proxy, query.kinds.as_slice()) {
        (Some(id), _, _, _) => by_id(journal!("mapping_id = $1"), id),
        (_, Some(id), _, _) => by_id(journal!("client_id = $1"), id),
        (_, _, Some(id), _) => by_id(journal!("proxy_id = $1"), id),
        (None, None, None, [kind]) => sqlx::query_as(journal!("kind = $1")).bind(Word(*kind)),
        (None, None, None, _) => sqlx::query_as(journal!("$1 = 1")).bind(1_i64),
    };
    let words: Vec<&str> = query.kinds.iter().map(|kind| kind.as_str()).collect();
    let kinds = (!words.is_empty()).then(|| format!(",{},", words.join(",")));
    let mut rows: Vec<Row> = statement
        .bind(query.before.unwrap_or(i64::MAX))
        .bind(query.from.map_or_else(String::new, sortable))
        .bind(query.to.map_or_else(|| "9999".to_owned(), sortable))
        .bind(kinds)
        .bind(&query.by)
        .bind(client)
        .bind(mapping)
        .bind(proxy)
        .bind(i64::from(query.limit) + 1)
        .fetch_all(db)
        .await?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|row| row.id) } else { None };
    Ok(JournalPage { items: rows.into_iter().map(Event::from).collect(), next })
}

/// The oldest first. What `client_exits` points to is kept: it tells where somebody gets out now. Old is what
/// comes before the first event that is not: one that a clock which was behind has dated takes no other along.
pub(super) async fn forget(
    db: &mut Connection,
    before: Timestamp,
    rows: u32,
    most: u32,
) -> Result<u64, StoreError> {
    // By the order of the log, and not by the index of times, which finds all that are not old.
    let not_old: Option<i64> =
        sqlx::query_scalar("select id from events where at || '' >= $1 order by id limit 1")
            .bind(sortable(before))
            .fetch_optional(&mut *db)
            .await?;
    let latest = ends(db).await?.latest;
    let old = not_old.map_or(latest, |first| first - 1);
    let last = old.max(latest - i64::from(rows));
    let gone: Vec<i64> = sqlx::query_scalar(
        "delete from events where id in (
            select e.id from events e
            where e.id <= $1 and not exists (select 1 from client_exits x where x.event_id = e.id)
            order by e.id limit $2)
         returning id",
    )
    .bind(last)
    .bind(i64::from(most))
    .fetch_all(&mut *db)
    .await?;
    if let Some(newest) = gone.iter().max() {
        sqlx::query("update event_log set complete_from = $1 where complete_from < $1")
            .bind(newest + 1)
            .execute(db)
            .await?;
    }
    Ok(gone.len().try_into().unwrap_or(u64::MAX))
}
