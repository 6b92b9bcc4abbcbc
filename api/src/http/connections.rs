//! `/v1/connections`: what is open now, and ending it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pgw_core::ids::{ClientId, ProxyId};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::error::Error;
use super::input::Params;
use super::openapi::ListParams;
use super::values;
use crate::telemetry::connections::{Connection, ConnectionId, Wanted};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(close))
}

/// One page of what is open.
#[derive(Serialize, utoipa::ToSchema)]
struct OpenConnections {
    items: Vec<Connection>,
    /// Give it as ?cursor= to get the next page; null on the last. A page may have fewer items than
    /// were asked for, even none, and still not be the last.
    next_cursor: Option<String>,
    /// Ports whose forwarders did not answer; their connections are missing here.
    silent: Vec<u16>,
}

/// The connections that are open through this gateway's forwarders, by port and oldest first. What
/// is open all the time is on exactly one page. ?q= looks for part of a client's name or address,
/// a proxy's name, or the name that was called.
#[utoipa::path(get, path = "/v1/connections", tag = "connections",
    params(
        ListParams,
        ("client_id" = Option<ClientId>, Query),
        ("proxy_id" = Option<ProxyId>, Query),
    ),
    responses((status = 200, body = OpenConnections)))]
async fn list(
    State(api): State<Arc<Api>>,
    Params(mut fields): Params,
) -> Result<Json<OpenConnections>, Error> {
    let after = fields.optional("cursor", |value| {
        ConnectionId::parse(values::text(value)?)
            .ok_or_else(|| "must be next_cursor of another page".to_owned())
    });
    let client = fields.optional("client_id", values::uuid).map(ClientId);
    let proxy = fields.optional("proxy_id", values::uuid).map(ProxyId);
    let q = fields.optional("q", values::search).filter(|q| !q.is_empty());
    let limit = Params::limit(&mut fields);
    fields.finish()?;
    let found = api.watch.connections.list(&Wanted { limit, after, client, proxy, q }).await?;
    Ok(Json(OpenConnections {
        items: found.items,
        next_cursor: found.next.map(|id| id.to_string()),
        silent: found.silent,
    }))
}

/// Ends a connection: both of its ends see it broken off. The device may open another at once.
#[utoipa::path(delete, path = "/v1/connections/{id}", tag = "connections",
    params(("id" = String, Path, example = "15001-123")), responses((status = 204)))]
async fn close(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Result<StatusCode, Error> {
    let id = ConnectionId::parse(&id).filter(|id| api.ports.contains(id.port));
    let id = id.ok_or(Error::NotFound("connection"))?;
    match api.watch.connections.close(id).await {
        Ok(true) => Ok(StatusCode::NO_CONTENT),
        Ok(false) => Err(Error::NotFound("connection")),
        Err(silent) => Err(Error::Forwarder(silent)),
    }
}
