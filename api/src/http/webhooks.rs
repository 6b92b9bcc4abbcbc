//! `/v1/webhooks`: who is told of events. For admins only.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use pgw_core::ids::WebhookId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conditional::{Meant, Tagged};
use super::error::Error;
use super::events::kind;
use super::fields::{Fields, Read};
use super::input::{Body, Id, Params};
use super::openapi::{IfMatchHeader, ListParams};
use super::sort::Listed;
use super::{Api, List, created, values};
use crate::events::Kind;
use crate::store::{NewWebhook, SortBy, Webhook, WebhookPatch};
use crate::webhooks::{Tried, sign, url};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, remove))
        .routes(routes!(try_out))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `new_webhook` reads it and tells every mistake at once"
)]
struct WebhookCreate {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// http:// or https://, without a user name.
    #[schema(example = "https://example.org/pgw", max_length = 2048)]
    url: String,
    /// All when it is left out or empty.
    #[schema(nullable = false)]
    kinds: Option<Vec<Kind>>,
    /// True when it is left out.
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

/// What is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `webhook_patch` reads it and tells every mistake at once"
)]
struct WebhookUpdate {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(max_length = 2048, nullable = false)]
    url: Option<String>,
    #[schema(nullable = false)]
    kinds: Option<Vec<Kind>>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

/// A new webhook: the only answer that ever holds its secret.
#[derive(Serialize, utoipa::ToSchema)]
struct WebhookMade {
    #[serde(flatten)]
    listed: Webhook,
    /// Checks the signature of each message (Standard Webhooks). Keep it now; it cannot be read again.
    #[schema(example = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")]
    secret: String,
}

const LISTED: Listed = Listed { name: "webhooks", sorts: &[SortBy::Name, SortBy::Created, SortBy::Updated] };

/// Every webhook with how it goes, oldest first or by ?sort=name, created_at or updated_at. ?q= looks
/// at names and URLs.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks",
    params(ListParams, ("sort" = Option<String>, Query)), responses((status = 200, body = List<Webhook>)))]
async fn list(State(api): State<Arc<Api>>, params: Params) -> Result<Json<List<Webhook>>, Error> {
    let query = params.only_list(&LISTED)?;
    Ok(Json(List::of(api.store.webhooks(&query).await?, &query, &LISTED)))
}

/// Adds a webhook. It is told what happens from now on: each event at least once, in order, again and
/// again for a day until it answers 2xx. 410 switches it off.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = WebhookCreate,
    responses((status = 201, body = WebhookMade)))]
async fn create(State(api): State<Arc<Api>>, Body(fields): Body) -> Result<impl IntoResponse, Error> {
    let new = new_webhook(fields)?;
    let secret = new.secret.clone();
    let listed = api.store.create_webhook(new).await?;
    let location = format!("/v1/webhooks/{}", listed.id);
    Ok(created(location, WebhookMade { listed, secret: secret.expose().to_owned() }))
}

#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = WebhookId, Path)),
    responses((status = 200, body = Webhook)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<WebhookId>) -> Result<Tagged<Webhook>, Error> {
    let webhook = api.store.webhook(id).await?;
    Ok(Tagged(webhook.revision, webhook))
}

/// Changes a webhook. One that is switched on again is told what happens from then on.
#[utoipa::path(patch, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = WebhookId, Path), IfMatchHeader),
    request_body = WebhookUpdate, responses((status = 200, body = Webhook)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<WebhookId>,
    Meant(if_revision): Meant,
    Body(fields): Body,
) -> Result<Tagged<Webhook>, Error> {
    let patch = WebhookPatch { if_revision, ..webhook_patch(fields)? };
    let webhook = api.store.update_webhook(id, patch).await?;
    Ok(Tagged(webhook.revision, webhook))
}

#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = WebhookId, Path), IfMatchHeader),
    responses((status = 204)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<WebhookId>,
    Meant(if_revision): Meant,
) -> Result<StatusCode, Error> {
    api.store.remove_webhook(id, if_revision).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends it a message of kind `test`, once, also when it is switched off, and tells how it was taken.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks", operation_id = "test", params(("id" = WebhookId, Path)),
    responses((status = 200, body = Tried)))]
async fn try_out(State(api): State<Arc<Api>>, Id(id): Id<WebhookId>) -> Result<Json<Tried>, Error> {
    Ok(Json(api.webhooks.try_out(id).await?))
}

fn new_webhook(mut fields: Fields) -> Result<NewWebhook, Error> {
    let name = fields.required("name", values::name);
    let url = fields.required("url", address);
    let kinds = fields.optional("kinds", kinds).unwrap_or_default();
    let enabled = fields.optional("enabled", values::boolean).unwrap_or(true);
    let (name, url) = fields.finish_with(name.zip(url))?;
    let secret = sign::fresh_secret().map_err(crate::credentials::RandomError)?;
    Ok(NewWebhook { name, url, kinds, enabled, secret })
}

fn webhook_patch(mut fields: Fields) -> Result<WebhookPatch, Error> {
    let patch = WebhookPatch {
        name: fields.optional("name", values::name),
        url: fields.optional("url", address),
        kinds: fields.optional("kinds", kinds),
        enabled: fields.optional("enabled", values::boolean),
        if_revision: None,
    };
    fields.finish()?;
    Ok(patch)
}

fn address(value: &Value) -> Read<String> {
    url::parse(values::text(value)?).map_err(|error| error.to_string())
}

/// Each once, so that the same list is always written in the same way.
fn kinds(value: &Value) -> Read<Vec<Kind>> {
    let list = value.as_array().ok_or_else(|| "must be a list".to_owned())?;
    let mut kinds = list.iter().map(|word| kind(values::text(word)?)).collect::<Read<Vec<Kind>>>()?;
    kinds.sort_unstable();
    kinds.dedup();
    Ok(kinds)
}
