//! What can go wrong with a call, and how it is said: one match, one shape (RFC 9457).

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::credentials::RandomError;
use crate::health::checks::NotChecked;
use crate::store::{Conflict, StoreError};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the request was not understood")]
    Validation(Vec<FieldError>),
    #[error("the body is not JSON")]
    MalformedJson(#[source] serde_json::Error),
    /// What is wrong, and where; never the text itself.
    #[error("{0}")]
    MalformedYaml(String),
    #[error("the body could not be read to its end")]
    BrokenBody(#[source] axum::Error),
    #[error("the body is larger than this call takes")]
    TooLarge,
    /// What it should be.
    #[error("send the body as Content-Type: {0}")]
    UnsupportedMedia(&'static str),
    #[error("nobody was recognised")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("there is nothing at this path")]
    NoSuchPath,
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("the path does not take this method")]
    MethodNotAllowed,
    #[error("the call took too long")]
    Timeout,
    #[error(transparent)]
    Store(StoreError),
    /// A health check that was asked for could not be made.
    #[error(transparent)]
    NotChecked(NotChecked),
    #[error(transparent)]
    Random(#[from] RandomError),
    #[error("the answer cannot be written: {0}")]
    Unwritable(String),
    #[error("a handler panicked: {0}")]
    Panic(String),
    /// An error answer that none of our handlers made.
    #[error("{0}")]
    Foreign(StatusCode),
}

/// What is wrong with one field of a body, or with one query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub(super) struct FieldError {
    /// A JSON pointer into the body; a query parameter is told as if it were a field.
    #[schema(example = "/name")]
    pub(super) pointer: String,
    pub(super) detail: String,
}

/// Every error's body, as `application/problem+json`.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    pub(super) status: u16,
    /// What happened, and what can be done about it.
    pub(super) detail: String,
    /// Stable: for programs.
    #[schema(example = "validation_failed")]
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<FieldError>,
    /// Also in the header x-request-id and in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
}

impl FieldError {
    pub(super) fn new(field: &str, detail: impl Into<String>) -> Self {
        let escaped = field.replace('~', "~0").replace('/', "~1");
        Self { pointer: format!("/{escaped}"), detail: detail.into() }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(what) => Self::NotFound(what),
            StoreError::Conflict(Conflict::Missing(what)) => {
                let detail = Conflict::Missing(what).to_string();
                Self::Validation(vec![FieldError::new(&format!("{what}_id"), detail)])
            }
            StoreError::Conflict(Conflict::PasswordAlone) => {
                Self::Validation(vec![FieldError::new("password", Conflict::PasswordAlone.to_string())])
            }
            other => Self::Store(other),
        }
    }
}

impl From<NotChecked> for Error {
    fn from(error: NotChecked) -> Self {
        match error {
            NotChecked::NoSuchProxy => Self::NotFound("proxy"),
            NotChecked::Gateway(_) => Self::NotChecked(error),
        }
    }
}

impl Error {
    /// For the log: with all that lies behind it.
    pub(super) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let words = error.to_string();
            if !text.ends_with(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            cause = error.source();
        }
        text
    }

    pub(super) fn problem(&self) -> Problem {
        use StatusCode as S;
        let (status, code, detail) = match self {
            Self::Validation(errors) => (S::BAD_REQUEST, "validation_failed", summary(errors)),
            Self::MalformedJson(error) => {
                // Where, but not what: serde may quote the text, and the text may be a password.
                let place = format!("the body is not JSON: see line {}, column {}", error.line(), error.column());
                (S::BAD_REQUEST, "malformed_json", place)
            }
            Self::MalformedYaml(_) => (S::BAD_REQUEST, "malformed_yaml", self.to_string()),
            Self::BrokenBody(_) => (S::BAD_REQUEST, "malformed_json", self.to_string()),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large", self.to_string()),
            Self::UnsupportedMedia(_) => {
                (S::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", self.to_string())
            }
            Self::Unauthorized => (
                S::UNAUTHORIZED,
                "unauthorized",
                "send a valid token as Authorization: Bearer <token>; the first admin's is in admin.token in PGW_STATE_DIR"
                    .to_owned(),
            ),
            Self::Forbidden(_) => (S::FORBIDDEN, "forbidden", self.to_string()),
            Self::NoSuchPath | Self::NotFound(_) => (S::NOT_FOUND, "not_found", self.to_string()),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the path does not take this method; Allow tells which it takes".to_owned(),
            ),
            Self::Timeout => (
                S::SERVICE_UNAVAILABLE,
                "timeout",
                "the call took too long; a write that had begun goes on, so look before you repeat it".to_owned(),
            ),
            Self::Store(StoreError::Conflict(conflict)) => (S::CONFLICT, conflict_code(conflict), conflict.to_string()),
            Self::Store(StoreError::NotFound(what)) => {
                (S::NOT_FOUND, "not_found", format!("there is no such {what}"))
            }
            Self::Store(StoreError::Unavailable { .. }) => {
                (S::SERVICE_UNAVAILABLE, "database_unavailable", self.to_string())
            }
            Self::NotChecked(_) => (S::SERVICE_UNAVAILABLE, "check_impossible", self.to_string()),
            Self::Store(StoreError::Sealed { .. }) => (S::INTERNAL_SERVER_ERROR, "internal", self.to_string()),
            Self::Store(StoreError::Database(_)) | Self::Random(_) | Self::Unwritable(_) | Self::Panic(_) => {
                (S::INTERNAL_SERVER_ERROR, "internal", INTERNAL.to_owned())
            }
            Self::Foreign(status) if status.is_client_error() => {
                (*status, "request_refused", "the request was refused".to_owned())
            }
            Self::Foreign(status) => (*status, "internal", INTERNAL.to_owned()),
        };
        let errors = match self {
            Self::Validation(errors) => errors.clone(),
            Self::Store(StoreError::Conflict(conflict)) => conflict_field(conflict),
            _ => Vec::new(),
        };
        let title = status.canonical_reason().unwrap_or("Error");
        Problem {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            detail,
            code,
            errors,
            request_id: None,
        }
    }
}

const INTERNAL: &str = "pgw-api failed; its log tells more under this request_id";

fn summary(errors: &[FieldError]) -> String {
    match errors {
        [FieldError { pointer, detail }] => format!("{}: {detail}", pointer.trim_start_matches('/')),
        several => format!("{} things are wrong with the request; see errors", several.len()),
    }
}

fn conflict_code(conflict: &Conflict) -> &'static str {
    match conflict {
        Conflict::NameTaken(_) => "name_taken",
        Conflict::AddressTaken => "address_taken",
        Conflict::PairTaken => "pair_taken",
        Conflict::PortsExhausted { .. } => "ports_exhausted",
        Conflict::InUse { .. } => "in_use",
        Conflict::ApplyPending { .. } => "apply_pending",
        Conflict::RolledBack => "rolled_back",
        Conflict::Missing(_) | Conflict::PasswordAlone => "validation_failed",
    }
}

/// Forms can put the message where it belongs.
fn conflict_field(conflict: &Conflict) -> Vec<FieldError> {
    let field = match conflict {
        Conflict::NameTaken(_) => "name",
        Conflict::AddressTaken => "ip_cidr",
        Conflict::PairTaken => "proxy_id",
        Conflict::PortsExhausted { .. }
        | Conflict::InUse { .. }
        | Conflict::ApplyPending { .. }
        | Conflict::RolledBack
        | Conflict::Missing(_)
        | Conflict::PasswordAlone => return Vec::new(),
    };
    vec![FieldError::new(field, conflict.to_string())]
}

/// The body is written by the outermost layer, which knows the request's id.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::from_u16(self.problem().status).unwrap_or_default();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
