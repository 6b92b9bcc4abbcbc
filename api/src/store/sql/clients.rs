//! The table `clients`.

use jiff::Timestamp;
use pgw_core::client::Client;
use pgw_core::ids::{ClientId, ClientIp};
use pgw_core::mac::Mac;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::gateways::{self, tell};
use super::lists::{Column, Listing};
use super::values::{now, pattern, unchanged};
use crate::store::{
    ClientPatch, Conflict, KnownAs, ListQuery, NewClient, News, Owner, Page, SortBy, StoreError,
};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    name: String,
    ip: Text<ClientIp>,
    mac: Option<Text<Mac>>,
    note: String,
    pub(super) gateway: String,
    revision: i64,
    created_at: Text<Timestamp>,
    updated_at: Text<Timestamp>,
}

impl From<Row> for Client {
    fn from(row: Row) -> Self {
        Self {
            id: ClientId(row.id),
            name: row.name,
            ip_cidr: row.ip.0,
            mac: row.mac.map(|mac| mac.0),
            note: row.note,
            gateway: row.gateway,
            revision: row.revision,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

pub(super) async fn create(db: &mut Connection, own: &str, new: NewClient) -> Result<Client, StoreError> {
    let gateway = new.gateway.as_deref().unwrap_or(own);
    if gateway != own {
        gateways::known(db, gateway).await?;
    }
    let row: Row = sqlx::query_as(
        "insert into clients (id, gateway, name, ip, mac, note, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $7) returning *",
    )
    .bind(Uuid::now_v7())
    .bind(gateway)
    .bind(new.name)
    .bind(Text(new.ip_cidr))
    .bind(new.mac.map(Text))
    .bind(new.note)
    .bind(Text(now()))
    .fetch_one(&mut *db)
    .await?;
    tell(db, own, News::Client(ClientId(row.id))).await?;
    Ok(row.into())
}

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<Client>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(name)"),
        SortBy::Address => Column::Number("ip_number"),
        SortBy::Updated => Column::Text("rtrim(updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "id");
    let statement = listing.statement(
        "*",
        r"clients where removed_at is null
            and ($1 is null or gateway = $1)
            and ($2 is null or lower(name) like $2 escape '\' or ip like $2 escape '\'
                 or mac like $2 escape '\' or lower(note) like $2 escape '\')",
        2,
    );
    let filled = sqlx::query(statement).bind(query.gateway.clone()).bind(pattern(query));
    listing.page(db, filled, |row: &Row| row.id).await
}

/// Every one of a gateway that is there.
pub(super) async fn of_gateway(db: &mut Connection, gateway: &str) -> Result<Vec<Client>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as("select * from clients where gateway = $1 and removed_at is null")
        .bind(gateway)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(Client::from).collect())
}

/// This gateway's own: an address means something else on another LAN.
pub(super) async fn known_as(
    db: &mut Connection,
    own: &str,
    known_as: &KnownAs,
) -> Result<Vec<ClientId>, StoreError> {
    let (address, name) = match known_as {
        KnownAs::Address(ip) => (Some(Text(*ip)), None),
        KnownAs::Name(name) => (None, Some(name)),
    };
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "select id from clients where removed_at is null and gateway = $3 and (ip = $1 or name = $2)
         order by id limit 2",
    )
    .bind(address)
    .bind(name)
    .bind(own)
    .fetch_all(db)
    .await?;
    Ok(ids.into_iter().map(ClientId).collect())
}

pub(super) async fn live(db: &mut Connection, id: ClientId) -> Result<Row, StoreError> {
    sqlx::query_as("select * from clients where id = $1 and removed_at is null")
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("client"))
}

pub(super) async fn update(
    db: &mut Connection,
    own: &str,
    id: ClientId,
    patch: ClientPatch,
) -> Result<Client, StoreError> {
    let before = live(db, id).await?;
    unchanged(patch.if_revision, before.revision)?;
    let ip = patch.ip_cidr.unwrap_or(before.ip.0);
    if ip != before.ip.0 {
        close_mappings(db, id).await?;
    }
    let row: Row = sqlx::query_as(
        "update clients set name = $2, ip = $3, mac = $4, note = $5, revision = revision + 1, updated_at = $6
         where id = $1 returning *",
    )
    .bind(id.0)
    .bind(patch.name.unwrap_or(before.name))
    .bind(Text(ip))
    .bind(patch.mac.map_or(before.mac, |mac| mac.map(Text)))
    .bind(patch.note.unwrap_or(before.note))
    .bind(Text(now()))
    .fetch_one(&mut *db)
    .await?;
    tell(db, own, News::Client(id)).await?;
    Ok(row.into())
}

/// What was confirmed of the old address says nothing of the new one.
async fn close_mappings(db: &mut Connection, id: ClientId) -> Result<(), StoreError> {
    sqlx::query(
        "update mappings set state = 'PENDING', reason = 'the device has a new address', applied_at = null
         where client_id = $1 and state = 'APPLIED'",
    )
    .bind(id.0)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: ClientId,
    cascade: bool,
    if_revision: Option<i64>,
) -> Result<Owner, StoreError> {
    let Row { gateway, revision, .. } = live(db, id).await?;
    unchanged(if_revision, revision)?;
    let removed_at = Text(now());
    let open: i64 =
        sqlx::query_scalar("select count(*) from mappings where client_id = $1 and removed_at is null")
            .bind(id.0)
            .fetch_one(&mut *db)
            .await?;
    if open > 0 && !cascade {
        return Err(StoreError::Conflict(Conflict::InUse { what: "client", mappings: open }));
    }
    for mark in [
        "update mappings set removed_at = $2 where client_id = $1 and removed_at is null",
        "update clients set removed_at = $2 where id = $1",
    ] {
        sqlx::query(mark).bind(id.0).bind(removed_at).execute(&mut *db).await?;
    }
    tell(db, own, News::Client(id)).await?;
    Ok(Owner { client: id, gateway })
}
