//! What a DELETE may claim: 204 only when it is gone.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::converge::Settled;

/// A removal that has been written down and is not finished yet.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Removing {
    /// What it waits for.
    #[schema(example = "the removal goes on by itself; what is missing now: the agent does not answer")]
    detail: String,
}

pub(super) fn answer(settled: Settled) -> Response {
    match settled {
        Settled::Yes => StatusCode::NO_CONTENT.into_response(),
        Settled::No(why) => {
            let detail = format!("the removal goes on by itself; what is missing now: {why}");
            (StatusCode::ACCEPTED, Json(Removing { detail })).into_response()
        }
    }
}
