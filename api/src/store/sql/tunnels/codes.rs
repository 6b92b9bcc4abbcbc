//! Codes that verify a tunnel: each once, for a few minutes, and not after too many wrong ones.

use jiff::Timestamp;
use pgw_core::ids::TunnelId;
use pgw_core::tunnel::TokenHash;
use sqlx::types::Text;

use super::super::db::Connection;
use super::super::values::{Word, now};
use super::row::Row;
use super::write::write;
use super::{from, live, select};
use crate::store::{Conflict, NewCode, NotVerified, StoreError, Tunnel};

const MOST_ATTEMPTS: i64 = 5;

pub(in super::super) async fn renew(
    db: &mut Connection,
    own: &str,
    id: TunnelId,
    code: NewCode,
) -> Result<Tunnel, StoreError> {
    let before = live(db, id).await?;
    if before.verified {
        return Err(StoreError::Conflict(Conflict::Verified));
    }
    let row = Row {
        code: Some(Word(code.hash)),
        code_expires_at: Some(Text(code.expires_at)),
        code_attempts: 0,
        ..before.clone()
    };
    write(db, own, &before, row, &["verification"]).await
}

pub(in super::super) async fn verify(
    db: &mut Connection,
    own: &str,
    id: TunnelId,
    code: &TokenHash,
) -> Result<Result<Tunnel, NotVerified>, StoreError> {
    let before = live(db, id).await?;
    let (Some(Word(known)), Some(Text(expires_at)), false) =
        (&before.code, &before.code_expires_at, before.verified)
    else {
        return Ok(Err(NotVerified::NotAsked));
    };
    if before.code_attempts >= MOST_ATTEMPTS {
        return Ok(Err(NotVerified::Spent));
    }
    if *expires_at <= now() {
        return Ok(Err(NotVerified::Expired));
    }
    if known != code {
        sqlx::query("update tunnels set code_attempts = code_attempts + 1 where id = $1")
            .bind(id.0)
            .execute(db)
            .await?;
        return Ok(Err(NotVerified::Wrong));
    }
    let row = Row { verified: true, code: None, code_expires_at: None, ..before.clone() };
    write(db, own, &before, row, &["verified"]).await.map(Ok)
}

pub(in super::super) async fn by_code(
    db: &mut Connection,
    code: &TokenHash,
) -> Result<Option<(Tunnel, Timestamp)>, StoreError> {
    let row: Option<Row> = sqlx::query_as(select!("t.code = $1 and t.code_attempts < 5"))
        .bind(Word(code.clone()))
        .fetch_optional(db)
        .await?;
    Ok(row.and_then(|row| {
        let expires_at = row.code_expires_at?.0;
        Some((row.into(), expires_at))
    }))
}
