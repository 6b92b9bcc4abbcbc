//! `/v1/proxies`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::ProxyId;
use pgw_core::proxy::{Credentials, Proxy, ProxyAddress, Scheme};
use pgw_core::redact::Secret;
use serde::Deserialize;
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
use crate::converge::Settled;
use crate::store::{ListQuery, NewProxy, ProxyPatch, SortBy};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, remove))
        .routes(routes!(check))
}

/// A proxy by its fields, or by `url`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `new_proxy` reads it and tells every mistake at once")]
struct ProxyCreate {
    /// host:port when it is left out; with a number where another account there is called so.
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    /// Instead of scheme, host, port, username and password.
    #[schema(example = "socks5://user:pass@proxy.example:1080", nullable = false)]
    url: Option<String>,
    #[schema(nullable = false)]
    scheme: Option<Scheme>,
    #[schema(nullable = false)]
    host: Option<String>,
    #[schema(minimum = 1, nullable = false)]
    port: Option<u16>,
    username: Option<String>,
    #[schema(write_only, format = Password)]
    password: Option<String>,
    /// True when it is left out.
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(max_length = 1000, nullable = false)]
    note: Option<String>,
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
}

/// What is left out stays; null clears a user name or password.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `proxy_patch` reads it and tells every mistake at once"
)]
struct ProxyUpdate {
    #[schema(min_length = 1, max_length = 100, nullable = false)]
    name: Option<String>,
    #[schema(nullable = false)]
    scheme: Option<Scheme>,
    #[schema(nullable = false)]
    host: Option<String>,
    #[schema(minimum = 1, nullable = false)]
    port: Option<u16>,
    username: Option<String>,
    #[schema(write_only, format = Password)]
    password: Option<String>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
    #[schema(max_length = 1000, nullable = false)]
    note: Option<String>,
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
}

const LISTED: Listed = Listed {
    name: "proxies",
    sorts: &[SortBy::Name, SortBy::Host, SortBy::Health, SortBy::Latency, SortBy::Created, SortBy::Updated],
};

/// Every proxy, oldest first or by ?sort=name, host, health (the worst first), latency_ms,
/// created_at or updated_at; `-name` the other way round. ?state= is the status of their health.
#[utoipa::path(get, path = "/v1/proxies", tag = "proxies",
    params(ListParams, ("sort" = Option<String>, Query), ("state" = Option<HealthStatus>, Query)),
    responses((status = 200, body = List<Proxy>)))]
async fn list(State(api): State<Arc<Api>>, Params(mut fields): Params) -> Result<Json<List<Proxy>>, Error> {
    let query = ListQuery {
        health: fields.optional("state", values::word("UNKNOWN, OK, DEGRADED, DOWN")),
        ..Params::list(&mut fields, &LISTED)
    };
    fields.finish()?;
    Ok(Json(List::of(api.store.proxies(&query).await?, &query, &LISTED)))
}

/// Adds a proxy, and checks it at once.
#[utoipa::path(post, path = "/v1/proxies", tag = "proxies", request_body = ProxyCreate,
    responses((status = 201, body = Proxy)))]
async fn create(State(api): State<Arc<Api>>, Body(fields): Body) -> Result<impl IntoResponse, Error> {
    let named = fields.has("name");
    let new = new_proxy(fields)?;
    let made = if named { api.store.create_proxy(new) } else { api.store.create_unnamed_proxy(new) };
    let proxy = made.await?;
    api.engine.proxy_changed(proxy.id).await;
    Ok(([(header::ETAG, tag(proxy.revision))], created(format!("/v1/proxies/{}", proxy.id), proxy)))
}

#[utoipa::path(get, path = "/v1/proxies/{id}", tag = "proxies", params(("id" = ProxyId, Path)),
    responses((status = 200, body = Proxy)))]
async fn get(State(api): State<Arc<Api>>, Id(id): Id<ProxyId>) -> Result<Tagged<Proxy>, Error> {
    let proxy = api.store.proxy(id).await?;
    Ok(Tagged(proxy.revision, proxy))
}

/// Changes a proxy; when it is dialled in another way now, its health is unknown again. If it is
/// switched off, the answer waits until its devices are closed, though not for an agent that does
/// not answer: the states of its mappings tell.
#[utoipa::path(patch, path = "/v1/proxies/{id}", tag = "proxies", params(("id" = ProxyId, Path), IfMatchHeader),
    request_body = ProxyUpdate, responses((status = 200, body = Proxy)))]
async fn update(
    State(api): State<Arc<Api>>,
    Id(id): Id<ProxyId>,
    Meant(if_revision): Meant,
    Body(fields): Body,
) -> Result<Tagged<Proxy>, Error> {
    let patch = proxy_patch(&api, id, fields, if_revision).await?;
    let proxy = api.store.update_proxy(id, patch).await?;
    // Unknown also when it was never checked yet: asking for a check once more does no harm.
    if proxy.health.status == HealthStatus::Unknown {
        api.engine.proxy_changed(id).await;
    }
    followed(&api, id).await;
    Ok(Tagged(proxy.revision, proxy))
}

/// Removes a proxy. With ?cascade=true its mappings go too. 204 means that nothing leaves by it
/// any more, 202 that something still may.
#[utoipa::path(delete, path = "/v1/proxies/{id}", tag = "proxies",
    params(("id" = ProxyId, Path), IfMatchHeader, ("cascade" = Option<bool>, Query)), responses((status = 204), (status = 202, body = Removing)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Id(id): Id<ProxyId>,
    Meant(if_revision): Meant,
    params: Params,
) -> Result<Response, Error> {
    let owners = api.store.remove_proxy(id, params.cascade()?, if_revision).await?;
    let settled = join_all(owners.into_iter().map(|owner| removal::settle(&api, owner))).await;
    Ok(removal::answer(settled.into_iter().fold(Settled::Yes, Settled::and)))
}

/// Until the clients of a proxy are what has become of it, or for as long as a caller waits.
async fn followed(api: &Api, id: ProxyId) {
    match api.store.clients_of_proxy(id).await {
        Ok(owners) => {
            join_all(owners.into_iter().map(|owner| removal::settle(api, owner))).await;
        }
        // What has become of it is known; the engine's next round finds it.
        Err(error) => {
            tracing::warn!(proxy = %id, error = %error, "the clients of a proxy cannot be listed")
        }
    }
}

/// Checks a proxy now, and answers with what was found, once its mappings have followed; though not
/// for an agent that does not answer.
#[utoipa::path(post, path = "/v1/proxies/{id}/check", tag = "proxies", params(("id" = ProxyId, Path)),
    responses((status = 200, body = Health)))]
async fn check(State(api): State<Arc<Api>>, Id(id): Id<ProxyId>) -> Result<Json<Health>, Error> {
    api.store.proxy(id).await?;
    let found = api.engine.check_now(id).await?;
    followed(&api, id).await;
    Ok(Json(found))
}

fn new_proxy(mut fields: Fields) -> Result<NewProxy, Error> {
    let name = fields.optional("name", values::name);
    let address = if fields.has("url") { by_url(&mut fields) } else { by_fields(&mut fields) };
    let enabled = fields.optional("enabled", values::boolean);
    let note = fields.optional("note", values::note);
    let labels = values::labels(&mut fields);
    let address = fields.finish_with(address)?;
    Ok(NewProxy {
        enabled: enabled.unwrap_or(true),
        note: note.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        ..NewProxy::at(name.unwrap_or_else(|| address.host_and_port()), address)
    })
}

fn by_url(fields: &mut Fields) -> Option<ProxyAddress> {
    let address = fields.optional("url", url);
    for part in ["scheme", "host", "port", "username", "password"] {
        if fields.has(part) {
            // Taken away, so that it is not told as unknown too.
            let _taken = fields.nullable(part, |_| Ok(()));
            fields.wrong(part, "is part of url; give one or the other");
        }
    }
    address
}

fn url(value: &serde_json::Value) -> Read<ProxyAddress> {
    let url = values::text(value)?;
    if !url.contains("://") {
        return Err("has no scheme; write http://, https:// or socks5:// before it".to_owned());
    }
    ProxyAddress::parse(url, Scheme::Http).map_err(|error| error.to_string())
}

fn by_fields(fields: &mut Fields) -> Option<ProxyAddress> {
    let scheme = fields.required("scheme", values::scheme);
    let host = fields.required("host", values::host);
    let port = fields.required("port", values::port);
    let said = fields.has("username");
    let username = fields.nullable("username", values::username);
    let nameless = !said || matches!(username, Some(None));
    let username = username.flatten();
    let password = fields.nullable("password", values::password).flatten();
    if password.is_some() && nameless {
        fields.wrong("password", "needs a user name");
    }
    values::carried(fields, scheme, username.as_deref(), password.as_ref());
    let password = password.unwrap_or_else(|| Secret::new(""));
    let credentials = username.map(|username| Credentials { username, password });
    Some(ProxyAddress { scheme: scheme?, host: host?, port: port?, credentials })
}

async fn proxy_patch(
    api: &Api,
    id: ProxyId,
    mut fields: Fields,
    if_revision: Option<i64>,
) -> Result<ProxyPatch, Error> {
    let patch = ProxyPatch {
        name: fields.optional("name", values::name),
        scheme: fields.optional("scheme", values::scheme),
        host: fields.optional("host", values::host),
        port: fields.optional("port", values::port),
        username: fields.nullable("username", values::username),
        password: fields.nullable("password", values::password),
        enabled: fields.optional("enabled", values::boolean),
        note: fields.optional("note", values::note),
        labels: values::labels(&mut fields),
        if_revision,
    };
    if patch.scheme.is_some() || patch.username.is_some() || patch.password.is_some() {
        // One of them alone does not tell whether the login can be sent.
        let now = api.store.proxy(id).await?;
        let username = patch.username.clone().unwrap_or(now.username);
        let password = patch.password.clone().flatten();
        let scheme = patch.scheme.unwrap_or(now.scheme);
        values::carried(&mut fields, Some(scheme), username.as_deref(), password.as_ref());
    }
    fields.finish()?;
    Ok(patch)
}
