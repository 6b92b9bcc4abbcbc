//! The table `tunnel_sessions`.

use jiff::{SignedDuration, Timestamp};
use pgw_core::ids::{SessionId, TunnelClientId};
use pgw_core::tunnel::SessionStatus;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::sortable;
use super::lists::{Column, Listing};
use super::values::{Number, now};
use crate::store::{ListQuery, Page, StoreError, TunnelSession};

/// Of one client; the oldest are forgotten.
const MOST: i64 = 500;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    tunnel_client_id: Uuid,
    address: String,
    version: String,
    carrier: String,
    started_at: Text<Timestamp>,
    ended_at: Option<Text<Timestamp>>,
    reason: Option<String>,
    bytes_in: Number<u64>,
    bytes_out: Number<u64>,
    connections: Number<u64>,
}

impl From<Row> for TunnelSession {
    fn from(row: Row) -> Self {
        Self {
            id: SessionId(row.id),
            tunnel_client_id: TunnelClientId(row.tunnel_client_id),
            address: row.address,
            version: row.version,
            carrier: row.carrier,
            started_at: row.started_at.0,
            ended_at: row.ended_at.map(|Text(at)| at),
            reason: row.reason,
            bytes_in: row.bytes_in.0,
            bytes_out: row.bytes_out.0,
            connections: row.connections.0,
        }
    }
}

pub(super) async fn list(
    db: &mut Connection,
    client: TunnelClientId,
    since: Option<Timestamp>,
    query: &ListQuery,
) -> Result<Page<TunnelSession>, StoreError> {
    let listing = Listing::new(query, Column::Id, "s.id");
    let statement = listing.statement(
        "s.*",
        "tunnel_sessions s where s.tunnel_client_id = $1
            and ($2 is null or s.ended_at is null or s.ended_at >= $2)",
        2,
    );
    let filled = sqlx::query(statement).bind(client.0).bind(since.map(sortable));
    listing.page(db, filled, |row: &Row| row.id).await
}

/// As it is now; with a reason it has ended.
pub(super) async fn write(
    db: &mut Connection,
    own: &str,
    client: TunnelClientId,
    session: &SessionStatus,
    ended: Option<&str>,
) -> Result<(), StoreError> {
    let at = now();
    let age = SignedDuration::from_millis(i64::try_from(session.age_ms).unwrap_or(i64::MAX));
    let known = sqlx::query(
        "update tunnel_sessions set bytes_in = $2, bytes_out = $3, connections = $4, ended_at = $5, reason = $6
         where id = $1 and ended_at is null",
    )
    .bind(session.id.0)
    .bind(Number(session.bytes_in))
    .bind(Number(session.bytes_out))
    .bind(Number(session.connections))
    .bind(ended.map(|_| sortable(at)))
    .bind(ended)
    .execute(&mut *db)
    .await?
    .rows_affected();
    if known > 0 {
        return Ok(());
    }
    let written = sqlx::query(
        "insert into tunnel_sessions (id, tunnel_client_id, gateway, address, version, carrier, started_at,
            ended_at, reason, bytes_in, bytes_out, connections)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (id) do nothing",
    )
    .bind(session.id.0)
    .bind(client.0)
    .bind(own)
    .bind(session.address.ip().to_canonical().to_string())
    .bind(&session.version)
    .bind(&session.carrier)
    .bind(sortable(at.checked_sub(age).unwrap_or(at)))
    .bind(ended.map(|_| sortable(at)))
    .bind(ended)
    .bind(Number(session.bytes_in))
    .bind(Number(session.bytes_out))
    .bind(Number(session.connections))
    .execute(&mut *db)
    .await?
    .rows_affected();
    if written > 0 {
        forget_oldest(db, client).await?;
    }
    Ok(())
}

async fn forget_oldest(db: &mut Connection, client: TunnelClientId) -> Result<(), StoreError> {
    sqlx::query(
        "delete from tunnel_sessions where tunnel_client_id = $1 and ended_at is not null and id not in
         (select id from tunnel_sessions where tunnel_client_id = $1 order by id desc limit $2)",
    )
    .bind(client.0)
    .bind(MOST)
    .execute(db)
    .await?;
    Ok(())
}

/// Those of this gateway that last, as far as is known.
pub(super) async fn open(db: &mut Connection, own: &str) -> Result<Vec<(Uuid, Uuid)>, StoreError> {
    Ok(sqlx::query_as(
        "select id, tunnel_client_id from tunnel_sessions where gateway = $1 and ended_at is null",
    )
    .bind(own)
    .fetch_all(db)
    .await?)
}

/// Nobody saw it end.
pub(super) async fn end_unseen(db: &mut Connection, id: Uuid) -> Result<(), StoreError> {
    sqlx::query("update tunnel_sessions set ended_at = $2, reason = $3 where id = $1 and ended_at is null")
        .bind(id)
        .bind(sortable(now()))
        .bind("it ended while nobody watched")
        .execute(db)
        .await?;
    Ok(())
}
