//! How large a body may be: a megabyte, but for what is sent as a whole. Decided before anybody
//! reads it, whoever that is.

use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;

use super::document::LARGEST_DOCUMENT;
use super::import::LARGEST_LIST;

const LARGEST_BODY: usize = 1024 * 1024;

pub(super) async fn bound(mut request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let largest = match path {
        "/v1/apply" => LARGEST_DOCUMENT,
        "/v1/proxies/import" => LARGEST_LIST,
        _ => LARGEST_BODY,
    };
    DefaultBodyLimit::max(largest).apply(&mut request);
    next.run(request).await
}
