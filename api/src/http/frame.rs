//! What holds for every call: an id, one line in the log, a bound on its time, and an answer in
//! the one shape even where a handler, or axum itself, could not give one.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use uuid::Uuid;

use super::auth::Caller;
use super::error::Error;
use crate::store::By;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 64;
/// Longer than the slowest honest call, a DELETE that waits for many forwarders.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// In an answer: what its line in the log has to say besides, as no line tells a query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remark(pub(super) &'static str);

pub(super) async fn around(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", id);
    async move {
        let start = Instant::now();
        let mut response = next.run(request).await;
        if let Some(error) = failure(&mut response) {
            response = problem(&error, &id, response);
        }
        let By(who) = response.extensions().get::<Caller>().map(Caller::by).unwrap_or_default();
        let who = who.as_deref().unwrap_or("-");
        let remark = response.extensions().get::<Remark>().map(|remark| remark.0);
        let (status, took) = (response.status().as_u16(), start.elapsed());
        tracing::info!(%method, path, status, ms = took.as_millis(), who, remark, "answered");
        dress(&mut response, &path, &id);
        response
    }
    .instrument(span)
    .await
}

/// The caller's own id, if it is fit for a log.
fn request_id(headers: &HeaderMap) -> String {
    let fit = |id: &&str| {
        (1..=LONGEST_REQUEST_ID).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(fit);
    given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Why this answer is an error, if it is one.
fn failure(response: &mut Response) -> Option<Arc<Error>> {
    if let Some(ours) = response.extensions_mut().remove::<Arc<Error>>() {
        return Some(ours);
    }
    let is_json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    match response.status() {
        // `/readyz` says 503 in a body of its own.
        _ if is_json => None,
        StatusCode::NOT_FOUND => Some(Arc::new(Error::NoSuchPath)),
        StatusCode::METHOD_NOT_ALLOWED => Some(Arc::new(Error::MethodNotAllowed)),
        status if status.is_client_error() || status.is_server_error() => {
            Some(Arc::new(Error::Foreign(status)))
        }
        _ => None,
    }
}

/// Keeps what else the answer says, such as Allow.
fn problem(error: &Error, id: &str, old: Response) -> Response {
    let problem = error.problem();
    if problem.status >= 500 {
        tracing::error!(error = error.chain(), "a call failed");
    }
    let problem = super::error::Problem { request_id: Some(id.to_owned()), ..problem };
    let (mut parts, _body) = old.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let (shape, body) = Json(problem).into_response().into_parts();
    parts.headers.extend(shape.headers);
    let kind = HeaderValue::from_static("application/problem+json");
    parts.headers.insert(header::CONTENT_TYPE, kind);
    if parts.status == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        parts.headers.entry(header::WWW_AUTHENTICATE).or_insert(bearer);
    }
    Response::from_parts(parts, body)
}

fn dress(response: &mut Response, path: &str, id: &str) {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if !path.starts_with("/docs") {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
}

pub(super) async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Error::Timeout.into_response(),
    }
}

/// A write that has begun is finished, and its clients woken, even when the caller hangs up:
/// axum drops the future of a call whose connection is gone.
pub(super) async fn finish_writes(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    // A new task works for nobody until it is told.
    let by = request.extensions().get::<Caller>().map(Caller::by).unwrap_or_default();
    match tokio::spawn(by.during(next.run(request)).in_current_span()).await {
        Ok(response) => response,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(payload) => panicked(payload),
            Err(_runtime_stops) => Error::Timeout.into_response(),
        },
    }
}

pub(super) fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let words = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let words = words.or_else(|| payload.downcast_ref::<String>().cloned());
    Error::Panic(words.unwrap_or_else(|| "it said nothing".to_owned())).into_response()
}
