//! The tables `tunnel_clients` and `tunnel_enrolments`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgw_core::ids::{EnrolmentId, TunnelClientId};
use pgw_core::tunnel::{ClientSpec, Enrolment, PortSpan, TokenHash};
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::{changed, changes, sortable};
use super::gateways::{self, tell};
use super::lists::{Column, Listing};
use super::values::{Number, Word, now, pattern, replace, unchanged};
use crate::declarative::snapshot::KnownTunnelClient;
use crate::declarative::tunnels::{Kept, TunnelClientEntry};
use crate::events::{Action, Thing};
use crate::store::{
    AllowedPort, Conflict, ListQuery, NewTunnelClient, News, Page, SortBy, StoreError, TunnelClient,
    TunnelClientPatch, TunnelClientStatus,
};

/// Codes of one client that nobody has used yet.
const MOST_CODES: i64 = 16;

/// With how many tunnels it has.
macro_rules! columns {
    () => {
        "c.*, (select count(*) from tunnels t where t.tunnel_client_id = c.id) as tunnels"
    };
}

#[derive(Clone, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) gateway: String,
    pub(super) name: String,
    note: String,
    pub(super) enabled: bool,
    token: Word<TokenHash>,
    pub(super) enrolled: bool,
    /// Separated by commas.
    allowed_ports: String,
    pub(super) max_tunnels: Number<u32>,
    max_connections: Number<u32>,
    bandwidth: Option<Number<u64>>,
    pub(super) session_id: Option<Uuid>,
    pub(super) address: Option<String>,
    version: Option<String>,
    carrier: Option<String>,
    pub(super) rtt_ms: Option<Number<u32>>,
    pub(super) last_seen: Option<Text<Timestamp>>,
    tunnels: i64,
    revision: i64,
    created_at: Text<Timestamp>,
    updated_at: Text<Timestamp>,
}

impl From<Row> for TunnelClient {
    fn from(row: Row) -> Self {
        let online = row.session_id.is_some();
        Self {
            id: TunnelClientId(row.id),
            allowed_ports: row.spans().into_iter().map(AllowedPort::from).collect(),
            name: row.name,
            gateway: row.gateway,
            note: row.note,
            enabled: row.enabled,
            max_tunnels: row.max_tunnels.0,
            max_connections: row.max_connections.0,
            bandwidth: row.bandwidth.map(|rate| rate.0),
            status: if online { TunnelClientStatus::Online } else { TunnelClientStatus::Offline },
            address: row.address,
            version: row.version,
            carrier: row.carrier,
            rtt_ms: row.rtt_ms.filter(|_| online).map(|rtt| rtt.0),
            last_seen: row.last_seen.map(|Text(at)| at),
            enrolled: row.enrolled,
            tunnels: row.tunnels,
            revision: row.revision,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

impl Row {
    pub(super) fn known(self) -> KnownTunnelClient {
        let id = TunnelClientId(self.id);
        let own = TunnelClientEntry {
            allowed_ports: self.spans().into_iter().map(AllowedPort::from).collect(),
            name: self.name,
            note: self.note,
            enabled: self.enabled,
            max_tunnels: self.max_tunnels.0,
            max_connections: self.max_connections.0,
            bandwidth: self.bandwidth.map(|rate| rate.0),
            tunnels: Vec::new(),
            kept: Some(Kept { id, token: self.token.0 }),
        };
        KnownTunnelClient { id, own, tunnels: BTreeMap::new(), asked: Vec::new() }
    }

    pub(super) fn spans(&self) -> Vec<PortSpan> {
        self.allowed_ports.split(',').filter_map(|span| span.parse().ok()).collect()
    }

    pub(super) fn spec(self) -> ClientSpec {
        ClientSpec {
            id: TunnelClientId(self.id),
            allowed_ports: self.spans(),
            name: self.name,
            enabled: self.enabled,
            token: Some(self.token.0),
            max_tunnels: self.max_tunnels.0,
            max_connections: self.max_connections.0,
            bandwidth: self.bandwidth.map(|rate| rate.0),
        }
    }
}

fn words(spans: &[PortSpan]) -> String {
    spans.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

pub(super) async fn create(
    db: &mut Connection,
    own: &str,
    new: NewTunnelClient,
) -> Result<TunnelClient, StoreError> {
    insert(db, own, TunnelClientId(Uuid::now_v7()), new).await
}

pub(super) async fn insert(
    db: &mut Connection,
    own: &str,
    id: TunnelClientId,
    new: NewTunnelClient,
) -> Result<TunnelClient, StoreError> {
    let gateway = new.gateway.as_deref().unwrap_or(own);
    if gateway != own {
        gateways::known(db, gateway).await?;
    }
    sqlx::query(
        "insert into tunnel_clients (id, gateway, name, note, enabled, token, enrolled, allowed_ports,
            max_tunnels, max_connections, bandwidth, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $12, $7, $8, $9, $10, $11, $11)",
    )
    .bind(id.0)
    .bind(gateway)
    .bind(&new.name)
    .bind(new.note)
    .bind(new.enabled)
    .bind(Word(new.token))
    .bind(words(&new.allowed_ports))
    .bind(Number(new.max_tunnels))
    .bind(Number(new.max_connections))
    .bind(new.bandwidth.map(Number))
    .bind(Text(now()))
    .bind(false)
    .execute(&mut *db)
    .await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::TunnelClient, Action::Created, &new.name, &[]).await?;
    live(db, id).await.map(Into::into)
}

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<TunnelClient>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(c.name)"),
        SortBy::Updated => Column::Text("rtrim(c.updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "c.id");
    let statement = listing.statement(
        columns!(),
        r"tunnel_clients c where ($1 is null or c.gateway = $1)
            and ($2 is null or lower(c.name) like $2 escape '\' or lower(c.note) like $2 escape '\'
                 or c.address like $2 escape '\')",
        2,
    );
    let filled = sqlx::query(statement).bind(query.gateway.clone()).bind(pattern(query));
    listing.page(db, filled, |row: &Row| row.id).await
}

pub(super) async fn live(db: &mut Connection, id: TunnelClientId) -> Result<Row, StoreError> {
    sqlx::query_as(concat!("select ", columns!(), " from tunnel_clients c where c.id = $1"))
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("tunnel client"))
}

pub(super) async fn of_gateway(db: &mut Connection, gateway: &str) -> Result<Vec<Row>, StoreError> {
    Ok(sqlx::query_as(concat!(
        "select ",
        columns!(),
        " from tunnel_clients c where c.gateway = $1 order by c.id"
    ))
    .bind(gateway)
    .fetch_all(db)
    .await?)
}

pub(super) async fn update(
    db: &mut Connection,
    own: &str,
    id: TunnelClientId,
    patch: TunnelClientPatch,
) -> Result<TunnelClient, StoreError> {
    let mut row = live(db, id).await?;
    unchanged(patch.if_revision, row.revision)?;
    let fields = changes([
        ("name", replace(&mut row.name, patch.name)),
        ("note", replace(&mut row.note, patch.note)),
        ("enabled", replace(&mut row.enabled, patch.enabled)),
        ("allowed_ports", replace(&mut row.allowed_ports, patch.allowed_ports.map(|spans| words(&spans)))),
        ("max_tunnels", replace(&mut row.max_tunnels, patch.max_tunnels.map(Number))),
        ("max_connections", replace(&mut row.max_connections, patch.max_connections.map(Number))),
        ("bandwidth", replace(&mut row.bandwidth, patch.bandwidth.map(|rate| rate.map(Number)))),
    ]);
    if fields.is_empty() {
        return Ok(row.into());
    }
    sqlx::query(
        "update tunnel_clients set name = $2, note = $3, enabled = $4, allowed_ports = $5, max_tunnels = $6,
            max_connections = $7, bandwidth = $8, revision = revision + 1, updated_at = $9
         where id = $1",
    )
    .bind(id.0)
    .bind(&row.name)
    .bind(row.note)
    .bind(row.enabled)
    .bind(row.allowed_ports)
    .bind(row.max_tunnels)
    .bind(row.max_connections)
    .bind(row.bandwidth)
    .bind(Text(now()))
    .execute(&mut *db)
    .await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::TunnelClient, Action::Updated, &row.name, &fields).await?;
    live(db, id).await.map(Into::into)
}

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: TunnelClientId,
    cascade: bool,
    if_revision: Option<i64>,
) -> Result<String, StoreError> {
    let row = live(db, id).await?;
    unchanged(if_revision, row.revision)?;
    let theirs: Vec<String> = sqlx::query_scalar(
        "select name from tunnels where tunnel_client_id = $1 and origin = 'operator' order by id",
    )
    .bind(id.0)
    .fetch_all(&mut *db)
    .await?;
    if !theirs.is_empty() && !cascade {
        return Err(StoreError::Conflict(Conflict::HasTunnels { tunnels: theirs.len() }));
    }
    for name in theirs {
        changed(db, own, Thing::Tunnel, Action::Deleted, &name, &[]).await?;
    }
    for rows in [
        "delete from tunnels where tunnel_client_id = $1",
        "delete from tunnel_enrolments where tunnel_client_id = $1",
        "delete from tunnel_sessions where tunnel_client_id = $1",
        "delete from tunnel_clients where id = $1",
    ] {
        sqlx::query(rows).bind(id.0).execute(&mut *db).await?;
    }
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::TunnelClient, Action::Deleted, &row.name, &[]).await?;
    Ok(row.gateway)
}

pub(super) async fn replace_token(
    db: &mut Connection,
    own: &str,
    id: TunnelClientId,
    token: TokenHash,
) -> Result<TunnelClient, StoreError> {
    let row = live(db, id).await?;
    set_token(db, id, token, false).await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::TunnelClient, Action::Updated, &row.name, &["token"]).await?;
    live(db, id).await.map(Into::into)
}

/// The codes of before would open another way in.
pub(super) async fn set_token(
    db: &mut Connection,
    id: TunnelClientId,
    token: TokenHash,
    enrolled: bool,
) -> Result<(), StoreError> {
    sqlx::query("update tunnel_clients set token = $2, enrolled = $3, revision = revision + 1, updated_at = $4 where id = $1")
        .bind(id.0)
        .bind(Word(token))
        .bind(enrolled)
        .bind(Text(now()))
        .execute(&mut *db)
        .await?;
    sqlx::query("delete from tunnel_enrolments where tunnel_client_id = $1").bind(id.0).execute(db).await?;
    Ok(())
}

pub(super) async fn add_enrolment(
    db: &mut Connection,
    own: &str,
    id: TunnelClientId,
    code: TokenHash,
    expires_at: Timestamp,
) -> Result<EnrolmentId, StoreError> {
    let row = live(db, id).await?;
    sqlx::query("delete from tunnel_enrolments where tunnel_client_id = $1 and expires_at <= $2")
        .bind(id.0)
        .bind(sortable(now()))
        .execute(&mut *db)
        .await?;
    // The oldest make room.
    sqlx::query(
        "delete from tunnel_enrolments where tunnel_client_id = $1 and id not in
         (select id from tunnel_enrolments where tunnel_client_id = $1 order by id desc limit $2)",
    )
    .bind(id.0)
    .bind(MOST_CODES - 1)
    .execute(&mut *db)
    .await?;
    let enrolment = EnrolmentId(Uuid::now_v7());
    sqlx::query(
        "insert into tunnel_enrolments (id, tunnel_client_id, code, expires_at) values ($1, $2, $3, $4)",
    )
    .bind(enrolment.0)
    .bind(id.0)
    .bind(Word(code))
    .bind(sortable(expires_at))
    .execute(&mut *db)
    .await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::TunnelClient, Action::Updated, &row.name, &["enrolment"]).await?;
    Ok(enrolment)
}

/// Of this gateway's clients, and still good.
pub(super) async fn enrolments(db: &mut Connection, own: &str) -> Result<Vec<Enrolment>, StoreError> {
    let rows: Vec<(Uuid, Uuid, Word<TokenHash>, Text<Timestamp>)> = sqlx::query_as(
        "select e.id, e.tunnel_client_id, e.code, e.expires_at from tunnel_enrolments e
         join tunnel_clients c on c.id = e.tunnel_client_id
         where c.gateway = $1 and e.expires_at > $2 order by e.id",
    )
    .bind(own)
    .bind(sortable(now()))
    .fetch_all(db)
    .await?;
    let enrolment =
        |(id, client, code, expires_at): (Uuid, Uuid, Word<TokenHash>, Text<Timestamp>)| Enrolment {
            id: EnrolmentId(id),
            client_id: TunnelClientId(client),
            code: code.0,
            expires_at: expires_at.0,
        };
    Ok(rows.into_iter().map(enrolment).collect())
}
