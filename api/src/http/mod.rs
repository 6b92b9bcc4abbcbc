//! The REST API: reads a call, asks the store or the engine, answers.

mod access;
mod apply;
pub mod attempts;
pub mod auth;
mod bounds;
mod clients;
mod conditional;
mod connections;
mod cookie;
mod document;
pub mod doors;
mod enrolment;
mod error;
mod events;
mod explain;
mod export;
mod fields;
mod frame;
mod gateways;
mod idempotency;
mod import;
mod input;
mod journal;
mod login;
mod mappings;
mod me;
mod media;
mod metrics;
mod narrow;
mod openapi;
mod problem;
mod proxies;
mod removal;
mod service;
mod sessions;
mod sort;
mod strict_json;
mod suggest;
mod telemetry;
#[cfg(test)]
mod tests;
mod tokens;
mod tunnel_clients;
mod tunnel_fields;
mod tunnel_stats;
mod tunnel_values;
mod tunnels;
mod unasked;
mod users;
mod values;
mod verify;
mod webhooks;
mod ws;

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::IntoResponse;
use axum::{Json, Router};
use pgw_core::ports::PortRange;
use serde::Serialize;
use tokio::sync::Notify;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;

use crate::engine::Engine;
use crate::events::Bus;
use crate::own::OwnAddresses;
use crate::shared::Shared;
use crate::store::{ListQuery, Page, Store};
use crate::telemetry::watch::Watch;
use crate::tunnels::Link;
use crate::webhooks::Webhooks;
use auth::Auth;
use doors::Doors;
use error::Error;
use sort::Listed;
use unasked::Bare;

pub struct Api {
    pub store: Arc<dyn Store>,
    pub engine: Arc<dyn Engine>,
    pub watch: Arc<Watch>,
    pub bus: Arc<Bus>,
    pub webhooks: Arc<Webhooks>,
    pub tunnels: Arc<Link>,
    pub auth: Auth,
    pub doors: Doors,
    pub ports: PortRange,
    /// Asks which addresses are of this machine itself, which may be others from one day to the next.
    pub own: fn() -> OwnAddresses,
    /// Told when somebody applied something that has to be confirmed, or confirmed it.
    pub deadlines: Arc<Notify>,
    /// Why the database cannot be used, if it cannot.
    pub database: Shared<Result<(), String>>,
}

/// One page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct List<T> {
    items: Vec<T>,
    /// Give it as ?cursor= to get the next page; null on the last.
    next_cursor: Option<String>,
}

pub fn router(api: Arc<Api>) -> Router {
    let guarded = without_idle_queries(guarded())
        .route_layer(middleware::from_fn_with_state(api.clone(), idempotency::once))
        .route_layer(middleware::from_fn(frame::finish_writes))
        .route_layer(middleware::from_fn_with_state(api.clone(), auth::require));
    let open = without_idle_queries(open())
        .route_layer(middleware::from_fn(frame::finish_writes))
        // Whoever watches adds what he likes to the address.
        .merge(service::open_router());
    let (router, document) =
        OpenApiRouter::with_openapi(openapi::document()).merge(guarded).merge(open).split_for_parts();
    // The last layer is the outermost: every answer, also of those before it, goes through `around`.
    router
        .merge(
            openapi::router(document)
                .route_layer(middleware::from_fn_with_state(api.clone(), auth::require_of_browser)),
        )
        .fallback(|| async { Error::NoSuchPath })
        .layer(middleware::from_fn(bounds::bound))
        .layer(middleware::from_fn(frame::time_limit))
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(middleware::from_fn_with_state(api.clone(), doors::known_host))
        .layer(middleware::from_fn(frame::around))
        .layer(middleware::from_fn_with_state(api.clone(), metrics::count))
        .with_state(api)
}

/// What needs a token or a session.
fn guarded() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(proxies::router())
        .merge(clients::router())
        .merge(mappings::router())
        .merge(gateways::router())
        .merge(telemetry::router())
        .merge(connections::router())
        .merge(metrics::router())
        .merge(explain::router())
        .merge(import::router())
        .merge(export::router())
        .merge(apply::router())
        .merge(events::router())
        .merge(ws::router())
        .merge(journal::router())
        .merge(webhooks::router())
        .merge(tunnel_clients::router())
        .merge(tunnels::router())
        .merge(tunnel_stats::router())
        .merge(enrolment::router())
        .merge(verify::router())
        .merge(tokens::router())
        .merge(users::router())
        .merge(login::router())
        .merge(me::router())
}

/// What needs neither, beside the service's own word of how it is.
fn open() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().merge(login::open_router()).merge(verify::open_router())
}

fn without_idle_queries(mut calls: OpenApiRouter<Arc<Api>>) -> OpenApiRouter<Arc<Api>> {
    let bare = Bare::of(calls.get_openapi_mut());
    calls.route_layer(middleware::from_fn_with_state(bare, unasked::refuse_queries))
}

impl<T> List<T> {
    fn of(page: Page<T>, query: &ListQuery, listed: &Listed) -> Self {
        let next_cursor = page.next.map(|cursor| listed.written(query.sort, &cursor));
        Self { items: page.items, next_cursor }
    }
}

/// 201, with the address of what was made.
fn created(location: String, made: impl Serialize) -> impl IntoResponse {
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(made))
}
