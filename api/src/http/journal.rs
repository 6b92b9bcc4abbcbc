//! `/v1/journal`: what happened, and where a client got out at a time, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use pgw_core::ids::{ClientId, MappingId, ProxyId};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::Error;
use super::events::{kinds, number};
use super::fields::Read;
use super::input::Params;
use super::{Api, List, values};
use crate::events::{Event, Exit};
use crate::store::{JournalQuery, Unwatched};

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(journal))
}

/// Where a client got out at a time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct ExitThen {
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    at: Timestamp,
    client_id: ClientId,
    open: bool,
    /// Null while it was closed.
    exit: Option<Exit>,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    since: Timestamp,
    /// With its reason.
    because: Event,
    /// Where it got out before, if the journal reaches back so far.
    before: Option<Event>,
    /// A time in which pgw-api did not run, if this time falls into it: what is said was true at its
    /// beginning, and what became of it until its end nobody saw.
    unwatched: Option<Unwatched>,
}

/// What is asked for.
enum Asked {
    Events(JournalQuery),
    ExitAt(ClientId, Timestamp),
}

/// What happened, newest first. With `client_id` and `at` instead: where that client got out at that
/// time, since when, and why.
#[utoipa::path(get, path = "/v1/journal", tag = "events",
    params(
        ("client_id" = Option<ClientId>, Query),
        ("proxy_id" = Option<ProxyId>, Query),
        ("mapping_id" = Option<MappingId>, Query),
        ("kind" = Option<String>, Query, description = "Kinds, separated by commas"),
        ("by" = Option<String>, Query, max_length = 200, description = "Who wanted it"),
        ("from" = Option<String>, Query, description = "RFC 3339"),
        ("to" = Option<String>, Query, description = "RFC 3339"),
        ("at" = Option<String>, Query, description = "RFC 3339; with client_id, and nothing else"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 500),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = Journal)))]
async fn journal(State(api): State<Arc<Api>>, params: Params) -> Result<Json<Journal>, Error> {
    Ok(Json(match asked(params)? {
        Asked::ExitAt(client, at) => Journal::ExitThen(Box::new(exit_then(&api, client, at).await?)),
        Asked::Events(query) => {
            let page = api.store.journal(&query).await?;
            let next_cursor = page.next.map(|id| id.to_string());
            Journal::Events(List { items: page.items, next_cursor })
        }
    }))
}

/// The one or the other.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
enum Journal {
    Events(List<Event>),
    ExitThen(Box<ExitThen>),
}

fn asked(Params(mut fields): Params) -> Result<Asked, Error> {
    let client_id = fields.optional("client_id", |value| values::uuid(value).map(ClientId));
    if let Some(at) = fields.optional("at", time) {
        if client_id.is_none() {
            fields.wrong("client_id", "is missing; `at` asks where one client got out");
        }
        if at > Timestamp::now() {
            fields.wrong("at", "has not come yet");
        }
        let client_id = fields.finish_with(client_id)?;
        return Ok(Asked::ExitAt(client_id, at));
    }
    let query = JournalQuery {
        limit: Params::limit(&mut fields),
        before: fields.optional("cursor", number),
        client_id,
        proxy_id: fields.optional("proxy_id", |value| values::uuid(value).map(ProxyId)),
        mapping_id: fields.optional("mapping_id", |value| values::uuid(value).map(MappingId)),
        kinds: fields.optional("kind", kinds).unwrap_or_default(),
        by: fields.optional("by", values::search),
        from: fields.optional("from", time),
        to: fields.optional("to", time),
    };
    fields.finish()?;
    Ok(Asked::Events(query))
}

async fn exit_then(api: &Api, client_id: ClientId, at: Timestamp) -> Result<ExitThen, Error> {
    let known = api.store.exit_at(client_id, at).await?;
    let Some(because) = known.because else {
        return Err(Error::NotInJournal { known_from: known.known_from });
    };
    let data = &because.data;
    let open = data.get("open").and_then(Value::as_bool).unwrap_or(false);
    let exit: Option<Exit> = if open { serde_json::from_value(data.clone()).ok() } else { None };
    let (since, unwatched) = (because.at, known.unwatched);
    Ok(ExitThen { at, client_id, open, exit, since, because, before: known.before, unwatched })
}

fn time(value: &Value) -> Read<Timestamp> {
    let wrong = "must be a time of RFC 3339, such as 2026-11-21T14:03:00Z";
    let text = values::text(value)?;
    // In a query, the + of an offset that was not escaped is a space.
    text.replace(' ', "+").parse().map_err(|_not_one| wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_may_have_an_offset_however_it_was_escaped() {
        let noon: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for text in ["2026-11-21T12:00:00Z", "2026-11-21T14:00:00+02:00", "2026-11-21T14:00:00 02:00"] {
            assert_eq!(time(&json!(text)), Ok(noon), "{text}");
        }
        for text in ["", "yesterday", "2026-11-21", "14:03"] {
            assert!(time(&json!(text)).is_err(), "{text}");
        }
    }
}
