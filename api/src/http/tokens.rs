//! `/v1/tokens`: who else may use the API. For admins only.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use pgw_core::ids::TokenId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::hash;
use super::error::Error;
use super::fields::{Fields, Read};
use super::input::{Body, Id, Params};
use super::openapi::ListParams;
use super::sort::Listed;
use super::{Api, List, created, values};
use crate::credentials::{RESERVED_NAMES, fresh_token};
use crate::store::{NewToken, Role, SortBy, Token};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, revoke))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `asked_for` reads it and tells every mistake at once")]
struct TokenCreate {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    role: Role,
}

/// A new token: the only answer that ever holds its text.
#[derive(Serialize, utoipa::ToSchema)]
struct TokenMade {
    #[serde(flatten)]
    listed: Token,
    /// Keep it now; it cannot be read again.
    token: String,
}

const LISTED: Listed = Listed { name: "tokens", sorts: &[SortBy::Name, SortBy::Created] };

/// Every token, revoked ones included, oldest first or by ?sort=name or created_at; never their texts.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens",
    params(ListParams, ("sort" = Option<String>, Query)), responses((status = 200, body = List<Token>)))]
async fn list(State(api): State<Arc<Api>>, params: Params) -> Result<Json<List<Token>>, Error> {
    let query = params.only_list(&LISTED)?;
    Ok(Json(List::of(api.store.tokens(&query).await?, &query, &LISTED)))
}

#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenCreate,
    responses((status = 201, body = TokenMade)))]
async fn create(State(api): State<Arc<Api>>, Body(fields): Body) -> Result<impl IntoResponse, Error> {
    let (name, role) = asked_for(fields)?;
    let token = fresh_token()?;
    let listed = api.store.create_token(NewToken { name, role, hash: hash(token.expose()) }).await?;
    let location = format!("/v1/tokens/{}", listed.id);
    Ok(created(location, TokenMade { listed, token: token.expose().to_owned() }))
}

#[utoipa::path(get, path = "/v1/tokens/{id}", tag = "tokens", params(("id" = TokenId, Path)),
    responses((status = 200, body = Token)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<TokenId>) -> Result<Json<Token>, Error> {
    Ok(Json(api.store.token(id).await?))
}

/// Revokes a token: from now on it opens nothing.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "tokens", params(("id" = TokenId, Path)),
    responses((status = 204)))]
async fn revoke(State(api): State<Arc<Api>>, Id(id): Id<TokenId>) -> Result<StatusCode, Error> {
    api.store.revoke_token(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn asked_for(mut fields: Fields) -> Result<(String, Role), Error> {
    let name = fields.required("name", free_name);
    let role = fields.required("role", values::word("admin, operator, viewer"));
    fields.finish_with(name.zip(role))
}

fn free_name(value: &Value) -> Read<String> {
    let name = values::name(value)?;
    if RESERVED_NAMES.contains(&name.as_str()) { Err("is reserved".to_owned()) } else { Ok(name) }
}
