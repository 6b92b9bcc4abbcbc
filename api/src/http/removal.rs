//! What a DELETE may claim: 204 only when nothing leaves any more by what is gone.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::Api;
use crate::converge::Settled;
use crate::store::Owner;

/// A removal that has been written down and is not finished yet.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Removing {
    /// What it waits for.
    #[schema(
        example = "the removal goes on by itself; what is missing now: pgw-fwd on port 15001 could not be asked"
    )]
    detail: String,
}

/// Waits until a client is what the database says. Another gateway's is that gateway's work, which
/// was told of it with the write itself.
pub(super) async fn settle(api: &Api, owner: Owner) -> Settled {
    if owner.gateway == api.store.gateway() {
        api.engine.settle(owner.client).await
    } else {
        Settled::No(format!("gateway {} was told", owner.gateway))
    }
}

pub(super) fn answer(settled: Settled) -> Response {
    match settled {
        // With the agent silent a rule may still lead to a port where nobody carries anything.
        Settled::Yes | Settled::Shut(_) => StatusCode::NO_CONTENT.into_response(),
        Settled::No(why) => {
            let detail = format!("the removal goes on by itself; what is missing now: {why}");
            (StatusCode::ACCEPTED, Json(Removing { detail })).into_response()
        }
    }
}
