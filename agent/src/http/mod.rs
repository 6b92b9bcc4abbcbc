//! The agent's HTTP: a POST that wakes, one that tries the doors, and GETs that tell.

mod auth;
mod problem;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use pgw_core::news::News;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::drill::Keeper;
use crate::neighbours::Neighbours;
use crate::nft::kernel::Kernel;
use crate::reconcile::Status;
use crate::wake::Wake;

pub use auth::Auth;
use problem::Problem;

pub struct Agent {
    pub auth: Auth,
    pub wake: Wake,
    pub status: Status,
    pub kernel: Arc<dyn Kernel>,
    pub drill: Arc<Keeper>,
    pub neighbours: Arc<dyn Neighbours>,
}

/// Less than pgw-ui waits for an answer.
const LONGEST_WAIT: Duration = Duration::from_secs(25);

#[derive(Deserialize)]
struct Asked {
    run: Option<Uuid>,
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

pub fn router(agent: Arc<Agent>) -> Router {
    let guarded = Router::new()
        .route("/agent/reconcile", post(reconcile))
        .route("/agent/drill", post(drill))
        .route("/agent/status", get(status))
        .route("/agent/events", get(events))
        .route("/agent/ruleset", get(ruleset))
        .route("/agent/neighbours", get(neighbours))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn_with_state(agent.clone(), guard));
    Router::new()
        .route("/healthz", get(healthz))
        // And where pgw-ui reaches it.
        .route("/agent/healthz", get(healthz))
        .method_not_allowed_fallback(method_not_allowed)
        .merge(guarded)
        .fallback(not_found)
        .with_state(agent)
}

async fn guard(State(agent): State<Arc<Agent>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    match agent.auth.admit(request.headers(), request.method(), path).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => Problem::from(refusal).into_response(),
    }
}

async fn reconcile(State(agent): State<Arc<Agent>>) -> Response {
    match agent.wake.reconcile().await {
        Ok(outcome) => match outcome.as_ref() {
            Ok(report) => Json(report).into_response(),
            Err(error) => Problem::from(error).into_response(),
        },
        Err(stopping) => Problem::from(stopping).into_response(),
    }
}

/// A caller who goes away ends it, and what was laid for it is taken away.
async fn drill(State(agent): State<Arc<Agent>>) -> Response {
    match agent.drill.drill().await {
        Ok(drill) => Json(drill).into_response(),
        Err(under_way) => Problem::from(under_way).into_response(),
    }
}

async fn status(State(agent): State<Arc<Agent>>) -> Response {
    Json(agent.status.now()).into_response()
}

/// What happened after `after` in the run `run`; without anything, it waits as many seconds.
async fn events(
    State(agent): State<Arc<Agent>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<News>, Problem> {
    let Query(Asked { run, after, wait }) = asked.map_err(|rejection| Problem::not_understood(&rejection))?;
    let wait = Duration::from_secs(wait).min(LONGEST_WAIT);
    Ok(Json(agent.status.chronicle().after(run, after, wait).await))
}

async fn ruleset(State(agent): State<Arc<Agent>>) -> Result<String, Problem> {
    agent.kernel.text().await.map_err(|error| Problem::from(&error))
}

async fn neighbours(State(agent): State<Arc<Agent>>) -> Result<Json<Value>, Problem> {
    let items = agent.neighbours.list().await.map_err(|error| Problem::no_neighbours(&error))?;
    Ok(Json(json!({ "items": items })))
}

async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn not_found() -> Problem {
    Problem::NOT_FOUND
}

async fn method_not_allowed() -> Problem {
    Problem::METHOD_NOT_ALLOWED
}

#[cfg(test)]
mod tests;
