//! What is read from them: sums over time, names, and what there is of everything.

use pgw_core::control::{Carried, NameCount, Sum};
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::state::MappingState;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::db::Connection;
use super::super::values::{Number, Word};
use crate::store::StoreError;
use crate::store::traffic::{
    Census, Counted, CountedProxy, HealthQuery, HealthSum, MappingOwner, NamesRow, TrafficQuery, of_rank,
};

type NamesOfHour = (i64, Uuid, Json<Vec<NameCount>>);

#[derive(sqlx::FromRow)]
struct OwnerRow {
    mapping: Uuid,
    client: Uuid,
    client_name: String,
    client_ip: String,
    proxy: Uuid,
    proxy_name: String,
    port: Number<u16>,
}

impl From<OwnerRow> for MappingOwner {
    fn from(row: OwnerRow) -> Self {
        Self {
            mapping: MappingId(row.mapping),
            client: ClientId(row.client),
            client_name: row.client_name,
            client_ip: row.client_ip,
            proxy: ProxyId(row.proxy),
            proxy_name: row.proxy_name,
            port: row.port.0,
        }
    }
}

pub(super) async fn over_time(
    db: &mut Connection,
    query: &TrafficQuery,
) -> Result<Vec<(i64, Sum)>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "select at, cast(sum(connections) as bigint), cast(sum(bytes_up) as bigint),
            cast(sum(bytes_down) as bigint)
         from traffic where step_s = $1 and at >= $2
            and ($3 is null or client_id = $3) and ($4 is null or proxy_id = $4)
         group by at order by at",
    )
    .bind(query.step_s)
    .bind(query.from)
    .bind(query.client.map(|client| client.0))
    .bind(query.proxy.map(|proxy| proxy.0))
    .fetch_all(db)
    .await?;
    let sum = |(at, connections, up, down)| {
        (at, Sum { connections: read(connections), bytes_up: read(up), bytes_down: read(down) })
    };
    Ok(rows.into_iter().map(sum).collect())
}

pub(super) async fn health(
    db: &mut Connection,
    own: &str,
    query: &HealthQuery,
) -> Result<Vec<(i64, HealthSum)>, StoreError> {
    let rows: Vec<(i64, Number<u32>, i64, Number<u32>)> = sqlx::query_as(
        "select at, answered, latency_ms, worst from health_history
         where step_s = $1 and at >= $2 and gateway = $3 and proxy_id = $4 order by at",
    )
    .bind(query.step_s)
    .bind(query.from)
    .bind(own)
    .bind(query.proxy.0)
    .fetch_all(db)
    .await?;
    let sum = |(at, Number(answered), latency, Number(worst))| {
        (at, HealthSum { answered, latency_ms: read(latency), worst: of_rank(worst) })
    };
    Ok(rows.into_iter().map(sum).collect())
}

pub(super) async fn names(
    db: &mut Connection,
    client: Option<ClientId>,
    from: i64,
) -> Result<Vec<NamesRow>, StoreError> {
    let rows: Vec<NamesOfHour> = sqlx::query_as(
        "select at, client_id, names from traffic_names where client_id = $1 and at >= $2 order by at",
    )
    .bind(client.map_or(Uuid::nil(), |client| client.0))
    .bind(from)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(names_row).collect())
}

pub(super) async fn names_of_hour(db: &mut Connection, at: i64) -> Result<Vec<NamesRow>, StoreError> {
    let rows: Vec<NamesOfHour> =
        sqlx::query_as("select at, client_id, names from traffic_names where at = $1 and client_id <> $2")
            .bind(at)
            .bind(Uuid::nil())
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(names_row).collect())
}

fn names_row((at, client, Json(names)): NamesOfHour) -> NamesRow {
    NamesRow { at, client: (!client.is_nil()).then_some(ClientId(client)), names }
}

pub(super) async fn counted(db: &mut Connection, own: &str) -> Result<Vec<Counted>, StoreError> {
    let rows: Vec<(Number<u16>, i64, Json<Vec<Carried>>)> =
        sqlx::query_as("select port, run, carried from traffic_counted where gateway = $1")
            .bind(own)
            .fetch_all(db)
            .await?;
    let one = |(Number(port), run, Json(carried)): (Number<u16>, i64, _)| Counted {
        port,
        run: run.cast_unsigned(),
        carried,
    };
    Ok(rows.into_iter().map(one).collect())
}

pub(super) async fn owners(db: &mut Connection, own: &str) -> Result<Vec<MappingOwner>, StoreError> {
    let rows: Vec<OwnerRow> = sqlx::query_as(
        "select m.id as mapping, c.id as client, c.name as client_name, c.ip as client_ip, p.id as proxy,
            p.name as proxy_name, ports.port
         from mappings m join clients c on c.id = m.client_id join proxies p on p.id = m.proxy_id
            join ports on ports.client_id = m.client_id
         where c.gateway = $1",
    )
    .bind(own)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(MappingOwner::from).collect())
}

pub(super) async fn census(db: &mut Connection, own: &str) -> Result<Census, StoreError> {
    let (all, open, mapped): (i64, i64, i64) = sqlx::query_as(
        "select count(*),
            count(case when exists (select 1 from mappings m where m.client_id = c.id
                and m.removed_at is null and m.state = 'APPLIED') then 1 end),
            count(case when exists (select 1 from mappings m where m.client_id = c.id
                and m.removed_at is null) then 1 end)
         from clients c where c.removed_at is null and c.gateway = $1",
    )
    .bind(own)
    .fetch_one(&mut *db)
    .await?;
    let mappings: Vec<(Word<MappingState>, i64)> = sqlx::query_as(
        "select m.state, count(*) from mappings m join clients c on c.id = m.client_id
         where m.removed_at is null and c.gateway = $1 group by m.state order by m.state",
    )
    .bind(own)
    .fetch_all(&mut *db)
    .await?;
    let proxies: Vec<(Uuid, String, bool)> =
        sqlx::query_as("select id, name, enabled from proxies where removed_at is null order by id")
            .fetch_all(db)
            .await?;
    Ok(Census {
        clients_open: open,
        clients_closed: mapped - open,
        clients_unmapped: all - mapped,
        mappings: mappings.into_iter().map(|(state, count)| (state.0, count)).collect(),
        proxies: proxies
            .into_iter()
            .map(|(id, name, enabled)| CountedProxy { id: ProxyId(id), name, enabled })
            .collect(),
    })
}

fn read(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
