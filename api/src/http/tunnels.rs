//! `/v1/tunnels`: what is opened on a gateway for a machine behind NAT.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Origin, Protocol, State as TunnelState};
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::conditional::{Meant, Tagged, tag};
use super::error::Error;
use super::fields::Fields;
use super::input::{Body, Id, Params};
use super::openapi::{IfMatchHeader, ListParams};
use super::removal::{self, Removing};
use super::sort::Listed;
use super::tunnel_clients::settle;
use super::tunnel_values as read;
use super::{Api, List, created, tunnel_fields, values};
use crate::credentials::{hashed, random_hex};
use crate::store::{Header, ListQuery, NewCode, NewTunnel, Role, SortBy, Tunnel, TunnelFilter, TunnelPatch};

/// A code is good for so long.
const VERIFY_WITHIN: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, remove))
        .routes(routes!(close))
}

/// Who may see an http tunnel.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `tunnel_values` reads it")]
struct TunnelLoginWritten {
    #[schema(min_length = 1, max_length = 255, pattern = "^[^:\\u0000-\\u001f\\u007f]+$")]
    username: String,
    /// Left out: the one that this name has.
    #[schema(min_length = 1, max_length = 255, nullable = false)]
    password: Option<String>,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `new_tunnel` reads it and tells every mistake at once"
)]
struct TunnelCreate {
    tunnel_client_id: TunnelClientId,
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    protocol: Protocol,
    /// Left out or 0: the gateway picks one. Of all but http.
    #[schema(maximum = 65535, nullable = false)]
    public_port: Option<u16>,
    /// Of http only: a label below PGW_TUNNEL_DOMAIN, or a whole name.
    #[schema(example = "shop")]
    host: Option<String>,
    /// Of http only: what lies below it.
    #[schema(example = "/api")]
    path: Option<String>,
    /// Of http only: requests that have it.
    header: Option<Header>,
    /// Where the client goes to. A name is looked up there, each time.
    #[schema(example = "127.0.0.1")]
    local_host: String,
    #[schema(minimum = 1, maximum = 65535)]
    local_port: u16,
    #[schema(default = true, nullable = false)]
    enabled: Option<bool>,
    /// False, for admins only: it opens without a code.
    #[schema(default = true, nullable = false)]
    verify: Option<bool>,
    /// Bytes per second, in each direction.
    #[schema(minimum = 1, maximum = 1000000000000_i64)]
    bandwidth: Option<u64>,
    #[schema(minimum = 1, maximum = 1000000)]
    max_connections: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000)]
    max_per_visitor: Option<u32>,
    /// Of one visitor, http only.
    #[schema(minimum = 1, maximum = 1000000)]
    requests_per_minute: Option<u32>,
    /// Addresses and networks; left out or empty: everybody.
    #[schema(max_items = 64, nullable = false)]
    visitor_allow: Option<Vec<String>>,
    /// Of http only.
    #[schema(max_items = 32, nullable = false)]
    basic_auth: Option<Vec<TunnelLoginWritten>>,
    /// Of what is not compressed already.
    #[schema(default = false, nullable = false)]
    compression: Option<bool>,
    /// The target is told who the visitor is (PROXY protocol, version 2). Of tcp and both only.
    #[schema(default = false, nullable = false)]
    proxy_protocol: Option<bool>,
    /// After so many seconds a visitor's datagrams count as a new conversation.
    #[schema(default = 30, minimum = 1, maximum = 86400, nullable = false)]
    udp_idle_s: Option<u32>,
}

/// What is left out stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `patch` reads it and tells every mistake at once")]
struct TunnelUpdate {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    protocol: Option<Protocol>,
    /// 0: the gateway picks one.
    #[schema(maximum = 65535, nullable = false)]
    public_port: Option<u16>,
    host: Option<String>,
    path: Option<String>,
    header: Option<Header>,
    #[schema(nullable = false)]
    local_host: Option<String>,
    #[schema(minimum = 1, maximum = 65535, nullable = false)]
    local_port: Option<u16>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(minimum = 1, maximum = 1000000000000_i64)]
    bandwidth: Option<u64>,
    #[schema(minimum = 1, maximum = 1000000)]
    max_connections: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000)]
    max_per_visitor: Option<u32>,
    #[schema(minimum = 1, maximum = 1000000)]
    requests_per_minute: Option<u32>,
    #[schema(max_items = 64, nullable = false)]
    visitor_allow: Option<Vec<String>>,
    /// The whole list. Who has no password in it keeps the one he has.
    #[schema(max_items = 32, nullable = false)]
    basic_auth: Option<Vec<TunnelLoginWritten>>,
    #[schema(nullable = false)]
    compression: Option<bool>,
    #[schema(nullable = false)]
    proxy_protocol: Option<bool>,
    #[schema(minimum = 1, maximum = 86400, nullable = false)]
    udp_idle_s: Option<u32>,
}

/// By which a tunnel is verified, once.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Verification {
    /// Shown once.
    pub(super) code: String,
    #[schema(example = "/verify/0123456789abcdef0123456789abcdef")]
    pub(super) url: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    pub(super) expires_at: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
struct TunnelMade {
    #[serde(flatten)]
    tunnel: Tunnel,
    /// Absent where nobody has to verify it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    verification: Option<Verification>,
}

const LISTED: Listed = Listed {
    name: "tunnels",
    sorts: &[SortBy::Name, SortBy::ClientName, SortBy::State, SortBy::Port, SortBy::Created, SortBy::Updated],
};

/// Every tunnel of every gateway, those that clients asked for included, oldest first or by ?sort=name,
/// client, state, port, created_at or updated_at.
#[utoipa::path(get, path = "/v1/tunnels", tag = "tunnels",
    params(ListParams, ("sort" = Option<String>, Query), ("gateway" = Option<String>, Query),
        ("tunnel_client_id" = Option<TunnelClientId>, Query), ("state" = Option<TunnelState>, Query),
        ("protocol" = Option<Protocol>, Query), ("origin" = Option<Origin>, Query)),
    responses((status = 200, body = List<Tunnel>)))]
async fn list(State(api): State<Arc<Api>>, Params(mut fields): Params) -> Result<Json<List<Tunnel>>, Error> {
    let tunnels = TunnelFilter {
        client: fields.optional("tunnel_client_id", |value| values::uuid(value).map(TunnelClientId)),
        state: fields.optional("state", values::word("PENDING, ACTIVE, OFFLINE, FAILED")),
        protocol: fields.optional("protocol", tunnel_fields::protocol),
        origin: fields.optional("origin", values::word("client, operator")),
    };
    let query = ListQuery {
        gateway: fields.optional("gateway", values::gateway),
        tunnels,
        ..Params::list(&mut fields, &LISTED)
    };
    fields.finish()?;
    Ok(Json(List::of(api.store.tunnels(&query).await?, &query, &LISTED)))
}

/// Opens a tunnel, whenever its client is there, once it is verified: the code in the answer is shown
/// once, is good for ten minutes, and is entered on the page that `url` names.
#[utoipa::path(post, path = "/v1/tunnels", tag = "tunnels", request_body = TunnelCreate,
    responses((status = 201, body = TunnelMade)))]
async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Body(mut fields): Body,
) -> Result<impl IntoResponse, Error> {
    let verify = fields.optional("verify", values::boolean).unwrap_or(true);
    let mut new = new_tunnel(fields)?;
    let verification = if verify {
        let (code, verification) = fresh_code()?;
        (new.verified, new.code) = (false, Some(code));
        Some(verification)
    } else {
        caller.needs(Role::Admin)?;
        None
    };
    let made = api.store.create_tunnel(new, &api.tunnels.ground()).await?;
    settle(&api, &made.gateway).await;
    let tunnel = api.store.tunnel(made.id).await?;
    let location = format!("/v1/tunnels/{}", tunnel.id);
    let etag = tag(tunnel.revision.unwrap_or_default());
    Ok(([(header::ETAG, etag)], created(location, TunnelMade { tunnel, verification })))
}

#[utoipa::path(get, path = "/v1/tunnels/{id}", tag = "tunnels", params(("id" = TunnelId, Path)),
    responses((status = 200, body = Tunnel)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<TunnelId>) -> Result<Response, Error> {
    Ok(answer(api.store.tunnel(id).await?))
}

/// Changes an operator's tunnel. What it opens or closes is done when the answer comes, if its daemon
/// answers.
#[utoipa::path(patch, path = "/v1/tunnels/{id}", tag = "tunnels",
    params(("id" = TunnelId, Path), IfMatchHeader), request_body = TunnelUpdate,
    responses((status = 200, body = Tunnel)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelId>,
    Meant(if_revision): Meant,
    Body(fields): Body,
) -> Result<Response, Error> {
    let patch = patch(fields, if_revision)?;
    let tunnel = api.store.update_tunnel(id, patch, &api.tunnels.ground()).await?;
    settle(&api, &tunnel.gateway).await;
    Ok(answer(api.store.tunnel(id).await?))
}

/// Removes an operator's tunnel. 204 means that its port is closed, 202 that it may not be yet.
#[utoipa::path(delete, path = "/v1/tunnels/{id}", tag = "tunnels",
    params(("id" = TunnelId, Path), IfMatchHeader),
    responses((status = 204), (status = 202, body = Removing)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelId>,
    Meant(if_revision): Meant,
) -> Result<Response, Error> {
    let gateway = api.store.remove_tunnel(id, if_revision).await?;
    Ok(removal::answer(settle(&api, &gateway).await))
}

/// Closes a tunnel, with all that is on it. An operator's is switched off and stays; what a client asked
/// for is gone, and the answer is what it was.
#[utoipa::path(post, path = "/v1/tunnels/{id}/close", tag = "tunnels", params(("id" = TunnelId, Path)),
    responses((status = 200, body = Tunnel)))]
async fn close(State(api): State<Arc<Api>>, Id(id): Id<TunnelId>) -> Result<Response, Error> {
    let tunnel = api.store.tunnel(id).await?;
    match tunnel.origin {
        Origin::Operator => {
            let tunnel = api.store.close_tunnel(id).await?;
            settle(&api, &tunnel.gateway).await;
            Ok(answer(api.store.tunnel(id).await?))
        }
        Origin::Client => {
            super::tunnel_clients::of_this_gateway(&api, &tunnel.gateway)?;
            api.tunnels.close(id).await?;
            settle(&api, &tunnel.gateway).await;
            Ok(answer(Tunnel { state: TunnelState::Offline, active: 0, ..tunnel }))
        }
    }
}

/// What a client asked for has no revision.
pub(super) fn answer(tunnel: Tunnel) -> Response {
    match tunnel.revision {
        Some(revision) => Tagged(revision, tunnel).into_response(),
        None => Json(tunnel).into_response(),
    }
}

pub(super) fn fresh_code() -> Result<(NewCode, Verification), Error> {
    let code: Secret = random_hex::<16>()?;
    let now = Timestamp::now();
    let expires_at = now.checked_add(VERIFY_WITHIN).unwrap_or(now);
    let (text, hash) = (code.expose().to_owned(), hashed(&code));
    let url = format!("/verify/{text}");
    Ok((NewCode { hash, expires_at }, Verification { code: text, url, expires_at }))
}

/// Without its code.
fn new_tunnel(mut fields: Fields) -> Result<NewTunnel, Error> {
    let client = fields.required("tunnel_client_id", |value| values::uuid(value).map(TunnelClientId));
    let tunnel = tunnel_fields::tunnel(&mut fields);
    let (tunnel_client_id, tunnel_fields::Tunnel { name, enabled, public_port, wish }) =
        fields.finish_with(client.zip(tunnel))?;
    Ok(NewTunnel { tunnel_client_id, name, enabled, verified: true, code: None, public_port, wish })
}

fn patch(mut fields: Fields, if_revision: Option<i64>) -> Result<TunnelPatch, Error> {
    let patch = TunnelPatch {
        name: fields.optional("name", values::name),
        enabled: fields.optional("enabled", values::boolean),
        protocol: fields.optional("protocol", tunnel_fields::protocol),
        public_port: fields.optional("public_port", read::public_port),
        host: fields.nullable("host", read::http_host),
        path: fields.nullable("path", read::path),
        header: fields.nullable("header", read::header),
        local_host: fields.optional("local_host", tunnel_fields::local_host),
        local_port: fields.optional("local_port", values::port),
        bandwidth: fields.nullable("bandwidth", read::bandwidth),
        max_connections: fields.nullable("max_connections", read::count),
        max_per_visitor: fields.nullable("max_per_visitor", read::count),
        requests_per_minute: fields.nullable("requests_per_minute", read::count),
        visitor_allow: fields.optional("visitor_allow", read::nets),
        basic_auth: fields.optional("basic_auth", read::logins),
        compression: fields.optional("compression", values::boolean),
        proxy_protocol: fields.optional("proxy_protocol", values::boolean),
        udp_idle_s: fields.optional("udp_idle_s", read::udp_idle_s),
        verified: None,
        if_revision,
    };
    fields.finish()?;
    Ok(patch)
}
