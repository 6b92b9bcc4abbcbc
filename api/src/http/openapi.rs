//! The API's own description, and the page to browse it, which needs no internet.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderValue, Method, header};
use axum::{Router, routing};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, ObjectBuilder, OpenApi as Document, Ref, RefOr, Required, ResponseBuilder, Type,
};
use utoipa::{IntoParams, OpenApi};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::Api;
use super::error::{Error, Problem};
use super::narrow::narrow;

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
    components(schemas(Problem, super::clients::ClientState)),
    security(("bearer" = []), ("session" = []))
)]
struct Skeleton;

pub(super) fn document() -> Document {
    let mut document = Skeleton::openapi();
    if let Some(components) = &mut document.components {
        components.add_security_scheme("bearer", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
        let cookie = ApiKey::Cookie(ApiKeyValue::new("pgw_session"));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
    document
}

pub(super) fn router(mut document: Document) -> Router<Arc<Api>> {
    complete(&mut document);
    narrow(&mut document);
    let page = SwaggerUi::new("/docs")
        // Its default asks a validator on the internet.
        .config(Config::from("/openapi.json").validator_url("none").try_it_out_enabled(true));
    // Only the text is kept: the document itself takes megabytes.
    let text = serde_json::to_vec(&document).map(Bytes::from).map_err(|error| error.to_string());
    let answer = move || async move {
        let json = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok::<_, Error>(([json], text.map_err(Error::Unwritable)?))
    };
    Router::new().route("/openapi.json", routing::get(answer)).merge(page)
}

/// What a change may say of what it means to change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the parameter as documented; `Meant` reads it")]
pub(super) struct IfMatchHeader {
    /// The ETag of what is meant, or *. Answered with 412 if it is another by now, and, with
    /// PGW_IF_MATCH=required, with 428 if it is left out.
    #[param(rename = "If-Match", example = "\"7\"", pattern = r#"^("[0-9]+"|\*)$"#)]
    if_match: Option<String>,
}

/// Every call, by its path and method.
pub(super) fn operations(document: &mut Document) -> impl Iterator<Item = (&str, Method, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        [
            (Method::GET, &mut item.get),
            (Method::POST, &mut item.post),
            (Method::PUT, &mut item.put),
            (Method::PATCH, &mut item.patch),
            (Method::DELETE, &mut item.delete),
        ]
        .into_iter()
        .filter_map(move |(method, operation)| Some((path.as_str(), method, operation.as_mut()?)))
    })
}

/// Anybody may call it.
pub(super) fn is_open(operation: &Operation) -> bool {
    operation.security.as_ref().is_some_and(|ways| ways.contains(&SecurityRequirement::default()))
}

/// What is the same for many calls: each can fail, always in the same shape, and in which ways is
/// known from what it takes. Handlers are called `list` or `get` in each resource's file; here
/// their names are made different.
pub(super) fn complete(document: &mut Document) {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    for (_, method, operation) in operations(document) {
        if let (Some(id), Some(tag)) = (&mut operation.operation_id, operation.tags.iter().flatten().next()) {
            *id = format!("{id}_{tag}");
        }
        if method == Method::POST && !is_open(operation) {
            operation.parameters.get_or_insert_default().push(idempotency_key().into());
        }
        for status in failures(&method, operation) {
            let response =
                ResponseBuilder::new().content("application/problem+json", problem.clone()).build();
            operation.responses.responses.entry(status.to_owned()).or_insert(response.into());
        }
        for (status, done) in &mut operation.responses.responses {
            if let RefOr::T(done) = done {
                done.description = meaning(status).to_owned();
            }
        }
    }
}

/// A parameter there, of this name or any.
pub(super) fn takes(operation: &Operation, place: ParameterIn, name: Option<&str>) -> bool {
    operation
        .parameters
        .iter()
        .flatten()
        .filter_map(|it| if let RefOr::T(it) = it { Some(it) } else { None })
        .any(|it| it.parameter_in == place && name.is_none_or(|name| it.name == name))
}

/// Beside what a handler says of itself.
fn failures(method: &Method, operation: &Operation) -> Vec<&'static str> {
    let has = |place, name| takes(operation, place, name);
    let guarded = !is_open(operation);
    let writes = *method != Method::GET;
    [
        (true, &["400", "421", "500", "503"][..]),
        (guarded, &["401", "403"]),
        (has(ParameterIn::Path, None), &["404"]),
        (guarded && writes, &["409"]),
        (operation.request_body.is_some(), &["413", "415"]),
        (has(ParameterIn::Header, Some("Idempotency-Key")), &["413", "422"]),
        (has(ParameterIn::Header, Some("If-Match")), &["412", "428"]),
    ]
    .into_iter()
    .filter(|(can, _)| *can)
    .flat_map(|(_, statuses)| statuses.iter().copied())
    .collect()
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The same key, caller, path and body get the first answer again, for a day (Idempotent-Replay: true).",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(128))
                .pattern(Some("^[!-~]+$")),
        ))
        .build()
}

/// The document must say it of each answer, and it is the same everywhere.
fn meaning(status: &str) -> &'static str {
    match status {
        "101" => "From here on it is a WebSocket",
        "201" => "Made; Location tells where",
        "202" => "No longer listed; what is left of it goes by itself",
        "204" => "Gone, or done",
        "400" => "Not understood; errors tells what is wrong where",
        "401" => "Nobody was recognised",
        "403" => "Not with this role, or not from this page",
        "404" => "There is none",
        "410" => "Too late, or tried too often; code tells which",
        "409" => "Something stands in the way; code tells what",
        "412" => "It was changed meanwhile",
        "413" => "Larger than a megabyte",
        "415" => "Not of a content type that is taken",
        "421" => "Not asked under a name of this machine",
        "422" => "The Idempotency-Key was used for another request",
        "428" => "If-Match is missing",
        "429" => "Too many attempts; Retry-After tells when again",
        "500" => "pgw-api failed",
        "503" => "Not ready, or not now",
        _ => "Done",
    }
}
