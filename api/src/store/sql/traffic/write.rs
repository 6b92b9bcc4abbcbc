//! Adds what was counted to the rows that are there, and drops what is old.

use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::super::db::{Connection, Db};
use super::super::values::Number;
use crate::store::StoreError;
use crate::store::traffic::{
    Counted, HEALTH_STEPS, HealthRow, NAMES_STEP, NamesRow, TRAFFIC_STEPS, TrafficRecord, TrafficRow, rank,
};

/// Rows in one statement; a row has seven values, and databases take 32,766.
const ROWS: usize = 1_000;
/// Of one width of steps. When there are more, the oldest go early.
const MOST_ROWS: i64 = 1_000_000;
/// More in one step would not be true, and a thousand times as much still has room in a column.
const MOST: u64 = 1 << 53;

pub(super) async fn record(db: &mut Connection, own: &str, found: &TrafficRecord) -> Result<(), StoreError> {
    for rows in found.traffic.chunks(ROWS) {
        add_traffic(db, rows).await?;
    }
    for rows in found.health.chunks(ROWS) {
        add_health(db, own, rows).await?;
    }
    for rows in found.names.chunks(ROWS) {
        set_names(db, rows).await?;
    }
    for (port, run) in &found.gone {
        sqlx::query("delete from traffic_counted where gateway = $1 and port = $2 and run = $3")
            .bind(own)
            .bind(Number(*port))
            .bind(run.cast_signed())
            .execute(&mut *db)
            .await?;
    }
    for rows in found.counted.chunks(ROWS) {
        set_counted(db, own, rows).await?;
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
            .push_bind(Number(sum.answered))
            .push_bind(stored(sum.latency_ms))
            .push_bind(Number(rank(sum.worst)));
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
            .push_bind(Number(*port))
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

fn stored(count: u64) -> i64 {
    count.min(MOST).cast_signed()
}
