//! The API's own description, and the page to browse it, which needs no internet.

use std::sync::Arc;

use axum::{Json, Router, routing};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoParams, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Api;
use super::error::Problem;

/// What every list takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the parameters as documented; `Params::list` reads them")]
pub(super) struct ListParams {
    #[param(minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Part of a name, an address or a note.
    #[param(max_length = 200)]
    q: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "pgw", description = "Each device of the LAN its own upstream proxy, or no internet at all."),
    components(schemas(Problem)),
    security(("bearer" = []))
)]
struct Skeleton;

pub(super) fn document() -> Document {
    let mut document = Skeleton::openapi();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
    document
}

pub(super) fn router(mut document: Document) -> Router<Arc<Api>> {
    complete(&mut document);
    let page = SwaggerUi::new("/docs")
        // Its default asks a validator on the internet.
        .config(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true));
    let document = Arc::new(document);
    Router::new()
        .route("/openapi.json", routing::get(move || async move { Json(document.as_ref().clone()) }))
        .merge(page)
}

/// Every call can fail, and always in the same shape. Handlers are called `list` or `get` in
/// each resource's file; here their names are made different.
fn complete(document: &mut Document) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description("What went wrong")
        .content("application/problem+json", problem)
        .build();
    for path in document.paths.paths.values_mut() {
        for operation in
            [&mut path.get, &mut path.post, &mut path.patch, &mut path.delete].into_iter().flatten()
        {
            if let (Some(id), Some(tag)) =
                (&mut operation.operation_id, operation.tags.iter().flatten().next())
            {
                *id = format!("{id}_{tag}");
            }
            for (status, done) in &mut operation.responses.responses {
                if let RefOr::T(done) = done {
                    done.description = meaning(status).to_owned();
                }
            }
            operation.responses.responses.insert("default".to_owned(), response.clone().into());
        }
    }
}

/// The document must say it of each answer, and it is the same everywhere.
fn meaning(status: &str) -> &'static str {
    match status {
        "201" => "Made; Location tells where",
        "202" => "No longer listed; what is left of it goes by itself",
        "204" => "Gone",
        "503" => "Not ready",
        _ => "Done",
    }
}
