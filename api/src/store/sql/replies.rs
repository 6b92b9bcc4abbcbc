//! The table `replies`. What is kept is sealed: it may be the answer that made a token.

use super::db::Connection;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::types::Text;

use super::values::now;
use crate::store::crypt::Vault;
use crate::store::{Claim, Reply, StoreError};

const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// No call takes so long: whoever claimed it has died, and may have done it or not. Names, addresses
/// and pairs are unique, so doing it again does not do it twice.
const DEAD: SignedDuration = SignedDuration::from_mins(5);
/// Of a megabyte each at the most, though hardly one is as large as a kilobyte.
const MOST: i64 = 10_000;

#[derive(sqlx::FromRow)]
struct Row {
    claimed_at: Text<Timestamp>,
    sealed: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    request: [u8; 32],
    reply: Option<Reply>,
}

pub(super) async fn claim(
    db: &mut Connection,
    vault: &Vault,
    key: &[u8; 32],
    request: &[u8; 32],
) -> Result<Claim, StoreError> {
    make_room(db).await?;
    let row: Option<Row> = sqlx::query_as("select claimed_at, sealed from replies where key = $1")
        .bind(key.as_slice())
        .fetch_optional(&mut *db)
        .await?;
    // What cannot be opened any more, with another key file, is as good as forgotten.
    let known = row.and_then(|row| Some((row.claimed_at.0, open(vault, key, &row.sealed)?)));
    match known {
        Some((_, kept)) if kept.request != *request => Ok(Claim::OtherRequest),
        Some((_, Kept { reply: Some(reply), .. })) => Ok(Claim::Replied(reply)),
        Some((at, _)) if at + DEAD > now() => Ok(Claim::UnderWay),
        Some(_) | None => {
            sqlx::query(
                "insert into replies (key, claimed_at, sealed) values ($1, $2, $3)
                 on conflict (key) do update set claimed_at = excluded.claimed_at, sealed = excluded.sealed",
            )
            .bind(key.as_slice())
            .bind(Text(now()))
            .bind(seal(vault, key, request, None)?)
            .execute(db)
            .await?;
            Ok(Claim::Yours)
        }
    }
}

pub(super) async fn keep(
    db: &mut Connection,
    vault: &Vault,
    key: &[u8; 32],
    request: &[u8; 32],
    reply: &Reply,
) -> Result<(), StoreError> {
    sqlx::query("update replies set sealed = $2 where key = $1")
        .bind(key.as_slice())
        .bind(seal(vault, key, request, Some(reply.clone()))?)
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn release(db: &mut Connection, key: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query("delete from replies where key = $1").bind(key.as_slice()).execute(db).await?;
    Ok(())
}

async fn make_room(db: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("delete from replies where claimed_at < $1")
        .bind(Text(now() - KEPT))
        .execute(&mut *db)
        .await?;
    sqlx::query(
        "delete from replies where key in
         (select key from replies order by claimed_at desc limit 100 offset $1)",
    )
    .bind(MOST)
    .execute(db)
    .await?;
    Ok(())
}

fn seal(
    vault: &Vault,
    key: &[u8; 32],
    request: &[u8; 32],
    reply: Option<Reply>,
) -> Result<Vec<u8>, StoreError> {
    let kept = serde_json::to_vec(&Kept { request: *request, reply });
    let kept = kept.map_err(|error| StoreError::Database(sqlx::Error::Encode(Box::new(error))))?;
    vault.seal_at(&place(key), &kept)
}

fn open(vault: &Vault, key: &[u8; 32], sealed: &[u8]) -> Option<Kept> {
    serde_json::from_slice(&vault.open_at(&place(key), sealed)?).ok()
}

fn place(key: &[u8; 32]) -> String {
    format!("replies:{key:02x?}")
}
