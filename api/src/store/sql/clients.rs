//! The table `clients`.

use jiff::Timestamp;
use pgw_core::client::Client;
use pgw_core::ids::{ClientId, ClientIp, MappingId};
use pgw_core::mac::Mac;
use pgw_core::state::{MappingState, Verdict};
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::{self, changes};
use super::gateways::{self, tell};
use super::lists::{Column, Listing};
use super::values::{Word, now, pattern, replace, unchanged};
use super::{exits, mappings};
use crate::events::{Action, NewEvent, Thing};
use crate::store::{
    By, ClientPatch, Conflict, KnownAs, ListQuery, NewClient, News, Owner, Page, SortBy, StoreError,
};

#[derive(Clone, sqlx::FromRow)]
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
    change(db, own, &row, Action::Created, &[]).await?;
    exits::settle(db, ClientId(row.id), By::current().0, "it is registered, and has no mapping yet").await?;
    Ok(row.into())
}

async fn change(
    db: &mut Connection,
    own: &str,
    row: &Row,
    action: Action,
    fields: &[&str],
) -> Result<(), StoreError> {
    let told = NewEvent::change(By::current().0, Thing::Client, action, &row.name, fields);
    events::write(db, own, &told.of_client(ClientId(row.id))).await.map(drop)
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
                 or mac like $2 escape '\' or lower(note) like $2 escape '\')
            and ($3 is null or exists (select 1 from mappings m
                 where m.client_id = clients.id and m.removed_at is null and m.state = $3))
            and not ($4 and exists (select 1 from mappings m
                 where m.client_id = clients.id and m.removed_at is null and m.state = 'APPLIED'))",
        4,
    );
    let filled = sqlx::query(statement)
        .bind(query.gateway.clone())
        .bind(pattern(query))
        .bind(query.state.map(Word))
        .bind(query.closed);
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
    let mut row = live(db, id).await?;
    unchanged(patch.if_revision, row.revision)?;
    let moved = replace(&mut row.ip.0, patch.ip_cidr);
    let (had, has) = (row.mac.map(|mac| mac.0), patch.mac.unwrap_or(row.mac.map(|mac| mac.0)));
    row.mac = has.map(Text);
    let fields = changes([
        ("name", replace(&mut row.name, patch.name)),
        ("ip_cidr", moved),
        ("mac", has != had),
        ("note", replace(&mut row.note, patch.note)),
    ]);
    if fields.is_empty() {
        return Ok(row.into());
    }
    if moved {
        close_mappings(db, own, id).await?;
    }
    let row: Row = sqlx::query_as(
        "update clients set name = $2, ip = $3, mac = $4, note = $5, revision = revision + 1, updated_at = $6
         where id = $1 returning *",
    )
    .bind(id.0)
    .bind(row.name)
    .bind(row.ip)
    .bind(row.mac)
    .bind(row.note)
    .bind(Text(now()))
    .fetch_one(&mut *db)
    .await?;
    tell(db, own, News::Client(id)).await?;
    change(db, own, &row, Action::Updated, &fields).await?;
    Ok(row.into())
}

/// What was confirmed of the old address says nothing of the new one.
async fn close_mappings(db: &mut Connection, own: &str, id: ClientId) -> Result<(), StoreError> {
    let reason = "the device has a new address";
    let closed = Verdict { state: MappingState::Pending, reason: reason.to_owned() };
    let applied: Vec<Uuid> = sqlx::query_scalar(
        "select id from mappings where client_id = $1 and state = 'APPLIED' and removed_at is null order by id",
    )
    .bind(id.0)
    .fetch_all(&mut *db)
    .await?;
    for mapping in applied {
        mappings::tell_state(db, own, MappingId(mapping), &closed).await?;
    }
    sqlx::query(
        "update mappings set state = 'PENDING', reason = $2, applied_at = null
         where client_id = $1 and state = 'APPLIED'",
    )
    .bind(id.0)
    .bind(reason)
    .execute(&mut *db)
    .await?;
    exits::settle(db, id, By::current().0, reason).await
}

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: ClientId,
    cascade: bool,
    if_revision: Option<i64>,
) -> Result<Owner, StoreError> {
    let row = live(db, id).await?;
    unchanged(if_revision, row.revision)?;
    let removed_at = Text(now());
    let open: i64 =
        sqlx::query_scalar("select count(*) from mappings where client_id = $1 and removed_at is null")
            .bind(id.0)
            .fetch_one(&mut *db)
            .await?;
    if open > 0 && !cascade {
        return Err(StoreError::Conflict(Conflict::InUse { what: "client", mappings: open }));
    }
    for mapping in mappings::live_ids(db, Some(id), None).await? {
        mappings::tell_removal(db, own, mapping).await?;
    }
    for mark in [
        "update mappings set removed_at = $2 where client_id = $1 and removed_at is null",
        "update clients set removed_at = $2 where id = $1",
    ] {
        sqlx::query(mark).bind(id.0).bind(removed_at).execute(&mut *db).await?;
    }
    tell(db, own, News::Client(id)).await?;
    change(db, own, &row, Action::Deleted, &[]).await?;
    let reason = "it is no longer registered: its traffic is left alone";
    exits::settle(db, id, By::current().0, reason).await?;
    Ok(Owner { client: id, gateway: row.gateway })
}
