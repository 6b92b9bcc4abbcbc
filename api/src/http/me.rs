//! `/v1/me`: who is asking.

use std::sync::Arc;

use axum::{Extension, Json};
use jiff::Timestamp;
use pgw_core::ids::UserId;
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::{Caller, Who};
use crate::store::Role;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(me))
}

#[derive(Debug, Clone, Copy, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum CallerKind {
    Token,
    Session,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    name: String,
    role: Role,
    kind: CallerKind,
    /// Of a session.
    user_id: Option<UserId>,
    /// When a session ends at the latest, however much it is used.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    expires_at: Option<Timestamp>,
}

impl From<&Caller> for Me {
    fn from(caller: &Caller) -> Self {
        let of_token = |name: &str| (name.to_owned(), CallerKind::Token, None, None);
        let (name, kind, user_id, expires_at) = match &caller.who {
            Who::Settings => of_token("PGW_ADMIN_TOKEN"),
            Who::Agent => of_token("internal"),
            Who::Token { name, .. } => of_token(name),
            Who::User { user, ends } => (user.name.clone(), CallerKind::Session, Some(user.id), Some(*ends)),
        };
        Self { name, role: caller.role(), kind, user_id, expires_at }
    }
}

/// Whose token or session this is.
#[utoipa::path(get, path = "/v1/me", tag = "login", responses((status = 200, body = Me)))]
async fn me(Extension(caller): Extension<Caller>) -> Json<Me> {
    Json(Me::from(&caller))
}
