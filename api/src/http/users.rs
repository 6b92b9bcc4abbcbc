//! `/v1/users`: who may log in with a password. For admins only.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use pgw_core::ids::UserId;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conditional::{Meant, Tagged, tag};
use super::error::Error;
use super::input::{Body, Id, Params};
use super::openapi::{IfMatchHeader, ListParams};
use super::sort::Listed;
use super::{Api, List, created, values};
use crate::store::{NewUser, Role, SortBy, User, UserPatch};

const ROLES: &str = "admin, operator, viewer";

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, remove))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `create` reads it and tells every mistake at once")]
struct UserCreate {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    role: Role,
    #[schema(min_length = 12, max_length = 1024, write_only, format = Password)]
    password: String,
}

/// What is left out stays. Another role or another password ends all of their sessions.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `update` reads it and tells every mistake at once")]
struct UserUpdate {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    role: Option<Role>,
    #[schema(min_length = 12, max_length = 1024, write_only, nullable = false, format = Password)]
    password: Option<String>,
}

const LISTED: Listed = Listed { name: "users", sorts: &[SortBy::Name, SortBy::Created, SortBy::Updated] };

/// Everybody who may log in, oldest first or by ?sort=name, created_at or updated_at.
#[utoipa::path(get, path = "/v1/users", tag = "users", params(ListParams, ("sort" = Option<String>, Query)),
    responses((status = 200, body = List<User>)))]
async fn list(State(api): State<Arc<Api>>, params: Params) -> Result<Json<List<User>>, Error> {
    let query = params.only_list(&LISTED)?;
    Ok(Json(List::of(api.store.users(&query).await?, &query, &LISTED)))
}

#[utoipa::path(post, path = "/v1/users", tag = "users", request_body = UserCreate,
    responses((status = 201, body = User)))]
async fn create(State(api): State<Arc<Api>>, Body(mut fields): Body) -> Result<impl IntoResponse, Error> {
    let name = fields.required("name", values::name);
    let role = fields.required("role", values::word(ROLES));
    let password = fields.required("password", values::new_password);
    let ((name, role), password) = fields.finish_with(name.zip(role).zip(password))?;
    let password = api.doors.passwords.hash(password).await?;
    let user = api.store.create_user(NewUser { name, role, password }).await?;
    Ok(([(header::ETAG, tag(user.revision))], created(format!("/v1/users/{}", user.id), user)))
}

#[utoipa::path(get, path = "/v1/users/{id}", tag = "users", params(("id" = UserId, Path)),
    responses((status = 200, body = User)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<UserId>) -> Result<Tagged<User>, Error> {
    let user = api.store.user(id).await?;
    Ok(Tagged(user.revision, user))
}

/// Changes somebody. The last admin stays one.
#[utoipa::path(patch, path = "/v1/users/{id}", tag = "users", params(("id" = UserId, Path), IfMatchHeader),
    request_body = UserUpdate, responses((status = 200, body = User)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<UserId>,
    Meant(if_revision): Meant,
    Body(mut fields): Body,
) -> Result<Tagged<User>, Error> {
    let name = fields.optional("name", values::name);
    let role = fields.optional("role", values::word(ROLES));
    let password = fields.optional("password", values::new_password);
    fields.finish()?;
    let password = match password {
        Some(password) => Some(api.doors.passwords.hash(password).await?),
        None => None,
    };
    let user = api.store.update_user(id, UserPatch { name, role, password, if_revision }).await?;
    Ok(Tagged(user.revision, user))
}

/// Removes somebody, and ends all of their sessions. The last admin stays.
#[utoipa::path(delete, path = "/v1/users/{id}", tag = "users", params(("id" = UserId, Path), IfMatchHeader),
    responses((status = 204)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<UserId>,
    Meant(if_revision): Meant,
) -> Result<StatusCode, Error> {
    api.store.remove_user(id, if_revision).await?;
    Ok(StatusCode::NO_CONTENT)
}
