//! A row, written as it is.

use sqlx::Database;
use sqlx::query::Query;
use sqlx::types::Text;

use super::super::db::{Connection, Db};
use super::super::values::{Number, now};
use super::row::Row;
use crate::store::StoreError;

type Filled<'q> = Query<'q, Db, <Db as Database>::Arguments>;

pub(super) async fn insert(db: &mut Connection, row: &Row) -> Result<(), StoreError> {
    let insert = sqlx::query(
        "insert into tunnels (id, name, protocol, public_port, host, path, header_name, header_value,
            local_host, local_port, enabled, verified, code, code_expires_at, code_attempts, bandwidth,
            max_connections, max_per_visitor, requests_per_minute, visitor_allow, auth_names, auth_passwords,
            compression, proxy_protocol, udp_idle_s, state, reason, updated_at,
            tunnel_client_id, gateway, origin, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
            $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $28)",
    );
    filled(insert, row).bind(row.tunnel_client_id).bind(&row.gateway).bind(row.origin).execute(db).await?;
    Ok(())
}

/// What an operator can change of it, and what follows from that.
pub(super) async fn update(db: &mut Connection, row: &Row) -> Result<(), StoreError> {
    let update = sqlx::query(
        "update tunnels set name = $2, protocol = $3, public_port = $4, host = $5, path = $6,
            header_name = $7, header_value = $8, local_host = $9, local_port = $10, enabled = $11,
            verified = $12, code = $13, code_expires_at = $14, code_attempts = $15, bandwidth = $16,
            max_connections = $17, max_per_visitor = $18, requests_per_minute = $19, visitor_allow = $20,
            auth_names = $21, auth_passwords = $22, compression = $23, proxy_protocol = $24,
            udp_idle_s = $25, state = $26, reason = $27, updated_at = $28, revision = revision + 1
         where id = $1",
    );
    filled(update, row).execute(db).await?;
    Ok(())
}

fn filled<'q>(query: Filled<'q>, row: &'q Row) -> Filled<'q> {
    query
        .bind(row.id)
        .bind(&row.name)
        .bind(row.protocol)
        .bind(row.public_port)
        .bind(&row.host)
        .bind(&row.path)
        .bind(&row.header_name)
        .bind(&row.header_value)
        .bind(&row.local_host)
        .bind(row.local_port)
        .bind(row.enabled)
        .bind(row.verified)
        .bind(row.code.clone())
        .bind(row.code_expires_at)
        .bind(row.code_attempts)
        .bind(row.bandwidth)
        .bind(row.max_connections)
        .bind(row.max_per_visitor)
        .bind(row.requests_per_minute)
        .bind(&row.visitor_allow)
        .bind(&row.auth_names)
        .bind(&row.auth_passwords)
        .bind(row.compression)
        .bind(row.proxy_protocol)
        .bind(row.udp_idle_s)
        .bind(row.state)
        .bind(&row.reason)
        .bind(Text(now()))
}

/// What the daemon said of it. No operator's change: its revision stays.
pub(super) async fn update_seen(db: &mut Connection, row: &Row) -> Result<(), StoreError> {
    sqlx::query(
        "update tunnels set state = $2, reason = $3, bytes_in = $4, bytes_out = $5, connections = $6,
            active = $7, told_in = $8, told_out = $9, told_connections = $10, public_port = $11
         where id = $1",
    )
    .bind(row.id)
    .bind(row.state)
    .bind(&row.reason)
    .bind(row.bytes_in)
    .bind(row.bytes_out)
    .bind(row.connections)
    .bind(row.active)
    .bind(row.told_in)
    .bind(row.told_out)
    .bind(row.told_connections)
    .bind(row.public_port.map(|port| Number(port.0)))
    .execute(db)
    .await?;
    Ok(())
}
