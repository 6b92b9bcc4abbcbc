//! `/v1/gateways`: those that share the database, as any one of them sees them.

use std::cmp::Ordering;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use pgw_core::settings::is_gateway_name;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::error::Error;
use super::input::Params;
use super::openapi::ListParams;
use super::sort::Listed;
use super::{Api, List};
use crate::store::{Cursor, Gateway, Key, ListQuery, Page, SortBy};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(remove))
}

const LISTED: Listed = Listed { name: "gateways", sorts: &[SortBy::Name] };

/// Every gateway that uses this database, by name; with ?sort=-name the other way round.
#[utoipa::path(get, path = "/v1/gateways", tag = "gateways",
    params(ListParams, ("sort" = Option<String>, Query)), responses((status = 200, body = List<Gateway>)))]
async fn list(State(api): State<Arc<Api>>, params: Params) -> Result<Json<List<Gateway>>, Error> {
    let query = params.only_list(&LISTED)?;
    Ok(Json(List::of(page_of(api.store.gateways().await?, &query), &query, &LISTED)))
}

/// There are few of them: all are read, and here it is said which of them are asked for.
fn page_of(mut gateways: Vec<Gateway>, query: &ListQuery) -> Page<Gateway> {
    if let Some(q) = &query.q {
        let q = q.to_ascii_lowercase();
        gateways.retain(|gateway| gateway.name.to_ascii_lowercase().contains(&q));
    }
    gateways.sort_by(|one, other| one.name.cmp(&other.name));
    if query.sort.descending {
        gateways.reverse();
    }
    if let Some(Cursor { key: Some(Key::Text(last)), .. }) = &query.after {
        let behind = if query.sort.descending { Ordering::Less } else { Ordering::Greater };
        gateways.retain(|gateway| gateway.name.cmp(last) == behind);
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let more = gateways.len() > limit;
    gateways.truncate(limit);
    let last = gateways.last().filter(|_| more);
    let next = last.map(|last| Cursor { key: Some(Key::Text(last.name.clone())), id: Uuid::nil() });
    Page { items: gateways, next }
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
