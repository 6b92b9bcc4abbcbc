//! `/v1/gateways`: those that share the database, as any one of them sees them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Error;
use super::input::Params;
use super::{Api, List};
use crate::store::Gateway;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Every gateway that uses this database, by name. There are few: all of them are on one page.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways", responses((status = 200, body = List<Gateway>)))]
async fn list(State(api): State<Arc<Api>>, Params(fields): Params) -> Result<Json<List<Gateway>>, Error> {
    fields.finish()?;
    Ok(Json(List { items: api.store.gateways().await?, next_cursor: None }))
}
