//! How the service itself is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use crate::engine::Readiness;

/// What needs no token: it tells no secret, and those who ask have none.
pub(super) fn open_router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(version))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Ready {
    ready: bool,
    /// What the service needs in order to do its work.
    checks: Vec<Readiness>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct Version {
    #[schema(example = "pgw-api")]
    name: &'static str,
    version: &'static str,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "service", security(()), responses((status = 200, body = Alive)))]
async fn healthz() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Can it do its work? If not, what is missing?
#[utoipa::path(get, path = "/readyz", tag = "service", security(()),
    responses((status = 200, body = Ready), (status = 503, body = Ready)))]
async fn readyz(State(api): State<Arc<Api>>) -> (StatusCode, Json<Ready>) {
    // It takes the write lock, and nobody needs a token to ask.
    let database = api.database.get(async { api.store.ping().await.map_err(|error| error.to_string()) });
    let (database, mut checks) = tokio::join!(database, api.engine.readiness());
    let database = match database {
        Ok(()) => Readiness { name: "database", ok: true, detail: "it can be read and written".to_owned() },
        Err(error) => Readiness { name: "database", ok: false, detail: error },
    };
    checks.insert(0, database);
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Ready { ready, checks }))
}

#[utoipa::path(get, path = "/version", tag = "service", security(()), responses((status = 200, body = Version)))]
async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}
