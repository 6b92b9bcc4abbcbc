//! Which database this is, held against what the gateway remembers.

use jiff::Timestamp;
use pgw_core::ids::DatabaseId;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::values::now;
use crate::store::{Identity, StoreError};

/// None: it is another one than was expected, and nothing was written to it. Under the write lock:
/// of several gateways that start at once, one gives it its id.
pub(super) async fn open(
    db: &mut Connection,
    expected: Option<DatabaseId>,
) -> Result<Option<Identity>, StoreError> {
    let known: Option<(Uuid, Option<Text<Timestamp>>)> =
        sqlx::query_as("select id, made_at from identity").fetch_optional(&mut *db).await?;
    let known = known.map(|(id, made_at)| Identity { id: DatabaseId(id), made_at: made_at.map(|at| at.0) });
    if let Some(expected) = expected {
        return Ok(known.filter(|known| known.id == expected));
    }
    if known.is_some() {
        return Ok(known);
    }
    // A database that was in use before it had an id is nobody's new one.
    let in_use: Option<i32> = sqlx::query_scalar(
        "select 1 where exists (select 1 from gateways) or exists (select 1 from clients)
            or exists (select 1 from tokens) or exists (select 1 from users)",
    )
    .fetch_optional(&mut *db)
    .await?;
    let made = Identity { id: DatabaseId(Uuid::now_v7()), made_at: in_use.is_none().then(now) };
    sqlx::query("insert into identity (number, id, made_at) values (1, $1, $2)")
        .bind(made.id.0)
        .bind(made.made_at.map(Text))
        .execute(db)
        .await?;
    Ok(Some(made))
}
