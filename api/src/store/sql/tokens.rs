//! The table `tokens`: hashes only.

use jiff::Timestamp;
use pgw_core::ids::TokenId;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::events::changed;
use super::lists::{Column, Listing};
use super::values::{Word, now, pattern};
use crate::events::{Action, Thing};
use crate::store::{ListQuery, NewToken, Page, Role, SortBy, StoreError, Token};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    name: String,
    role: Word<Role>,
    created_at: Text<Timestamp>,
    revoked_at: Option<Text<Timestamp>>,
}

impl From<Row> for Token {
    fn from(row: Row) -> Self {
        Self {
            id: TokenId(row.id),
            name: row.name,
            role: row.role.0,
            created_at: row.created_at.0,
            revoked_at: row.revoked_at.map(|Text(at)| at),
        }
    }
}

pub(super) async fn create(db: &mut Connection, own: &str, new: NewToken) -> Result<Token, StoreError> {
    let row: Row = sqlx::query_as(
        "insert into tokens (id, name, role, hash, created_at) values ($1, $2, $3, $4, $5) returning *",
    )
    .bind(Uuid::now_v7())
    .bind(new.name)
    .bind(Word(new.role))
    .bind(new.hash.as_slice())
    .bind(Text(now()))
    .fetch_one(&mut *db)
    .await?;
    changed(db, own, Thing::Token, Action::Created, &row.name, &[]).await?;
    Ok(row.into())
}

/// Revoked ones included: who had access is worth knowing.
pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<Token>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(name)"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "id");
    let statement = listing.statement("*", r"tokens where ($1 is null or lower(name) like $1 escape '\')", 1);
    listing.page(db, sqlx::query(statement).bind(pattern(query)), |row: &Row| row.id).await
}

pub(super) async fn was_made(db: &mut Connection, name: &str) -> Result<bool, StoreError> {
    let one: Option<Uuid> = sqlx::query_scalar("select id from tokens where name = $1 limit 1")
        .bind(name)
        .fetch_optional(db)
        .await?;
    Ok(one.is_some())
}

pub(super) async fn get(db: &mut Connection, id: TokenId) -> Result<Row, StoreError> {
    sqlx::query_as("select * from tokens where id = $1")
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("token"))
}

/// Revoking twice is fine, and keeps the first time.
pub(super) async fn revoke(db: &mut Connection, own: &str, id: TokenId) -> Result<(), StoreError> {
    let row = get(db, id).await?;
    if row.revoked_at.is_some() {
        return Ok(());
    }
    sqlx::query("update tokens set revoked_at = $2 where id = $1")
        .bind(id.0)
        .bind(Text(now()))
        .execute(&mut *db)
        .await?;
    changed(db, own, Thing::Token, Action::Revoked, &row.name, &[]).await?;
    Ok(())
}

pub(super) async fn by_hash(db: &mut Connection, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
    let row: Option<Row> = sqlx::query_as("select * from tokens where hash = $1 and revoked_at is null")
        .bind(hash.as_slice())
        .fetch_optional(db)
        .await?;
    Ok(row.map(Token::from))
}
