//! `/v1/gateways`: those that share the database, as any one of them sees them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pgw_core::settings::is_gateway_name;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Error;
use super::input::Params;
use super::{Api, List};
use crate::store::Gateway;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(remove))
}

/// Every gateway that uses this database, by name. There are few: all of them are on one page.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways", responses((status = 200, body = List<Gateway>)))]
async fn list(State(api): State<Arc<Api>>, Params(fields): Params) -> Result<Json<List<Gateway>>, Error> {
    fields.finish()?;
    Ok(Json(List { items: api.store.gateways().await?, next_cursor: None }))
}

/// Forgets a gateway that will not come back: 409 while it is online, and, without ?cascade=true,
/// while it has clients. Its machine must be off: whoever still leaves by it is not stopped by this.
#[utoipa::path(delete, path = "/v1/gateways/{name}", tag = "gateways",
    params(("name" = String, Path), ("cascade" = Option<bool>, Query)), responses((status = 204)))]
async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    params: Params,
) -> Result<StatusCode, Error> {
    let cascade = params.cascade()?;
    if !is_gateway_name(&name) {
        return Err(Error::NotFound("gateway"));
    }
    api.store.remove_gateway(&name, cascade).await?;
    Ok(StatusCode::NO_CONTENT)
}
