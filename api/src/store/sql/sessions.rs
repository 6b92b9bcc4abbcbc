//! The table `sessions`: hashes only.

use super::db::Connection;
use jiff::Timestamp;
use pgw_core::ids::UserId;
use sqlx::types::Text;
use uuid::Uuid;

use super::users;
use super::values::now;
use crate::store::{KnownUser, Session, StoreError};

/// A browser or two at work, at home and on the phone; no more is kept than of so many.
const MOST_OF_ONE: i64 = 32;

#[derive(sqlx::FromRow)]
struct Row {
    user_id: Uuid,
    opened_at: Text<Timestamp>,
    seen_at: Text<Timestamp>,
}

pub(super) async fn open(
    db: &mut Connection,
    known: &KnownUser,
    hash: &[u8; 32],
) -> Result<Option<Session>, StoreError> {
    let same = sqlx::query("update users set last_login_at = $3 where id = $1 and password = $2")
        .bind(known.user.id.0)
        .bind(known.password.expose())
        .bind(Text(now()))
        .execute(&mut *db)
        .await?
        .rows_affected();
    if same == 0 {
        return Ok(None);
    }
    sqlx::query(
        "delete from sessions where user_id = $1 and hash not in
         (select hash from sessions where user_id = $1 order by seen_at desc limit $2)",
    )
    .bind(known.user.id.0)
    .bind(MOST_OF_ONE - 1)
    .execute(&mut *db)
    .await?;
    sqlx::query("insert into sessions (hash, user_id, opened_at, seen_at) values ($1, $2, $3, $3)")
        .bind(hash.as_slice())
        .bind(known.user.id.0)
        .bind(Text(now()))
        .execute(&mut *db)
        .await?;
    get(db, hash).await
}

pub(super) async fn get(db: &mut Connection, hash: &[u8; 32]) -> Result<Option<Session>, StoreError> {
    let row: Option<Row> = sqlx::query_as("select user_id, opened_at, seen_at from sessions where hash = $1")
        .bind(hash.as_slice())
        .fetch_optional(&mut *db)
        .await?;
    let Some(Row { user_id, opened_at: Text(opened_at), seen_at: Text(seen_at) }) = row else {
        return Ok(None);
    };
    match users::get(db, UserId(user_id)).await {
        Ok(user) => Ok(Some(Session { user: user.into(), opened_at, seen_at })),
        // Removed between the two questions.
        Err(StoreError::NotFound(_)) => Ok(None),
        Err(other) => Err(other),
    }
}

pub(super) async fn touch(db: &mut Connection, hash: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query("update sessions set seen_at = $2 where hash = $1")
        .bind(hash.as_slice())
        .bind(Text(now()))
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn end(db: &mut Connection, hash: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query("delete from sessions where hash = $1").bind(hash.as_slice()).execute(db).await?;
    Ok(())
}

pub(super) async fn forget(
    db: &mut Connection,
    seen: Timestamp,
    opened: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("delete from sessions where seen_at < $1 or opened_at < $2")
        .bind(Text(seen))
        .bind(Text(opened))
        .execute(db)
        .await?;
    Ok(())
}
