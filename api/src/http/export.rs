//! `/v1/export`, and the schema of what it answers.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::error::Error;
use super::frame::Remark;
use super::input::Params;
use super::media::Media;
use super::{Api, document, values};
use crate::declarative::document::Document;
use crate::store::Role;

const SCHEMA: &str = include_str!("../declarative/schema.json");

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(export)).routes(routes!(schema))
}

/// The whole configuration of this gateway as one document, for /v1/apply: every proxy, this
/// gateway's clients, and its tunnel clients with the operator's tunnels. Accept says whether in JSON or
/// YAML. Tokens are in no document: a machine keeps its own. Passwords are left out, and stay when
/// it is applied again; ?secrets=true, for admins only, puts them in.
#[utoipa::path(get, path = "/v1/export", tag = "config", params(("secrets" = Option<bool>, Query)),
    responses((status = 200, content((Document = "application/json"), (Document = "application/yaml")))))]
async fn export(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Params(mut fields): Params,
) -> Result<Response, Error> {
    let secrets = fields.optional("secrets", values::boolean_word).unwrap_or(false);
    fields.finish()?;
    if secrets {
        caller.needs(Role::Admin)?;
    }
    let exported = api.store.snapshot().await?.export(secrets);
    let media = Media::wanted(&headers);
    let body = document::written(media, &exported)?;
    let mut response = ([(header::CONTENT_TYPE, media.content_type())], body).into_response();
    if secrets {
        response.extensions_mut().insert(Remark("passwords were told"));
    }
    Ok(response)
}

/// The JSON Schema of the document, for editors.
#[utoipa::path(get, path = "/v1/schema/config.json", tag = "config",
    responses((status = 200, body = serde_json::Value, content_type = "application/schema+json")))]
async fn schema() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/schema+json"))], SCHEMA)
}
