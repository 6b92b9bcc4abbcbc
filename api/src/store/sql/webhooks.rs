//! The tables `webhooks` and `deliveries`: who is told, and how far each has been told on which gateway.

use jiff::Timestamp;
use pgw_core::ids::WebhookId;
use pgw_core::redact::Secret;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::{changed, changes};
use super::lists::{Column, Listing};
use super::values::{now, pattern, replace};
use crate::events::{Action, Kind, Thing};
use crate::store::crypt::Vault;
use crate::store::{
    Addressee, Conflict, Delivery, ListQuery, NewWebhook, Page, SortBy, StoreError, Webhook, WebhookPatch,
    WebhookStatus,
};

/// Each has a task and, while it fails, a queue.
const MOST: i64 = 100;
/// More are not counted.
const MOST_WAITING: i64 = 10_000;

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    name: String,
    url: String,
    /// Separated by commas.
    kinds: String,
    enabled: bool,
    secret: Vec<u8>,
    /// It is told what comes after this event, wherever nothing has been told yet.
    told_from: i64,
    revision: i64,
    created_at: Text<Timestamp>,
    updated_at: Text<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct DeliveryRow {
    told: i64,
    last_ok_at: Option<Text<Timestamp>>,
    failing_since: Option<Text<Timestamp>>,
    last_error: Option<String>,
    given_up: i64,
}

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            told: row.told,
            last_ok_at: row.last_ok_at.map(|Text(at)| at),
            failing_since: row.failing_since.map(|Text(at)| at),
            last_error: row.last_error,
            given_up: row.given_up,
        }
    }
}

impl Row {
    fn kinds(&self) -> Vec<Kind> {
        self.kinds.split(',').filter_map(Kind::parse).collect()
    }

    fn listed(self, status: WebhookStatus) -> Webhook {
        Webhook {
            id: WebhookId(self.id),
            kinds: self.kinds(),
            name: self.name,
            url: self.url,
            enabled: self.enabled,
            has_secret: true,
            status,
            revision: self.revision,
            created_at: self.created_at.0,
            updated_at: self.updated_at.0,
        }
    }
}

fn words(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(",")
}

fn place(id: Uuid) -> String {
    format!("webhooks:{id}:secret")
}

pub(super) async fn create(
    db: &mut Connection,
    vault: &Vault,
    own: &str,
    new: NewWebhook,
) -> Result<Webhook, StoreError> {
    let there: i64 = sqlx::query_scalar("select count(*) from webhooks").fetch_one(&mut *db).await?;
    if there >= MOST {
        return Err(StoreError::Conflict(Conflict::TooMany { what: "webhook", most: MOST }));
    }
    let id = Uuid::now_v7();
    let secret = vault.seal_at(&place(id), new.secret.expose().as_bytes())?;
    let told_from = changed(db, own, Thing::Webhook, Action::Created, &new.name, &[]).await?;
    let row: Row = sqlx::query_as(
        "insert into webhooks (id, name, url, kinds, enabled, secret, told_from, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8) returning *",
    )
    .bind(id)
    .bind(new.name)
    .bind(new.url)
    .bind(words(&new.kinds))
    .bind(new.enabled)
    .bind(secret)
    .bind(told_from)
    .bind(Text(now()))
    .fetch_one(db)
    .await?;
    Ok(row.listed(WebhookStatus::default()))
}

async fn live(db: &mut Connection, id: WebhookId) -> Result<Row, StoreError> {
    sqlx::query_as("select * from webhooks where id = $1")
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("webhook"))
}

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<Webhook>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(name)"),
        SortBy::Updated => Column::Text("rtrim(updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "id");
    let statement = listing.statement(
        "*",
        r"webhooks where ($1 is null or lower(name) like $1 escape '\' or lower(url) like $1 escape '\')",
        1,
    );
    let filled = sqlx::query(statement).bind(pattern(query));
    let page: Page<Row> = listing.page(db, filled, |row: &Row| row.id).await?;
    let mut items = Vec::with_capacity(page.items.len());
    for row in page.items {
        let status = status(db, &row).await?;
        items.push(row.listed(status));
    }
    Ok(Page { items, next: page.next })
}

pub(super) async fn switched_on(db: &mut Connection) -> Result<Vec<(WebhookId, i64)>, StoreError> {
    let rows: Vec<(Uuid, i64)> =
        sqlx::query_as("select id, revision from webhooks where enabled order by id").fetch_all(db).await?;
    Ok(rows.into_iter().map(|(id, revision)| (WebhookId(id), revision)).collect())
}

pub(super) async fn one(db: &mut Connection, id: WebhookId) -> Result<Webhook, StoreError> {
    let row = live(db, id).await?;
    let status = status(db, &row).await?;
    Ok(row.listed(status))
}

/// Of all gateways together.
async fn status(db: &mut Connection, row: &Row) -> Result<WebhookStatus, StoreError> {
    let told: Vec<DeliveryRow> =
        sqlx::query_as("select * from deliveries where webhook_id = $1 order by gateway")
            .bind(row.id)
            .fetch_all(&mut *db)
            .await?;
    let told: Vec<Delivery> = told.into_iter().map(Delivery::from).collect();
    let waiting = if row.enabled { waiting(db, row).await? } else { 0 };
    let failing = told.iter().filter(|delivery| delivery.failing_since.is_some());
    Ok(WebhookStatus {
        last_ok_at: told.iter().filter_map(|delivery| delivery.last_ok_at).max(),
        failing_since: failing.clone().filter_map(|delivery| delivery.failing_since).min(),
        last_error: failing.filter_map(|delivery| delivery.last_error.clone()).next(),
        waiting,
        given_up: told.iter().map(|delivery| delivery.given_up).sum(),
    })
}

async fn waiting(db: &mut Connection, row: &Row) -> Result<i64, StoreError> {
    let kinds = format!(",{},", row.kinds);
    Ok(sqlx::query_scalar(
        "select count(*) from (
            select 1 from events e left join deliveries d on d.webhook_id = $1 and d.gateway = e.gateway
            where e.id > (select coalesce(min(told), $2) from deliveries where webhook_id = $1)
              and e.id > coalesce(d.told, $2)
              and ($3 = ',,' or $3 like '%,' || e.kind || ',%')
            limit $4) as untold",
    )
    .bind(row.id)
    .bind(row.told_from)
    .bind(kinds)
    .bind(MOST_WAITING)
    .fetch_one(db)
    .await?)
}

pub(super) async fn update(
    db: &mut Connection,
    own: &str,
    id: WebhookId,
    patch: WebhookPatch,
) -> Result<Webhook, StoreError> {
    let mut row = live(db, id).await?;
    if patch.if_revision.is_some_and(|wanted| wanted != row.revision) {
        return Err(StoreError::Stale { revision: row.revision });
    }
    let was_enabled = row.enabled;
    let fields = changes([
        ("name", replace(&mut row.name, patch.name)),
        ("url", replace(&mut row.url, patch.url)),
        ("kinds", replace(&mut row.kinds, patch.kinds.map(|kinds| words(&kinds)))),
        ("enabled", replace(&mut row.enabled, patch.enabled)),
    ]);
    if fields.is_empty() {
        return one(db, id).await;
    }
    let told_from = changed(db, own, Thing::Webhook, Action::Updated, &row.name, &fields).await?;
    if row.enabled && !was_enabled {
        // Nobody is woken by what happened while it was off.
        row.told_from = told_from;
        sqlx::query("delete from deliveries where webhook_id = $1").bind(id.0).execute(&mut *db).await?;
    }
    sqlx::query(
        "update webhooks set name = $2, url = $3, kinds = $4, enabled = $5, told_from = $6,
            revision = revision + 1, updated_at = $7
         where id = $1",
    )
    .bind(id.0)
    .bind(row.name)
    .bind(row.url)
    .bind(row.kinds)
    .bind(row.enabled)
    .bind(row.told_from)
    .bind(Text(now()))
    .execute(&mut *db)
    .await?;
    one(db, id).await
}

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: WebhookId,
    if_revision: Option<i64>,
) -> Result<(), StoreError> {
    let row = live(db, id).await?;
    if if_revision.is_some_and(|wanted| wanted != row.revision) {
        return Err(StoreError::Stale { revision: row.revision });
    }
    for rows in ["delete from deliveries where webhook_id = $1", "delete from webhooks where id = $1"] {
        sqlx::query(rows).bind(id.0).execute(&mut *db).await?;
    }
    changed(db, own, Thing::Webhook, Action::Deleted, &row.name, &[]).await?;
    Ok(())
}

pub(super) async fn target(
    db: &mut Connection,
    vault: &Vault,
    own: &str,
    id: WebhookId,
) -> Result<Addressee, StoreError> {
    let row = live(db, id).await?;
    let secret = vault.open_at(&place(row.id), &row.secret).and_then(|bytes| String::from_utf8(bytes).ok());
    let secret = secret.ok_or_else(|| StoreError::Sealed { what: format!("webhook {id}") })?;
    let delivery: Option<DeliveryRow> =
        sqlx::query_as("select * from deliveries where webhook_id = $1 and gateway = $2")
            .bind(id.0)
            .bind(own)
            .fetch_optional(db)
            .await?;
    let none = Delivery { told: row.told_from, ..Delivery::default() };
    let delivery = delivery.map_or(none, Delivery::from);
    let kinds = row.kinds();
    let (secret, revision) = (Secret::new(secret), row.revision);
    Ok(Addressee { name: row.name, url: row.url, kinds, secret, revision, delivery })
}

/// What is told of one that is gone, or was switched on anew meanwhile, is not written down.
pub(super) async fn record_delivery(
    db: &mut Connection,
    own: &str,
    id: WebhookId,
    delivery: &Delivery,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into deliveries (webhook_id, gateway, told, last_ok_at, failing_since, last_error, given_up)
         select id, $2, $3, $4, $5, $6, $7 from webhooks where id = $1 and told_from <= $3
         on conflict (webhook_id, gateway) do update set told = excluded.told,
            last_ok_at = excluded.last_ok_at, failing_since = excluded.failing_since,
            last_error = excluded.last_error, given_up = excluded.given_up",
    )
    .bind(id.0)
    .bind(own)
    .bind(delivery.told)
    .bind(delivery.last_ok_at.map(Text))
    .bind(delivery.failing_since.map(Text))
    .bind(&delivery.last_error)
    .bind(delivery.given_up)
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn switch_off(
    db: &mut Connection,
    own: &str,
    id: WebhookId,
    revision: i64,
    why: &Delivery,
) -> Result<(), StoreError> {
    record_delivery(db, own, id, why).await?;
    let off = WebhookPatch { enabled: Some(false), if_revision: Some(revision), ..WebhookPatch::default() };
    update(db, own, id, off).await.map(drop)
}
