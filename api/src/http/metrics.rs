//! `/metrics`, and the count of calls that is in it.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::error::Error;

/// What every reader of such pages knows.
const FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(metrics))
}

/// For Prometheus, in its text format. A viewer's token will do.
#[utoipa::path(get, path = "/metrics", tag = "service",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn metrics(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, Error> {
    let page = api.watch.metrics().await?;
    Ok(([(header::CONTENT_TYPE, FORMAT)], page))
}

/// Counts a call when its answer begins.
pub(super) async fn count(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("-", MatchedPath::as_str);
    api.watch.counts.call(&method, route, response.status().as_u16(), begun.elapsed());
    response
}
