//! `GET /healthz`: everybody may know that it runs; who shows the gateway's internal token also hears
//! which clients are there.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use subtle::ConstantTimeEq as _;

use super::Gateway;

#[derive(Clone)]
struct Desk {
    gateway: Arc<Gateway>,
    token: PathBuf,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Vec<Client>>,
}

#[derive(Serialize)]
struct Client {
    name: String,
    status: &'static str,
}

pub(super) fn router(gateway: Arc<Gateway>, state_dir: &std::path::Path) -> Router {
    let token = state_dir.join("internal.token");
    Router::new().route("/healthz", get(healthz)).with_state(Desk { gateway, token })
}

async fn healthz(State(desk): State<Desk>, headers: HeaderMap) -> Json<Health> {
    let status = desk.gateway.status();
    let clients = desk.knows(&headers).then(|| {
        let client = |client: pgw_core::tunnel::ClientStatus| Client {
            name: client.name,
            status: if client.session.is_some() { "connected" } else { "disconnected" },
        };
        status.clients.into_iter().map(client).collect()
    });
    let words = if status.draining { "draining" } else { "ok" };
    Json(Health { status: words, version: env!("CARGO_PKG_VERSION"), clients })
}

impl Desk {
    /// The file is the API's, and may be there later than this program.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(said) = said.and_then(|said| said.strip_prefix("Bearer ")) else { return false };
        let Ok(token) = std::fs::read_to_string(&self.token) else { return false };
        let token = token.trim();
        !token.is_empty() && bool::from(said.as_bytes().ct_eq(token.as_bytes()))
    }
}
