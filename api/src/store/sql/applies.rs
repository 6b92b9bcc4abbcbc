//! The configuration as a whole, and the table `applies`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pgw_core::ids::ApplyId;
use sqlx::types::Text;
use uuid::Uuid;

use super::carry_out::carry_out;
use super::db::Connection;
use super::events;
use super::proxies;
use super::snapshot::snapshot;
use super::values::{Word, now};
use crate::declarative::document::Document;
use crate::declarative::import::{Offered, Outcome, judge};
use crate::declarative::plan::Plan;
use crate::declarative::snapshot::Snapshot;
use crate::declarative::wanted::Wanted;
use crate::declarative::{Refused, prepare, undo};
use crate::events::{Action, Thing};
use crate::store::applies::{Applied, ApplyRecord, ApplyState, Imported, Terms};
use crate::store::crypt::Vault;
use crate::store::{By, Conflict, Ground, StoreError};

/// What the audit calls it that a document describes.
const WHOLE: &str = "configuration";

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    state: Word<ApplyState>,
    applied_by: String,
    applied_at: Text<Timestamp>,
    confirm_by: Text<Timestamp>,
    undo: Option<Vec<u8>>,
}

impl From<Row> for ApplyRecord {
    fn from(row: Row) -> Self {
        Self {
            id: ApplyId(row.id),
            state: row.state.0,
            by: row.applied_by,
            applied_at: row.applied_at.0,
            confirm_by: row.confirm_by.0,
        }
    }
}

pub(super) async fn apply(
    db: &mut Connection,
    vault: &Vault,
    gateway: &str,
    document: Document,
    terms: &Terms,
) -> Result<Result<Applied, Refused>, StoreError> {
    let last = last(db, gateway).await?;
    if let Some(waiting) = last.filter(|last| last.state.0 == ApplyState::Waiting) {
        let confirm_by = waiting.confirm_by.0;
        return Ok(Err(Refused::Conflict(Conflict::ApplyPending { confirm_by })));
    }
    let now = snapshot(db, gateway, vault).await?;
    let plan = match prepare(document, &now, &terms.ground) {
        Ok(plan) => plan,
        Err(refused) => return Ok(Err(refused)),
    };
    let touched = carry_out(db, gateway, vault, &plan, &now, &terms.ground.forwarders).await?;
    if !plan.steps.is_empty() {
        events::changed(db, gateway, Thing::Config, Action::Applied, WHOLE, &[]).await?;
    }
    let record = remember(db, vault, gateway, &plan, &now, terms).await?;
    Ok(Ok(Applied { plan, touched, record }))
}

/// What changes nothing needs no confirmation.
async fn remember(
    db: &mut Connection,
    vault: &Vault,
    gateway: &str,
    plan: &Plan,
    before: &Snapshot,
    terms: &Terms,
) -> Result<Option<ApplyRecord>, StoreError> {
    let Some(within) = terms.confirm_within.filter(|_| !plan.steps.is_empty()) else { return Ok(None) };
    let id = ApplyId(Uuid::now_v7());
    let undo = serde_json::to_vec(&Wanted::before(plan, before)).map_err(unwritable)?;
    let applied_at = now();
    sqlx::query("delete from applies where gateway = $1").bind(gateway).execute(&mut *db).await?;
    let row: Row = sqlx::query_as(
        "insert into applies (id, gateway, state, applied_by, applied_at, confirm_by, undo)
         values ($1, $2, 'waiting', $3, $4, $5, $6) returning *",
    )
    .bind(id.0)
    .bind(gateway)
    .bind(By::current().0.unwrap_or_default())
    .bind(Text(applied_at))
    .bind(Text(applied_at.saturating_add(within).unwrap_or(applied_at)))
    .bind(vault.seal_at(&place(id), &undo)?)
    .fetch_one(db)
    .await?;
    Ok(Some(row.into()))
}

pub(super) async fn last(db: &mut Connection, gateway: &str) -> Result<Option<Row>, StoreError> {
    let row = sqlx::query_as("select * from applies where gateway = $1");
    Ok(row.bind(gateway).fetch_optional(db).await?)
}

pub(super) async fn confirm(
    db: &mut Connection,
    gateway: &str,
    id: ApplyId,
) -> Result<ApplyRecord, StoreError> {
    let row = last(db, gateway).await?.filter(|row| row.id == id.0).ok_or(StoreError::NotFound("apply"))?;
    match row.state.0 {
        ApplyState::Waiting => Ok(end(db, id, ApplyState::Confirmed).await?.into()),
        ApplyState::Confirmed => Ok(row.into()),
        ApplyState::RolledBack => Err(StoreError::Conflict(Conflict::RolledBack)),
    }
}

async fn end(db: &mut Connection, id: ApplyId, state: ApplyState) -> Result<Row, StoreError> {
    let row = sqlx::query_as("update applies set state = $2, undo = null where id = $1 returning *");
    Ok(row.bind(id.0).bind(Word(state)).fetch_one(db).await?)
}

pub(super) async fn roll_back(
    db: &mut Connection,
    vault: &Vault,
    gateway: &str,
    id: ApplyId,
    ground: &Ground,
) -> Result<Option<Applied>, StoreError> {
    let row = last(db, gateway).await?.filter(|row| row.id == id.0);
    let Some(sealed) = row.and_then(|row| row.undo) else { return Ok(None) };
    let opened = vault.open_at(&place(id), &sealed);
    let before: Option<Wanted> = opened.and_then(|plain| serde_json::from_slice(&plain).ok());
    let before = before.ok_or_else(|| StoreError::Sealed { what: format!("apply {id}") })?;
    let now = snapshot(db, gateway, vault).await?;
    let plan = undo(before, &now, ground).map_err(StoreError::Conflict)?;
    let touched = carry_out(db, gateway, vault, &plan, &now, &ground.forwarders).await?;
    events::changed(db, gateway, Thing::Config, Action::RolledBack, WHOLE, &[]).await?;
    let record = end(db, id, ApplyState::RolledBack).await?.into();
    Ok(Some(Applied { plan, touched, record: Some(record) }))
}

pub(super) async fn import(
    db: &mut Connection,
    gateway: &str,
    vault: &Vault,
    offered: Vec<Offered>,
) -> Result<Vec<Imported>, StoreError> {
    let known = proxies::entries(db, gateway, vault).await?;
    let mut ids: BTreeMap<_, _> = known.iter().map(|(id, entry)| (entry.name.clone(), *id)).collect();
    let entries: Vec<_> = known.into_iter().map(|(_, entry)| entry).collect();
    let mut imported = Vec::with_capacity(offered.len());
    for outcome in judge(offered, &entries) {
        imported.push(match outcome {
            Outcome::New(new) => {
                let made = proxies::create(db, gateway, vault, new).await?;
                ids.insert(made.name.clone(), made.id);
                Imported::Created(made.id, made.name)
            }
            Outcome::Known(name) => {
                let id = ids.get(&name).copied().ok_or(StoreError::NotFound("proxy"))?;
                Imported::Unchanged(id, name)
            }
            Outcome::NameTaken(name) => Imported::NameTaken(name),
        });
    }
    Ok(imported)
}

fn place(id: ApplyId) -> String {
    format!("applies:{id}:undo")
}

fn unwritable(error: serde_json::Error) -> StoreError {
    StoreError::Database(sqlx::Error::Encode(Box::new(error)))
}
