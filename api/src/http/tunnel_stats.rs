//! What a tunnel has carried, and who is on it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use pgw_core::ids::TunnelId;
use pgw_core::tunnel::VisitorRow;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Error;
use super::input::{Id, Params};
use super::tunnel_clients::{SESSIONS, sessions_query};
use super::{Api, List};
use crate::store::TunnelSession;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(stats)).routes(routes!(sessions))
}

#[derive(Serialize, utoipa::ToSchema)]
struct TunnelStats {
    /// From visitors, since the tunnel was made.
    bytes_in: u64,
    /// To visitors.
    bytes_out: u64,
    connections: u64,
    active: u32,
    /// Those that are there now, a thousand at the most; none while the tunnel daemon does not answer.
    visitors: Vec<Visitor>,
}

/// One address, or one /64 of IPv6.
#[derive(Serialize, utoipa::ToSchema)]
struct Visitor {
    address: String,
    connections: u32,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    since: Timestamp,
    bytes_in: u64,
    bytes_out: u64,
}

impl From<VisitorRow> for Visitor {
    fn from(row: VisitorRow) -> Self {
        let now = Timestamp::now();
        let age = SignedDuration::from_millis(i64::try_from(row.since_ms).unwrap_or(i64::MAX));
        Self {
            address: row.address.to_string(),
            connections: row.connections,
            since: now.checked_sub(age).unwrap_or(now),
            bytes_in: row.bytes_in,
            bytes_out: row.bytes_out,
        }
    }
}

/// What a tunnel has carried, and who is on it now.
#[utoipa::path(get, path = "/v1/tunnels/{id}/stats", tag = "tunnels", params(("id" = TunnelId, Path)),
    responses((status = 200, body = TunnelStats)))]
async fn stats(State(api): State<Arc<Api>>, Id(id): Id<TunnelId>) -> Result<Json<TunnelStats>, Error> {
    let mut tunnel = api.store.tunnel(id).await?;
    let mut visitors = Vec::new();
    if tunnel.gateway == api.store.gateway() {
        // Up to now, and not up to the last look.
        api.tunnels.settle().await;
        tunnel = api.store.tunnel(id).await?;
        visitors = api.tunnels.visitors(id).await.unwrap_or_default();
    }
    let visitors = visitors.into_iter().map(Visitor::from).collect();
    let (bytes_in, bytes_out) = (tunnel.bytes_in, tunnel.bytes_out);
    Ok(Json(TunnelStats {
        bytes_in,
        bytes_out,
        connections: tunnel.connections,
        active: tunnel.active,
        visitors,
    }))
}

/// Its client's stays since it was made, newest first.
#[utoipa::path(get, path = "/v1/tunnels/{id}/sessions", tag = "tunnels",
    params(("id" = TunnelId, Path),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = List<TunnelSession>)))]
async fn sessions(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelId>,
    Params(mut fields): Params,
) -> Result<Json<List<TunnelSession>>, Error> {
    let query = sessions_query(&mut fields);
    fields.finish()?;
    let tunnel = api.store.tunnel(id).await?;
    let since = Some(tunnel.created_at);
    let page = api.store.tunnel_sessions(tunnel.tunnel_client_id, since, &query).await?;
    Ok(Json(List::of(page, &query, &SESSIONS)))
}
