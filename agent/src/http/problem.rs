//! What went wrong with a call, as `application/problem+json` (RFC 9457).

use std::borrow::Cow;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::auth::Refusal;
use crate::api::ApiError;
use crate::drill::GroundError;
use crate::nft::kernel::KernelError;
use crate::reconcile::ReconcileError;
use crate::wake::Stopping;

#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// Stable: for programs.
    code: &'static str,
    detail: Cow<'static, str>,
}

impl Problem {
    pub(super) const NOT_FOUND: Self = Self {
        status: StatusCode::NOT_FOUND,
        code: "not_found",
        detail: Cow::Borrowed("there is nothing at this path"),
    };
    pub(super) const METHOD_NOT_ALLOWED: Self = Self {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "method_not_allowed",
        detail: Cow::Borrowed("the path does not take this method"),
    };

    pub(super) fn no_neighbours(error: &std::io::Error) -> Self {
        let detail = format!("the neighbours on PGW_LAN_IF cannot be read: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "neighbours_unreadable", detail)
    }

    pub(super) fn not_understood(rejection: &QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "validation_failed", rejection.body_text())
    }

    fn new(status: StatusCode, code: &'static str, detail: impl ToString) -> Self {
        Self { status, code, detail: detail.to_string().into() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Unknown => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Refusal::Needs(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Refusal::Foreign => (StatusCode::FORBIDDEN, "foreign_origin"),
            Refusal::CannotTell(_) => (StatusCode::SERVICE_UNAVAILABLE, "api_unreachable"),
        };
        Self::new(status, code, refusal)
    }
}

impl From<&ReconcileError> for Problem {
    fn from(error: &ReconcileError) -> Self {
        let (status, code) = match error {
            ReconcileError::Api(ApiError::NoToken { .. } | ApiError::Unreachable { .. }) => {
                (StatusCode::SERVICE_UNAVAILABLE, "api_unreachable")
            }
            ReconcileError::Api(ApiError::Refused { .. } | ApiError::Nonsense { .. }) => {
                (StatusCode::BAD_GATEWAY, "api_answer_unusable")
            }
            ReconcileError::Contradiction(_) | ReconcileError::Plan(_) => {
                (StatusCode::BAD_GATEWAY, "active_set_refused")
            }
            ReconcileError::OtherDatabase { .. } | ReconcileError::DatabaseUnknown(_) => {
                (StatusCode::CONFLICT, "other_database")
            }
            ReconcileError::NotConfirmed => (StatusCode::INTERNAL_SERVER_ERROR, "not_confirmed"),
            ReconcileError::Kernel(error) => return Self::from(error),
        };
        Self::new(status, code, error)
    }
}

impl From<&KernelError> for Problem {
    fn from(error: &KernelError) -> Self {
        let code = match error {
            KernelError::NotInstalled => "nft_not_installed",
            KernelError::NotPermitted => "nft_not_permitted",
            KernelError::Start(_)
            | KernelError::Refused(_)
            | KernelError::Killed(_)
            | KernelError::Stuck
            | KernelError::TooLarge
            | KernelError::Unreadable(_) => "nft_failed",
        };
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, error)
    }
}

impl From<GroundError> for Problem {
    fn from(not_begun: GroundError) -> Self {
        Self::new(StatusCode::CONFLICT, "drill_not_begun", not_begun)
    }
}

impl From<Stopping> for Problem {
    fn from(Stopping: Stopping) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "pgw-agent is stopping; the rules stay in place",
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pgw\""));
        }
        response
    }
}
