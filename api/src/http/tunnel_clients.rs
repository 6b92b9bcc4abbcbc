//! `/v1/tunnel-clients`: machines behind NAT, that keep a connection to a gateway.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use pgw_core::ids::TunnelClientId;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::conditional::{Meant, Tagged, tag};
use super::error::Error;
use super::fields::Fields;
use super::input::{Body, Id, Params};
use super::openapi::{IfMatchHeader, ListParams};
use super::removal::{self, Removing};
use super::sort::Listed;
use super::tunnel_values::{bandwidth, count, max_tunnels, spans};
use super::{Api, List, created, tunnel_fields, values};
use crate::credentials::{hashed, random_hex};
use crate::store::{
    AllowedPort, ListQuery, NewTunnelClient, Sort, SortBy, TunnelClient, TunnelClientPatch, TunnelSession,
};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, remove))
        .routes(routes!(rotate))
        .routes(routes!(disconnect))
        .routes(routes!(sessions))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `new_client` reads it and tells every mistake at once"
)]
struct TunnelClientCreate {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// The gateway that it connects to; the one that is asked when it is left out.
    #[schema(min_length = 1, max_length = 64, nullable = false)]
    gateway: Option<String>,
    #[schema(max_length = 1000, nullable = false)]
    note: Option<String>,
    #[schema(default = true, nullable = false)]
    enabled: Option<bool>,
    /// Left out or empty: the whole range of the tunnels.
    #[schema(max_items = 64, nullable = false)]
    allowed_ports: Option<Vec<AllowedPort>>,
    #[schema(default = 16, maximum = 1000, nullable = false)]
    max_tunnels: Option<u32>,
    #[schema(default = 1024, minimum = 1, maximum = 1000000, nullable = false)]
    max_connections: Option<u32>,
    /// Bytes per second, in each direction.
    #[schema(minimum = 1, maximum = 1000000000000_i64)]
    bandwidth: Option<u64>,
}

/// What is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `patch` reads it and tells every mistake at once")]
struct TunnelClientUpdate {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(max_length = 1000, nullable = false)]
    note: Option<String>,
    /// Switched off, its session ends and its ports are closed.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(max_items = 64, nullable = false)]
    allowed_ports: Option<Vec<AllowedPort>>,
    #[schema(maximum = 1000, nullable = false)]
    max_tunnels: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000, nullable = false)]
    max_connections: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000000000_i64)]
    bandwidth: Option<u64>,
}

/// A new tunnel client: the only answer that ever holds its token.
#[derive(Serialize, utoipa::ToSchema)]
struct TunnelClientMade {
    #[serde(flatten)]
    listed: TunnelClient,
    /// Keep it now; it cannot be read again.
    #[schema(min_length = 64, max_length = 64)]
    token: String,
}

/// A token that replaces the one before.
#[derive(Serialize, utoipa::ToSchema)]
struct NewTunnelToken {
    /// Keep it now; it cannot be read again.
    #[schema(min_length = 64, max_length = 64)]
    token: String,
}

const LISTED: Listed =
    Listed { name: "tunnel_clients", sorts: &[SortBy::Name, SortBy::Created, SortBy::Updated] };

/// Every tunnel client of every gateway, oldest first or by ?sort=name, created_at or updated_at.
#[utoipa::path(get, path = "/v1/tunnel-clients", tag = "tunnel_clients",
    params(ListParams, ("sort" = Option<String>, Query), ("gateway" = Option<String>, Query)),
    responses((status = 200, body = List<TunnelClient>)))]
async fn list(
    State(api): State<Arc<Api>>,
    Params(mut fields): Params,
) -> Result<Json<List<TunnelClient>>, Error> {
    let query = ListQuery {
        gateway: fields.optional("gateway", values::gateway),
        ..Params::list(&mut fields, &LISTED)
    };
    fields.finish()?;
    Ok(Json(List::of(api.store.tunnel_clients(&query).await?, &query, &LISTED)))
}

/// Makes a tunnel client, and tells its token, once. A machine that shall make its own gets a code
/// instead: POST …/enrolment.
#[utoipa::path(post, path = "/v1/tunnel-clients", tag = "tunnel_clients", request_body = TunnelClientCreate,
    responses((status = 201, body = TunnelClientMade)))]
async fn create(State(api): State<Arc<Api>>, Body(fields): Body) -> Result<impl IntoResponse, Error> {
    let token = random_hex::<32>()?;
    let listed = api.store.create_tunnel_client(new_client(fields, &token)?).await?;
    settle(&api, &listed.gateway).await;
    let (etag, location) = (tag(listed.revision), format!("/v1/tunnel-clients/{}", listed.id));
    let made = TunnelClientMade { listed, token: token.expose().to_owned() };
    Ok(([(header::ETAG, etag)], created(location, made)))
}

#[utoipa::path(get, path = "/v1/tunnel-clients/{id}", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path)), responses((status = 200, body = TunnelClient)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<TunnelClientId>) -> Result<Tagged<TunnelClient>, Error> {
    let client = api.store.tunnel_client(id).await?;
    Ok(Tagged(client.revision, client))
}

/// Changes a tunnel client. Switched off, its ports are closed when the answer comes.
#[utoipa::path(patch, path = "/v1/tunnel-clients/{id}", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path), IfMatchHeader),
    request_body = TunnelClientUpdate, responses((status = 200, body = TunnelClient)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelClientId>,
    Meant(if_revision): Meant,
    Body(fields): Body,
) -> Result<Tagged<TunnelClient>, Error> {
    let client = api.store.update_tunnel_client(id, patch(fields, if_revision)?).await?;
    settle(&api, &client.gateway).await;
    let client = api.store.tunnel_client(id).await?;
    Ok(Tagged(client.revision, client))
}

/// Removes a tunnel client; with ?cascade=true its tunnels, too. 204 means that its ports are closed,
/// 202 that they may not be yet.
#[utoipa::path(delete, path = "/v1/tunnel-clients/{id}", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path), IfMatchHeader, ("cascade" = Option<bool>, Query)),
    responses((status = 204), (status = 202, body = Removing)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelClientId>,
    Meant(if_revision): Meant,
    params: Params,
) -> Result<Response, Error> {
    let gateway = api.store.remove_tunnel_client(id, params.cascade()?, if_revision).await?;
    Ok(removal::answer(settle(&api, &gateway).await))
}

/// Another token. The one before opens nothing any more, its session ends, and codes that nobody has
/// used are void.
#[utoipa::path(post, path = "/v1/tunnel-clients/{id}/token", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path)), responses((status = 200, body = NewTunnelToken)))]
async fn rotate(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelClientId>,
) -> Result<Json<NewTunnelToken>, Error> {
    let token = random_hex::<32>()?;
    let client = api.store.replace_tunnel_token(id, hashed(&token)).await?;
    settle(&api, &client.gateway).await;
    Ok(Json(NewTunnelToken { token: token.expose().to_owned() }))
}

/// Ends its session. It may come back.
#[utoipa::path(post, path = "/v1/tunnel-clients/{id}/disconnect", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path)), responses((status = 204)))]
async fn disconnect(State(api): State<Arc<Api>>, Id(id): Id<TunnelClientId>) -> Result<StatusCode, Error> {
    let client = api.store.tunnel_client(id).await?;
    of_this_gateway(&api, &client.gateway)?;
    if !api.tunnels.disconnect(id).await? {
        return Err(Error::TunnelClientOffline);
    }
    settle(&api, &client.gateway).await;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) const SESSIONS: Listed = Listed { name: "tunnel_sessions", sorts: &[] };

/// Its stays, newest first.
#[utoipa::path(get, path = "/v1/tunnel-clients/{id}/sessions", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<TunnelSession>)))]
async fn sessions(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelClientId>,
    Params(mut fields): Params,
) -> Result<Json<List<TunnelSession>>, Error> {
    let query = sessions_query(&mut fields);
    fields.finish()?;
    api.store.tunnel_client(id).await?;
    Ok(Json(List::of(api.store.tunnel_sessions(id, None, &query).await?, &query, &SESSIONS)))
}

pub(super) fn sessions_query(fields: &mut Fields) -> ListQuery {
    Params::page(fields, &SESSIONS, Sort { by: SortBy::Created, descending: true })
}

/// Waits until the daemon of its gateway has made it so. Another gateway's was told with the write.
pub(super) async fn settle(api: &Api, gateway: &str) -> crate::converge::Settled {
    if gateway == api.store.gateway() {
        api.tunnels.settle().await
    } else {
        crate::converge::Settled::No(format!("gateway {gateway} was told"))
    }
}

pub(super) fn of_this_gateway(api: &Api, gateway: &str) -> Result<(), Error> {
    if gateway == api.store.gateway() { Ok(()) } else { Err(Error::OtherGateway(gateway.to_owned())) }
}

fn new_client(mut fields: Fields, token: &pgw_core::redact::Secret) -> Result<NewTunnelClient, Error> {
    let gateway = fields.optional("gateway", values::gateway);
    let client = tunnel_fields::client(&mut fields);
    let client = fields.finish_with(client)?;
    Ok(NewTunnelClient {
        name: client.name,
        gateway,
        note: client.note,
        enabled: client.enabled,
        allowed_ports: client.allowed_ports,
        max_tunnels: client.max_tunnels,
        max_connections: client.max_connections,
        bandwidth: client.bandwidth,
        token: hashed(token),
    })
}

fn patch(mut fields: Fields, if_revision: Option<i64>) -> Result<TunnelClientPatch, Error> {
    let patch = TunnelClientPatch {
        name: fields.optional("name", values::name),
        note: fields.optional("note", values::note),
        enabled: fields.optional("enabled", values::boolean),
        allowed_ports: fields.optional("allowed_ports", spans),
        max_tunnels: fields.optional("max_tunnels", max_tunnels),
        max_connections: fields.optional("max_connections", count),
        bandwidth: fields.nullable("bandwidth", bandwidth),
        if_revision,
    };
    fields.finish()?;
    Ok(patch)
}
