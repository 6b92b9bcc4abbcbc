//! The table `exit_holds`: who leaves by which address. Every caller that changes something holds the
//! write lock, so nobody takes an address in between.

use std::collections::HashMap;
use std::net::IpAddr;

use pgw_core::ids::{ClientId, ClientIp, MappingId};
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use crate::store::{ExitHold, Holder, Owner, StoreError};

#[derive(sqlx::FromRow)]
struct HolderRow {
    client: String,
    ip: Text<ClientIp>,
    gateway: String,
}

#[derive(sqlx::FromRow)]
struct HoldRow {
    mapping_id: Uuid,
    exit_ip: Text<IpAddr>,
    /// The number of whoever has held it for longer.
    rival: Option<i64>,
}

impl From<HolderRow> for Holder {
    fn from(row: HolderRow) -> Self {
        Self { client: row.client, ip: row.ip.0.addr(), gateway: row.gateway }
    }
}

/// Of one that wants the address for itself everybody is in the way who has it; of the others, those
/// who have it for themselves. Two questions, each answered by an index: many may share an address.
macro_rules! rival {
    ($condition:literal) => {
        concat!(
            "(select o.number from exit_holds o
              where o.exit_ip = h.exit_ip and o.client_id <> h.client_id and o.number < h.number ",
            $condition,
            " order by o.number limit 1)"
        )
    };
}

macro_rules! holds {
    ($of:literal) => {
        concat!(
            "select h.mapping_id, h.exit_ip, case when h.exclusive then ",
            rival!(""),
            " else ",
            rival!("and o.exclusive"),
            " end as rival from exit_holds h ",
            $of
        )
    };
}

pub(super) async fn of_gateway(
    db: &mut Connection,
    gateway: &str,
) -> Result<HashMap<MappingId, ExitHold>, StoreError> {
    let rows =
        sqlx::query_as(holds!("where h.client_id in (select client_id from ports where gateway = $1)"))
            .bind(gateway)
            .fetch_all(&mut *db)
            .await?;
    told(db, rows).await
}

pub(super) async fn of_client(
    db: &mut Connection,
    client: ClientId,
) -> Result<HashMap<MappingId, ExitHold>, StoreError> {
    let rows = sqlx::query_as(holds!("where h.client_id = $1")).bind(client.0).fetch_all(&mut *db).await?;
    told(db, rows).await
}

async fn told(db: &mut Connection, rows: Vec<HoldRow>) -> Result<HashMap<MappingId, ExitHold>, StoreError> {
    let mut holds = HashMap::with_capacity(rows.len());
    for row in rows {
        let rival = match row.rival {
            // There is one only after somebody has changed his mind about sharing.
            Some(number) => holder(db, number).await?,
            None => None,
        };
        holds.insert(MappingId(row.mapping_id), ExitHold { exit_ip: row.exit_ip.0, rival });
    }
    Ok(holds)
}

async fn holder(db: &mut Connection, number: i64) -> Result<Option<Holder>, StoreError> {
    let row: Option<HolderRow> = sqlx::query_as(
        "select c.name as client, c.ip, c.gateway from exit_holds h join clients c on c.id = h.client_id
         where h.number = $1",
    )
    .bind(number)
    .fetch_optional(db)
    .await?;
    Ok(row.map(Holder::from))
}

/// Who is in the way of each.
pub(super) async fn in_the_way(
    db: &mut Connection,
    client: ClientId,
    wanted: &[(MappingId, IpAddr)],
) -> Result<Vec<(MappingId, Holder)>, StoreError> {
    let mut found = Vec::new();
    for (mapping, exit_ip) in wanted {
        let number: Option<i64> = sqlx::query_scalar(
            "select o.number from exit_holds o join mappings m on m.id = $3
             where o.exit_ip = $1 and o.client_id <> $2 and (o.exclusive or m.exclusive)
             order by o.number limit 1",
        )
        .bind(exit_ip.to_string())
        .bind(client.0)
        .bind(mapping.0)
        .fetch_optional(&mut *db)
        .await?;
        let Some(number) = number else { continue };
        found.extend(holder(db, number).await?.map(|holder| (*mapping, holder)));
    }
    Ok(found)
}

/// Those of whom nobody is in the way; the others go on holding what they held.
pub(super) async fn take(
    db: &mut Connection,
    client: ClientId,
    wanted: &[(MappingId, IpAddr)],
) -> Result<Vec<(MappingId, Holder)>, StoreError> {
    let refused = in_the_way(db, client, wanted).await?;
    let free = wanted.iter().filter(|(mapping, _)| !refused.iter().any(|(other, _)| other == mapping));
    for (mapping, exit_ip) in free {
        release(db, *mapping).await?;
        sqlx::query(
            "insert into exit_holds (mapping_id, client_id, exit_ip, exclusive)
             select id, client_id, $3, exclusive from mappings
             where id = $1 and client_id = $2 and removed_at is null",
        )
        .bind(mapping.0)
        .bind(client.0)
        .bind(exit_ip.to_string())
        .execute(&mut *db)
        .await?;
    }
    Ok(refused)
}

/// Its door is shut.
pub(super) async fn release(db: &mut Connection, mapping: MappingId) -> Result<(), StoreError> {
    sqlx::query("delete from exit_holds where mapping_id = $1").bind(mapping.0).execute(db).await?;
    Ok(())
}

/// As its mapping says now. Who came first stays first.
pub(super) async fn share(
    db: &mut Connection,
    mapping: MappingId,
    exclusive: bool,
) -> Result<(), StoreError> {
    sqlx::query("update exit_holds set exclusive = $2 where mapping_id = $1")
        .bind(mapping.0)
        .bind(exclusive)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn sharers(db: &mut Connection, mapping: MappingId) -> Result<Vec<Owner>, StoreError> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select distinct c.id, c.gateway from exit_holds h
         join exit_holds o on o.exit_ip = h.exit_ip and o.client_id <> h.client_id
         join clients c on c.id = o.client_id
         where h.mapping_id = $1 order by c.id",
    )
    .bind(mapping.0)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|(id, gateway)| Owner { client: ClientId(id), gateway }).collect())
}

pub(super) async fn keep(db: &mut Connection, mapping: MappingId, exit_ip: IpAddr) -> Result<(), StoreError> {
    sqlx::query(
        "update mappings set stable_exit_ip = $2
         where id = $1 and expect_stable and stable_exit_ip is null and removed_at is null",
    )
    .bind(mapping.0)
    .bind(exit_ip.to_string())
    .execute(db)
    .await?;
    Ok(())
}
