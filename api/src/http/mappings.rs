//! `/v1/mappings`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pgw_core::active::ActiveSet;
use pgw_core::exit::Expect;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use pgw_core::mapping::{DEFAULT_PRIORITY, Mapping, Target};
use pgw_core::state::MappingState;
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conditional::{Meant, Tagged, tag};
use super::error::Error;
use super::fields::{Fields, Read};
use super::input::{Body, Id, Params};
use super::openapi::{IfMatchHeader, ListParams};
use super::removal::{self, Removing};
use super::sort::Listed;
use super::{Api, List, created, values};
use crate::store::{ListQuery, MappingPatch, NewMapping, Owner, SortBy};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(active))
        .routes(routes!(get, update, remove))
}

/// A client's way out by a proxy.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `new_mapping` reads it and tells every mistake at once"
)]
struct MappingCreate {
    client_id: ClientId,
    proxy_id: ProxyId,
    /// Lower goes first; 100 when it is left out.
    #[schema(nullable = false)]
    priority: Option<u16>,
    #[schema(nullable = false)]
    target: Option<Target>,
    /// True when it is left out.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    expect: Option<Expect>,
    /// False when it is left out.
    #[schema(nullable = false)]
    exclusive: Option<bool>,
}

/// What is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `mapping_patch` reads it and tells every mistake at once"
)]
struct MappingUpdate {
    #[schema(nullable = false)]
    proxy_id: Option<ProxyId>,
    #[schema(nullable = false)]
    priority: Option<u16>,
    #[schema(nullable = false)]
    target: Option<Target>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
    /// The whole of it: what it does not name may be anything.
    expect: Option<Expect>,
    #[schema(nullable = false)]
    exclusive: Option<bool>,
    /// Null only: whatever the exit address is now, it is the one that is expected to stay. So it is
    /// for a mapping that is switched on anew, or given another proxy.
    #[schema(value_type = Option<String>, max_length = 0)]
    stable_exit_ip: Option<()>,
}

const LISTED: Listed = Listed {
    name: "mappings",
    sorts: &[
        SortBy::ClientName,
        SortBy::ProxyName,
        SortBy::Priority,
        SortBy::State,
        SortBy::Port,
        SortBy::Created,
        SortBy::Updated,
    ],
};

/// Every mapping, oldest first or by ?sort=client, proxy (by their names), priority, state, port,
/// created_at or updated_at; `-port` the other way round. ?q= looks at the names and addresses of
/// its client and proxy.
#[utoipa::path(get, path = "/v1/mappings", tag = "mappings",
    params(
        ListParams,
        ("sort" = Option<String>, Query),
        ("state" = Option<MappingState>, Query),
        ("client_id" = Option<ClientId>, Query),
        ("proxy_id" = Option<ProxyId>, Query),
        ("gateway" = Option<String>, Query),
    ),
    responses((status = 200, body = List<Mapping>)))]
async fn list(State(api): State<Arc<Api>>, Params(mut fields): Params) -> Result<Json<List<Mapping>>, Error> {
    let query = ListQuery {
        state: fields.optional("state", values::word("PENDING, APPLIED, FAILED")),
        client_id: fields.optional("client_id", client_id),
        proxy_id: fields.optional("proxy_id", proxy_id),
        gateway: fields.optional("gateway", values::gateway),
        ..Params::list(&mut fields, &LISTED)
    };
    fields.finish()?;
    Ok(Json(List::of(api.store.mappings(&query).await?, &query, &LISTED)))
}

/// Adds a mapping. It opens by itself: PENDING, then APPLIED when rule, forwarder and proxy are there.
#[utoipa::path(post, path = "/v1/mappings", tag = "mappings", request_body = MappingCreate,
    responses((status = 201, body = Mapping)))]
async fn create(State(api): State<Arc<Api>>, Body(fields): Body) -> Result<impl IntoResponse, Error> {
    let mapping = api.store.create_mapping(new_mapping(fields)?, &api.ports).await?;
    api.engine.check_soon(mapping.proxy_id);
    api.engine.wake(mapping.client_id);
    Ok(([(header::ETAG, tag(mapping.revision))], created(format!("/v1/mappings/{}", mapping.id), mapping)))
}

/// For the agent: what is to be in the kernel.
#[utoipa::path(get, path = "/v1/mappings/active", tag = "mappings", responses((status = 200, body = ActiveSet)))]
async fn active(State(api): State<Arc<Api>>) -> Result<Json<ActiveSet>, Error> {
    Ok(Json(api.engine.active_set().await?))
}

#[utoipa::path(get, path = "/v1/mappings/{id}", tag = "mappings", params(("id" = MappingId, Path)),
    responses((status = 200, body = Mapping)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<MappingId>) -> Result<Tagged<Mapping>, Error> {
    let mapping = api.store.mapping(id).await?;
    Ok(Tagged(mapping.revision, mapping))
}

/// Changes a mapping; with another proxy, or switched on, it is PENDING again. One that is switched
/// off is FAILED once it is closed. The answer waits for what comes of it, though not for an agent
/// that does not answer: its state is what is true by then.
#[utoipa::path(patch, path = "/v1/mappings/{id}", tag = "mappings", params(("id" = MappingId, Path), IfMatchHeader),
    request_body = MappingUpdate, responses((status = 200, body = Mapping)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<MappingId>,
    Meant(if_revision): Meant,
    Body(fields): Body,
) -> Result<Tagged<Mapping>, Error> {
    let patch = mapping_patch(fields, if_revision)?;
    let sharing_changes = patch.exclusive.is_some();
    let mapping = api.store.update_mapping(id, patch).await?;
    if sharing_changes {
        wake_sharers(&api, id).await?;
    }
    removal::settle(&api, Owner { client: mapping.client_id, gateway: mapping.gateway }).await;
    let mapping = api.store.mapping(id).await?;
    Ok(Tagged(mapping.revision, mapping))
}

/// Removes a mapping. 204 means that nothing leaves by it any more, 202 that something still may.
#[utoipa::path(delete, path = "/v1/mappings/{id}", tag = "mappings", params(("id" = MappingId, Path), IfMatchHeader),
    responses((status = 204), (status = 202, body = Removing)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<MappingId>,
    Meant(if_revision): Meant,
) -> Result<Response, Error> {
    let owner = api.store.remove_mapping(id, if_revision).await?;
    Ok(removal::answer(removal::settle(&api, owner).await))
}

/// Whether they may leave by an address may depend on it. Other gateways' were told with the write.
async fn wake_sharers(api: &Api, id: MappingId) -> Result<(), Error> {
    for owner in api.store.sharers_of_exit(id).await? {
        if owner.gateway == api.store.gateway() {
            api.engine.wake(owner.client);
        }
    }
    Ok(())
}

fn new_mapping(mut fields: Fields) -> Result<NewMapping, Error> {
    let client = fields.required("client_id", client_id);
    let proxy = fields.required("proxy_id", proxy_id);
    let priority = fields.optional("priority", values::priority).unwrap_or(DEFAULT_PRIORITY);
    let target = fields.optional("target", target).unwrap_or_default();
    let enabled = fields.optional("enabled", values::boolean).unwrap_or(true);
    let expect = fields.object("expect", values::expect).unwrap_or_default();
    let exclusive = fields.optional("exclusive", values::boolean).unwrap_or(false);
    let (client_id, proxy_id) = fields.finish_with(client.zip(proxy))?;
    Ok(NewMapping { client_id, proxy_id, priority, target, enabled, expect, exclusive })
}

fn mapping_patch(mut fields: Fields, if_revision: Option<i64>) -> Result<MappingPatch, Error> {
    let patch = MappingPatch {
        proxy_id: fields.optional("proxy_id", proxy_id),
        priority: fields.optional("priority", values::priority),
        target: fields.optional("target", target),
        enabled: fields.optional("enabled", values::boolean),
        expect: fields.object("expect", values::expect),
        exclusive: fields.optional("exclusive", values::boolean),
        accept_exit: fields.nullable("stable_exit_ip", nothing_else).is_some(),
        if_revision,
    };
    fields.finish()?;
    Ok(patch)
}

fn nothing_else(_value: &Value) -> Read<()> {
    Err("can only be null, which accepts the exit address that there is".to_owned())
}

fn client_id(value: &Value) -> Read<ClientId> {
    values::uuid(value).map(ClientId)
}

fn proxy_id(value: &Value) -> Read<ProxyId> {
    values::uuid(value).map(ProxyId)
}

fn target(value: &Value) -> Read<Target> {
    values::word("original, hostname")(value)
}
