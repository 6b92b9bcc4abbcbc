//! Two who change the same thing: `ETag` tells what somebody has seen, `If-Match` that it is what
//! they mean to change.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pgw_core::settings::IfMatch;
use serde::Serialize;

use super::Api;
use super::error::{Error, FieldError};

/// The revision that is meant, if one is: `If-Match: "7"`. With `*` any that is there.
pub(super) struct Meant(pub(super) Option<i64>);

/// As it is now, and under which ETag.
pub(super) struct Tagged<T>(pub(super) i64, pub(super) T);

impl FromRequestParts<Arc<Api>> for Meant {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Error> {
        match (meant(&parts.headers)?, api.doors.if_match) {
            (None, IfMatch::Required) => Err(Error::PreconditionRequired),
            (given, _) => Ok(Self(given.flatten())),
        }
    }
}

/// `Some(None)` is `*`. A tag that is none of ours is of no revision, so it can match nothing.
fn meant(headers: &HeaderMap) -> Result<Option<Option<i64>>, Error> {
    const OF_NO_REVISION: i64 = 0;
    let mut given = headers.get_all(header::IF_MATCH).iter();
    let (first, another) = (given.next(), given.next());
    let Some(value) = first else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if another.is_some() || text.is_empty() || text.contains(',') {
        let detail = "must be one ETag, such as \"7\", or *";
        return Err(Error::Validation(vec![FieldError::new("If-Match", detail)]));
    }
    if text == "*" {
        return Ok(Some(None));
    }
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let revision = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
    Ok(Some(Some(revision.unwrap_or(OF_NO_REVISION))))
}

pub(super) fn tag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, tag(self.0))], Json(self.1)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tag_is_a_revision_and_what_is_none_of_ours_matches_nothing() {
        for (text, want) in [
            ("\"7\"", Some(Some(Some(7)))),
            (" \"7\" ", Some(Some(Some(7)))),
            ("*", Some(Some(None))),
            ("W/\"7\"", Some(Some(Some(0)))),
            ("7", Some(Some(Some(0)))),
            ("\"seven\"", Some(Some(Some(0)))),
            ("\"-7\"", Some(Some(Some(0)))),
            ("\"99999999999999999999\"", Some(Some(Some(0)))),
            ("\"7\", \"8\"", None),
            ("", None),
        ] {
            let headers = [(header::IF_MATCH, HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(meant(&headers).ok(), want, "{text:?}");
        }
        assert!(matches!(meant(&HeaderMap::new()), Ok(None)));
    }
}
