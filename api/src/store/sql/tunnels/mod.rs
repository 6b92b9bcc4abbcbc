//! The table `tunnels`.

mod codes;
mod ports;
mod row;
mod save;
mod seen;
mod shall;
mod snapshot;
mod write;

use pgw_core::ids::TunnelId;
use uuid::Uuid;

use super::db::Connection;
use super::lists::{Column, Listing};
use super::values::{Number, Word, pattern};
use crate::store::{CountedTunnel, ListQuery, Page, SortBy, StoreError, Tunnel, TunnelCensus};

pub(super) use codes::{by_code, renew, verify};
pub(super) use row::Row;
pub(super) use seen::record;
pub(super) use shall::desired;
pub(super) use snapshot::enter;
pub(super) use write::{amend, close, create, make, remove, update, vacate};

macro_rules! from {
    () => {
        "tunnels t join tunnel_clients c on c.id = t.tunnel_client_id"
    };
}
macro_rules! select {
    ($which:literal) => {
        concat!("select t.*, c.name as client from ", from!(), " where ", $which)
    };
}
use {from, select};

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<Tunnel>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(t.name)"),
        SortBy::ClientName => Column::Text("lower(c.name)"),
        SortBy::State => Column::Text("t.state"),
        SortBy::Port => Column::Number("coalesce(t.public_port, 0)"),
        SortBy::Updated => Column::Text("rtrim(t.updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "t.id");
    let statement = listing.statement(
        "t.*, c.name as client",
        concat!(
            from!(),
            r" where ($1 is null or t.gateway = $1)
            and ($2 is null or lower(t.name) like $2 escape '\' or lower(c.name) like $2 escape '\'
                 or lower(t.host) like $2 escape '\' or lower(t.local_host) like $2 escape '\'
                 or cast(t.public_port as text) like $2 escape '\')
            and ($3 is null or t.tunnel_client_id = $3) and ($4 is null or t.state = $4)
            and ($5 is null or t.protocol = $5) and ($6 is null or t.origin = $6)"
        ),
        6,
    );
    let filter = &query.tunnels;
    let filled = sqlx::query(statement)
        .bind(query.gateway.clone())
        .bind(pattern(query))
        .bind(filter.client.map(|id| id.0))
        .bind(filter.state.map(Word))
        .bind(filter.protocol.map(Word))
        .bind(filter.origin.map(Word));
    listing.page(db, filled, |row: &Row| row.id).await
}

pub(super) async fn live(db: &mut Connection, id: TunnelId) -> Result<Row, StoreError> {
    sqlx::query_as(select!("t.id = $1"))
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("tunnel"))
}

async fn of_gateway(db: &mut Connection, gateway: &str) -> Result<Vec<Row>, StoreError> {
    Ok(sqlx::query_as(select!("t.gateway = $1 order by t.id")).bind(gateway).fetch_all(db).await?)
}

pub(super) async fn census(db: &mut Connection) -> Result<TunnelCensus, StoreError> {
    type Counted = (Uuid, String, Number<u64>, Number<u64>, Number<u64>, Number<u32>);
    let (all, online): (i64, i64) =
        sqlx::query_as("select count(*), count(session_id) from tunnel_clients").fetch_one(&mut *db).await?;
    let states: Vec<(Word<pgw_core::tunnel::State>, i64)> =
        sqlx::query_as("select state, count(*) from tunnels group by state").fetch_all(&mut *db).await?;
    let tunnels: Vec<Counted> = sqlx::query_as(
        "select id, name, bytes_in, bytes_out, connections, active from tunnels
         where origin = 'operator' order by id",
    )
    .fetch_all(db)
    .await?;
    let counted = |(id, name, bytes_in, bytes_out, connections, active): Counted| CountedTunnel {
        id: TunnelId(id),
        name,
        bytes_in: bytes_in.0,
        bytes_out: bytes_out.0,
        connections: connections.0,
        active: active.0,
    };
    Ok(TunnelCensus {
        online,
        offline: all - online,
        states: states.into_iter().map(|(state, many)| (state.0, many)).collect(),
        tunnels: tunnels.into_iter().map(counted).collect(),
    })
}
