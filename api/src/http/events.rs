//! `/v1/events`: what happens, as it happens, as server-sent events.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pgw_core::ids::ClientId;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::{self, Caller};
use super::error::{Error, FieldError};
use super::fields::{Fields, Read};
use super::input::Params;
use super::values;
use crate::events::Kind;
use crate::events::frame::Filter;
use crate::events::reader::{Access, Reader};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Or what stands between would keep events back until there are many.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(stream))
}

/// One event as it stands in the stream.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "the shape as documented; `Reader` writes its lines")]
struct EventFrame {
    /// Its kind, or `hello`, or `gap`.
    event: String,
    /// To resume behind it.
    #[schema(nullable = false)]
    id: Option<String>,
    /// JSON: the event as the journal has it.
    data: String,
}

/// Every change as it happens. The first event is `hello`; `gap` says that some were left out, because the
/// log begins later or the reader is too slow, and what is shown has to be loaded anew. A comment comes
/// every 15 s. It ends when the token or session does.
#[utoipa::path(get, path = "/v1/events", tag = "events",
    params(
        ("after" = Option<i64>, Query, minimum = 0, description = "The last event that is known; the header Last-Event-ID, which browsers send by themselves, goes before it"),
        ("kind" = Option<String>, Query, pattern = "^(mapping\\.state|client\\.exit|proxy\\.health|forwarder|agent|drift|drill|tunnel\\.state|tunnel\\.client|change|gateway)(,(mapping\\.state|client\\.exit|proxy\\.health|forwarder|agent|drift|drill|tunnel\\.state|tunnel\\.client|change|gateway))*$", description = "Kinds, separated by commas"),
        ("client_id" = Option<ClientId>, Query),
    ),
    responses((status = 200, body = EventFrame, content_type = "text/event-stream")))]
async fn stream(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Params(mut fields): Params,
) -> Result<Response, Error> {
    let following = Following::asked(&mut fields);
    fields.finish()?;
    let reader = reader(&api, &caller, following, last_event_id(&headers)?).await?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(([kind, UNBUFFERED], Body::from_stream(reader.stream())).into_response())
}

/// What somebody who follows asks for.
pub(super) struct Following {
    filter: Filter,
    after: Option<i64>,
}

impl Following {
    pub(super) fn asked(fields: &mut Fields) -> Self {
        Self {
            after: fields.optional("after", number),
            filter: Filter {
                kinds: fields.optional("kind", kinds).unwrap_or_default(),
                client_id: fields.optional("client_id", |value| values::uuid(value).map(ClientId)),
            },
        }
    }
}

/// `last` goes before what the query says. It ends when the caller may no longer read.
pub(super) async fn reader(
    api: &Arc<Api>,
    caller: &Caller,
    following: Following,
    last: Option<i64>,
) -> Result<Reader, Error> {
    let seat = api.bus.seat()?;
    let ends = api.store.log_ends().await?;
    let (asking, caller) = (api.clone(), caller.clone());
    let access: Access = Box::new(move || {
        let (api, caller) = (asking.clone(), caller.clone());
        Box::pin(async move { auth::is_still(&api, &caller).await })
    });
    let Following { filter, after } = following;
    Ok(Reader::new(seat, api.store.clone(), filter, access, api.bus.gateway(), last.or(after), ends))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let id = value.to_str().ok().filter(|text| text.len() < 20).and_then(|text| text.parse().ok());
    let wrong = || Error::Validation(vec![FieldError::new("last-event-id", "must be the id of an event")]);
    id.filter(|id| *id >= 0).map(Some).ok_or_else(wrong)
}

pub(super) fn number(value: &Value) -> Read<i64> {
    let number = values::text(value)?.parse().ok().filter(|number| *number >= 0);
    number.ok_or_else(|| "must be the id of an event".to_owned())
}

pub(super) fn kinds(value: &Value) -> Read<Vec<Kind>> {
    let words = values::text(value)?.split(',');
    words.map(kind).collect()
}

pub(super) fn kind(word: &str) -> Read<Kind> {
    Kind::parse(word.trim()).ok_or_else(|| format!("must be some of {}", Kind::ALLOWED))
}
