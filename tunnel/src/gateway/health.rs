//! `GET /healthz`: everybody may know that it runs; who shows the gateway's internal token also hears
//! which clients are there. The token's file is not this program's to read: the API tells its hash.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::routing::get;
use axum::{Json, Router};
use pgw_core::redact::Secret;
use serde::Serialize;

use super::Gateway;
use crate::secret;

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

pub(super) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/healthz", get(healthz)).with_state(gateway)
}

async fn healthz(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Json<Health> {
    let status = gateway.status();
    let clients = gateway.may_know(&headers).then(|| {
        let client = |client: pgw_core::tunnel::ClientStatus| Client {
            name: client.name,
            status: if client.session.is_some() { "connected" } else { "disconnected" },
        };
        status.clients.into_iter().map(client).collect()
    });
    let words = if status.draining { "draining" } else { "ok" };
    Json(Health { status: words, version: env!("CARGO_PKG_VERSION"), clients })
}

impl Gateway {
    fn may_know(&self, headers: &HeaderMap) -> bool {
        let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let said = said.and_then(|said| said.split_once(' '));
        let said = said.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let known = self.house().desired.health_token.clone();
        said.zip(known).is_some_and(|((_, token), hash)| secret::is(&Secret::new(token.trim()), &hash))
    }
}
