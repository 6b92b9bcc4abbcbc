//! The table `users`: no password, only what one is compared with.

use super::db::Connection;
use super::events::{changed, changes};
use jiff::Timestamp;
use pgw_core::ids::UserId;
use pgw_core::redact::Secret;
use sqlx::types::Text;
use uuid::Uuid;

use super::lists::{Column, Listing};
use super::values::{Word, now, pattern, replace, unchanged};
use crate::events::{Action, Thing};
use crate::store::{
    Conflict, KnownUser, ListQuery, NewUser, Page, Role, SortBy, StoreError, User, UserPatch,
};

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: Uuid,
    name: String,
    role: Word<Role>,
    password: String,
    revision: i64,
    last_login_at: Option<Text<Timestamp>>,
    created_at: Text<Timestamp>,
    updated_at: Text<Timestamp>,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self {
            id: UserId(row.id),
            name: row.name,
            role: row.role.0,
            revision: row.revision,
            last_login_at: row.last_login_at.map(|Text(at)| at),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        }
    }
}

pub(super) async fn create(db: &mut Connection, own: &str, new: NewUser) -> Result<User, StoreError> {
    let row: Row = sqlx::query_as(
        "insert into users (id, name, role, password, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $5) returning *",
    )
    .bind(Uuid::now_v7())
    .bind(new.name)
    .bind(Word(new.role))
    .bind(new.password.expose())
    .bind(Text(now()))
    .fetch_one(&mut *db)
    .await?;
    changed(db, own, Thing::User, Action::Created, &row.name, &[]).await?;
    Ok(row.into())
}

pub(super) async fn create_first(db: &mut Connection, own: &str, new: NewUser) -> Result<User, StoreError> {
    if any(db).await? { Err(StoreError::Conflict(Conflict::SetUp)) } else { create(db, own, new).await }
}

pub(super) async fn any(db: &mut Connection) -> Result<bool, StoreError> {
    let one: Option<Uuid> = sqlx::query_scalar("select id from users limit 1").fetch_optional(db).await?;
    Ok(one.is_some())
}

pub(super) async fn list(db: &mut Connection, query: &ListQuery) -> Result<Page<User>, StoreError> {
    let column = match query.sort.by {
        SortBy::Name => Column::Text("lower(name)"),
        SortBy::Updated => Column::Text("rtrim(updated_at, 'Z')"),
        _ => Column::Id,
    };
    let listing = Listing::new(query, column, "id");
    let statement = listing.statement("*", r"users where ($1 is null or lower(name) like $1 escape '\')", 1);
    listing.page(db, sqlx::query(statement).bind(pattern(query)), |row: &Row| row.id).await
}

pub(super) async fn get(db: &mut Connection, id: UserId) -> Result<Row, StoreError> {
    sqlx::query_as("select * from users where id = $1")
        .bind(id.0)
        .fetch_optional(db)
        .await?
        .ok_or(StoreError::NotFound("user"))
}

pub(super) async fn by_name(db: &mut Connection, name: &str) -> Result<Option<KnownUser>, StoreError> {
    let row: Option<Row> =
        sqlx::query_as("select * from users where name = $1").bind(name).fetch_optional(db).await?;
    Ok(row.map(|row| KnownUser { password: Secret::new(row.password.as_str()), user: row.into() }))
}

pub(super) async fn update(
    db: &mut Connection,
    own: &str,
    id: UserId,
    patch: UserPatch,
) -> Result<User, StoreError> {
    let mut row = get(db, id).await?;
    unchanged(patch.if_revision, row.revision)?;
    let was = row.role.0;
    let fields = changes([
        ("name", replace(&mut row.name, patch.name)),
        ("role", replace(&mut row.role.0, patch.role)),
        ("password", replace(&mut row.password, patch.password.map(|hash| hash.expose().to_owned()))),
    ]);
    if fields.is_empty() {
        return Ok(row.into());
    }
    let is = row.role.0;
    if was == Role::Admin && is != Role::Admin {
        someone_else_is_admin(db, id).await?;
    }
    if fields.iter().any(|field| matches!(*field, "role" | "password")) {
        sqlx::query("delete from sessions where user_id = $1").bind(id.0).execute(&mut *db).await?;
    }
    let row: Row = sqlx::query_as(
        "update users set name = $2, role = $3, password = $4, updated_at = $5, revision = revision + 1
         where id = $1 returning *",
    )
    .bind(id.0)
    .bind(row.name)
    .bind(row.role)
    .bind(row.password)
    .bind(Text(now()))
    .fetch_one(&mut *db)
    .await?;
    changed(db, own, Thing::User, Action::Updated, &row.name, &fields).await?;
    Ok(row.into())
}

/// Their sessions go with them.
pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: UserId,
    if_revision: Option<i64>,
) -> Result<(), StoreError> {
    let row = get(db, id).await?;
    unchanged(if_revision, row.revision)?;
    if row.role.0 == Role::Admin {
        someone_else_is_admin(db, id).await?;
    }
    sqlx::query("delete from users where id = $1").bind(id.0).execute(&mut *db).await?;
    changed(db, own, Thing::User, Action::Deleted, &row.name, &[]).await?;
    Ok(())
}

async fn someone_else_is_admin(db: &mut Connection, id: UserId) -> Result<(), StoreError> {
    let other: Option<Uuid> =
        sqlx::query_scalar("select id from users where role = 'admin' and id <> $1 limit 1")
            .bind(id.0)
            .fetch_optional(db)
            .await?;
    if other.is_some() { Ok(()) } else { Err(StoreError::Conflict(Conflict::LastAdmin)) }
}
