//! What a visitor sees when there is nothing to be shown.

use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};

pub(super) fn page(status: StatusCode) -> Response<Bytes> {
    let words = match status {
        StatusCode::NOT_FOUND => "There is nothing at this address.",
        StatusCode::SERVICE_UNAVAILABLE => {
            "What is behind this address is not connected, or busy. Try again in a while."
        }
        StatusCode::BAD_GATEWAY => {
            "The machine behind this address is connected, but its server does not answer."
        }
        StatusCode::GATEWAY_TIMEOUT => "The server behind this address did not answer in time.",
        StatusCode::TOO_MANY_REQUESTS => "There were too many requests from you within a minute.",
        StatusCode::METHOD_NOT_ALLOWED => "This can only be downloaded.",
        StatusCode::FORBIDDEN => "This address is not open to you.",
        StatusCode::UNAUTHORIZED => "This address asks for a name and a password.",
        _ => "This request was not understood.",
    };
    let title = status.canonical_reason().unwrap_or("Error");
    let text = format!(
        "<!doctype html><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>body{{font:1.1em system-ui;max-width:32em;margin:20vh auto;padding:0 1em}}</style>\
         <h1>{title}</h1><p>{words}</p>\n"
    );
    let mut answer = Response::new(Bytes::from(text));
    *answer.status_mut() = status;
    let fields = answer.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        fields.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
    }
    answer
}
