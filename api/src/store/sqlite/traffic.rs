//! The tables `traffic`, `health_history`, `traffic_names` and `traffic_counted`.

use pgw_core::control::{Carried, NameCount, Sum};
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::state::MappingState;
use sqlx::types::Json;
use sqlx::{QueryBuilder, Sqlite as Db, SqliteConnection as Connection};
use uuid::Uuid;

use super::values::Word;
use crate::store::StoreError;
use crate::store::traffic::{
    Census, Counted, CountedProxy, HEALTH_STEPS, HealthQuery, HealthRow, HealthSum, NAMES_STEP, NamesRow,
    Owner, TRAFFIC_STEPS, TrafficQuery, TrafficRecord, TrafficRow, of_rank, rank,
};

/// Rows in one statement; a row has seven values, and databases take 32,766.
const ROWS: usize = 1_000;
/// Of one width of steps. When there are more, the oldest go early.
const MOST_ROWS: i64 = 1_000_000;
/// More in one step would not be true, and a thousand times as much still has room in a column.
const MOST: u64 = 1 << 53;

type NamesOfHour = (i64, Uuid, Json<Vec<NameCount>>);

pub(super) async fn record(db: &mut Connection, found: &TrafficRecord) -> Result<(), StoreError> {
    for rows in found.traffic.chunks(ROWS) {
        add_traffic(db, rows).await?;
    }
    for rows in found.health.chunks(ROWS) {
        add_health(db, &found.gateway, rows).await?;
    }
    for rows in found.names.chunks(ROWS) {
        set_names(db, rows).await?;
    }
    for (port, run) in &found.gone {
        sqlx::query("delete from traffic_counted where gateway = $1 and port = $2 and run = $3")
            .bind(&found.gateway)
            .bind(i64::from(*port))
            .bind(run.cast_signed())
            .execute(&mut *db)
            .await?;
    }
    for rows in found.counted.chunks(ROWS) {
        set_counted(db, &found.gateway, rows).await?;
    }
    match found.forget_at {
        Some(now) => forget(db, now).await,
        None => Ok(()),
    }
}

async fn add_traffic(db: &mut Connection, rows: &[TrafficRow]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new(
        "insert into traffic (step_s, at, client_id, proxy_id, connections, bytes_up, bytes_down) ",
    );
    insert.push_values(rows, |mut row, TrafficRow { step_s, at, client, proxy, sum }| {
        row.push_bind(*step_s)
            .push_bind(*at)
            .push_bind(client.0)
            .push_bind(proxy.map_or(Uuid::nil(), |proxy| proxy.0))
            .push_bind(stored(sum.connections))
            .push_bind(stored(sum.bytes_up))
            .push_bind(stored(sum.bytes_down));
    });
    insert.push(
        " on conflict (step_s, at, client_id, proxy_id) do update set
            connections = traffic.connections + excluded.connections,
            bytes_up = traffic.bytes_up + excluded.bytes_up,
            bytes_down = traffic.bytes_down + excluded.bytes_down",
    );
    insert.build().execute(db).await?;
    Ok(())
}

async fn add_health(db: &mut Connection, gateway: &str, rows: &[HealthRow]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new(
        "insert into health_history (step_s, at, gateway, proxy_id, answered, latency_ms, worst) ",
    );
    insert.push_values(rows, |mut row, HealthRow { step_s, at, proxy, sum }| {
        row.push_bind(*step_s)
            .push_bind(*at)
            .push_bind(gateway.to_owned())
            .push_bind(proxy.0)
            .push_bind(i64::from(sum.answered))
            .push_bind(stored(sum.latency_ms))
            .push_bind(i64::from(rank(sum.worst)));
    });
    insert.push(
        " on conflict (step_s, at, gateway, proxy_id) do update set
            answered = health_history.answered + excluded.answered,
            latency_ms = health_history.latency_ms + excluded.latency_ms,
            worst = case when excluded.worst > health_history.worst
                then excluded.worst else health_history.worst end",
    );
    insert.build().execute(db).await?;
    Ok(())
}

async fn set_names(db: &mut Connection, rows: &[NamesRow]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new("insert into traffic_names (at, client_id, names) ");
    insert.push_values(rows, |mut row, NamesRow { at, client, names }| {
        row.push_bind(*at)
            .push_bind(client.map_or(Uuid::nil(), |client| client.0))
            .push_bind(Json(names.clone()));
    });
    insert.push(" on conflict (at, client_id) do update set names = excluded.names");
    insert.build().execute(db).await?;
    Ok(())
}

async fn set_counted(db: &mut Connection, gateway: &str, rows: &[Counted]) -> Result<(), StoreError> {
    let mut insert = QueryBuilder::<Db>::new("insert into traffic_counted (gateway, port, run, carried) ");
    insert.push_values(rows, |mut row, Counted { port, run, carried }| {
        row.push_bind(gateway.to_owned())
            .push_bind(i64::from(*port))
            .push_bind(run.cast_signed())
            .push_bind(Json(carried.clone()));
    });
    insert.push(" on conflict (gateway, port, run) do update set carried = excluded.carried");
    insert.build().execute(db).await?;
    Ok(())
}

async fn forget(db: &mut Connection, now: i64) -> Result<(), StoreError> {
    for step in TRAFFIC_STEPS {
        sqlx::query(
            "delete from traffic where step_s = $1 and (at < $2 or at <= coalesce(
                (select at from traffic where step_s = $1 order by at desc limit 1 offset $3), -1))",
        )
        .bind(step.width)
        // The step in which the window begins is needed, too.
        .bind(step.begin(now - step.kept))
        .bind(MOST_ROWS)
        .execute(&mut *db)
        .await?;
    }
    for step in HEALTH_STEPS {
        sqlx::query(
            "delete from health_history where step_s = $1 and (at < $2 or at <= coalesce(
                (select at from health_history where step_s = $1 order by at desc limit 1 offset $3), -1))",
        )
        .bind(step.width)
        .bind(step.begin(now - step.kept))
        .bind(MOST_ROWS)
        .execute(&mut *db)
        .await?;
    }
    // Whom a device called is nobody's business once it is no client any more.
    sqlx::query(
        "delete from traffic_names where at < $1 or (client_id <> $2
            and not exists (select 1 from clients where clients.id = traffic_names.client_id))",
    )
    .bind(NAMES_STEP.begin(now - NAMES_STEP.kept))
    .bind(Uuid::nil())
    .execute(db)
    .await?;
    Ok(())
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
    query: &HealthQuery,
) -> Result<Vec<(i64, HealthSum)>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64)> = sqlx::query_as(
        "select at, answered, latency_ms, worst from health_history
         where step_s = $1 and at >= $2 and gateway = $3 and proxy_id = $4 order by at",
    )
    .bind(query.step_s)
    .bind(query.from)
    .bind(&query.gateway)
    .bind(query.proxy.0)
    .fetch_all(db)
    .await?;
    let sum = |(at, answered, latency, worst)| {
        let answered = u32::try_from(answered).unwrap_or(u32::MAX);
        let worst = of_rank(i32::try_from(worst).unwrap_or_default());
        (at, HealthSum { answered, latency_ms: read(latency), worst })
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

pub(super) async fn counted(db: &mut Connection, gateway: &str) -> Result<Vec<Counted>, StoreError> {
    let rows: Vec<(i64, i64, Json<Vec<Carried>>)> =
        sqlx::query_as("select port, run, carried from traffic_counted where gateway = $1")
            .bind(gateway)
            .fetch_all(db)
            .await?;
    let one = |(port, run, Json(carried)): (i64, i64, _)| {
        let port = u16::try_from(port).unwrap_or_default();
        Counted { port, run: run.cast_unsigned(), carried }
    };
    Ok(rows.into_iter().map(one).collect())
}

pub(super) async fn owners(db: &mut Connection) -> Result<Vec<Owner>, StoreError> {
    let rows: Vec<(Uuid, Uuid, String, String, Uuid, String, i64)> = sqlx::query_as(
        "select m.id, c.id, c.name, c.ip, p.id, p.name, ports.port
         from mappings m join clients c on c.id = m.client_id join proxies p on p.id = m.proxy_id
            join ports on ports.client_id = m.client_id",
    )
    .fetch_all(db)
    .await?;
    let owner = |(mapping, client, client_name, client_ip, proxy, proxy_name, port)| Owner {
        mapping: MappingId(mapping),
        client: ClientId(client),
        client_name,
        client_ip,
        proxy: ProxyId(proxy),
        proxy_name,
        port: u16::try_from(port).unwrap_or_default(),
    };
    Ok(rows.into_iter().map(owner).collect())
}

pub(super) async fn census(db: &mut Connection) -> Result<Census, StoreError> {
    let (all, open, mapped): (i64, i64, i64) = sqlx::query_as(
        "select count(*),
            count(case when exists (select 1 from mappings m where m.client_id = c.id
                and m.removed_at is null and m.state = 'APPLIED') then 1 end),
            count(case when exists (select 1 from mappings m where m.client_id = c.id
                and m.removed_at is null) then 1 end)
         from clients c where c.removed_at is null",
    )
    .fetch_one(&mut *db)
    .await?;
    let mappings: Vec<(Word<MappingState>, i64)> = sqlx::query_as(
        "select state, count(*) from mappings where removed_at is null group by state order by state",
    )
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

fn stored(count: u64) -> i64 {
    count.min(MOST).cast_signed()
}

fn read(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
