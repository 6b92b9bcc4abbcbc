//! How the service itself is, and who is asking.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::{Caller, Rights};
use crate::engine::Readiness;
use crate::store::Role;

/// How long one look at what is needed serves everybody who asks.
const FRESH: Duration = Duration::from_secs(1);

/// The last look. It takes the database's write lock, and nobody needs a token to ask for it: so
/// there is one at a time, and whoever comes meanwhile waits for what it finds.
#[derive(Default)]
pub struct LastLook(Mutex<Option<(Instant, Ready)>>);

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(me))
}

/// What needs no token: it tells no secret, and those who ask have none.
pub(super) fn open_router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(healthz)).routes(routes!(readyz)).routes(routes!(version))
}

#[derive(Serialize, utoipa::ToSchema)]
struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

#[derive(Clone, Serialize, utoipa::ToSchema)]
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

#[derive(Serialize, utoipa::ToSchema)]
struct Me {
    name: String,
    role: Role,
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
    let ready = api.last_look.share(&api).await;
    let status = if ready.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(ready))
}

impl LastLook {
    async fn share(&self, api: &Api) -> Ready {
        let mut last = self.0.lock().await;
        if let Some((_, ready)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return ready.clone();
        }
        let ready = look(api).await;
        *last = Some((Instant::now(), ready.clone()));
        ready
    }
}

async fn look(api: &Api) -> Ready {
    let (database, mut checks) = tokio::join!(api.store.ping(), api.engine.readiness());
    let database = match database {
        Ok(()) => Readiness { name: "database", ok: true, detail: "it can be read and written".to_owned() },
        Err(error) => Readiness { name: "database", ok: false, detail: error.to_string() },
    };
    checks.insert(0, database);
    Ready { ready: checks.iter().all(|check| check.ok), checks }
}

#[utoipa::path(get, path = "/version", tag = "service", security(()), responses((status = 200, body = Version)))]
async fn version() -> Json<Version> {
    Json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

/// Whose token this is.
#[utoipa::path(get, path = "/v1/me", tag = "service", responses((status = 200, body = Me)))]
async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    let role = match caller.rights {
        Rights::Of(role) => role,
        Rights::Agent => Role::Viewer,
    };
    Json(Me { name: caller.name, role })
}
