//! Calls that take no query parameter are asked with none: what nobody reads would be a filter, a
//! condition or a mistyped word that goes unheard.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::path::ParameterIn;

use super::access::reading;
use super::error::Error;
use super::input::Params;
use super::openapi::{operations, takes};

/// By method and path, as the description has them.
pub(super) struct Bare(HashSet<(Method, String)>);

impl Bare {
    pub(super) fn of(document: &mut Document) -> Arc<Self> {
        let bare = operations(document).filter(|(_, _, call)| !takes(call, ParameterIn::Query, None));
        Arc::new(Self(bare.map(|(path, method, _)| (method, path.to_owned())).collect()))
    }

    fn holds(&self, request: &Request) -> bool {
        let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        self.0.contains(&(reading(request.method()).clone(), path.to_owned()))
    }
}

pub(super) async fn refuse_queries(
    State(bare): State<Arc<Bare>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    if request.uri().query().is_none() || !bare.holds(&request) {
        return Ok(next.run(request).await);
    }
    let (mut parts, body) = request.into_parts();
    let Params(fields) = Params::from_request_parts(&mut parts, &()).await?;
    fields.finish()?;
    Ok(next.run(Request::from_parts(parts, body)).await)
}
