//! `/v1/telemetry`: what moved, how upstreams did, and which names were called.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use pgw_core::control::NameCount;
use pgw_core::ids::{ClientId, ProxyId};
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::error::{Error, Problem};
use super::fields::{Fields, Read};
use super::input::Params;
use super::values;
use crate::store::traffic::{LONGEST_WINDOW, NAMES_STEP};
use crate::telemetry::{HealthOverTime, Now, TrafficOverTime};

const SHORTEST_WINDOW: i64 = 60;
const USUAL_WINDOW: i64 = 60 * 60;

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(traffic))
        .routes(routes!(now))
        .routes(routes!(health))
        .routes(routes!(names))
}

#[derive(Serialize, utoipa::ToSchema)]
struct CalledNames {
    window_s: i64,
    /// Those with the most weight first: the bytes, and something for each connection.
    items: Vec<CalledName>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct CalledName {
    /// Never more of it than this; "-" is all that was called without a name, or by one that
    /// nobody registers.
    #[schema(example = "*.example.co.uk")]
    name: String,
    connections: u64,
    bytes_up: u64,
    bytes_down: u64,
}

/// Bytes and connections over time, in steps that are finer for a shorter window: 15 s up to an
/// hour, 5 min up to a day, then an hour. Of all clients and proxies, or of one of each. What was
/// carried while this program did not run is in the step in which it came back.
#[utoipa::path(get, path = "/v1/telemetry/traffic", tag = "telemetry",
    params(
        ("client_id" = Option<ClientId>, Query),
        ("proxy_id" = Option<ProxyId>, Query),
        ("window" = Option<String>, Query, pattern = "^[0-9]{1,9}[smhd]$", description = "From 1m to 30d; 1h if it is left out", example = "1h"),
    ),
    responses((status = 200, body = TrafficOverTime)))]
async fn traffic(
    State(api): State<Arc<Api>>,
    Params(mut fields): Params,
) -> Result<Json<TrafficOverTime>, Error> {
    let client = fields.optional("client_id", values::uuid).map(ClientId);
    let proxy = fields.optional("proxy_id", values::uuid).map(ProxyId);
    let window = window(&mut fields, LONGEST_WINDOW);
    fields.finish()?;
    Ok(Json(api.watch.telemetry.traffic(client, proxy, window).await?))
}

/// What moves just now: of all clients together, and of each on whose connections something moves
/// or that has any. As old as PGW_TELEMETRY_INTERVAL, 5 s.
#[utoipa::path(get, path = "/v1/telemetry/now", tag = "telemetry", responses((status = 200, body = Now)))]
async fn now(State(api): State<Arc<Api>>) -> Result<Json<Now>, Error> {
    Ok(Json(api.watch.telemetry.now()))
}

/// What this gateway's checks of a proxy found over time: 1 min steps up to an hour, 15 min up to
/// a day, then 4 h.
#[utoipa::path(get, path = "/v1/telemetry/health", tag = "telemetry",
    params(
        ("proxy_id" = ProxyId, Query),
        ("window" = Option<String>, Query, pattern = "^[0-9]{1,9}[smhd]$", description = "From 1m to 30d; 1h if it is left out", example = "1h"),
    ),
    responses((status = 200, body = HealthOverTime), (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn health(
    State(api): State<Arc<Api>>,
    Params(mut fields): Params,
) -> Result<Json<HealthOverTime>, Error> {
    let proxy = fields.required("proxy_id", values::uuid).map(ProxyId);
    let window = window(&mut fields, LONGEST_WINDOW);
    let proxy = fields.finish_with(proxy)?;
    // Whose id this is not, is told.
    api.store.proxy(proxy).await?;
    Ok(Json(api.watch.telemetry.health(proxy, window).await?))
}

/// The names that were called most, in the hours that the window touches: of one client, or of all
/// together. Counted from what is over, and from what is open; a name that is seldom called among
/// very many may be missing, or have less than it had. What the last ten minutes added is lost if
/// this program is killed.
#[utoipa::path(get, path = "/v1/telemetry/names", tag = "telemetry",
    params(
        ("client_id" = Option<ClientId>, Query),
        ("window" = Option<String>, Query, pattern = "^[0-9]{1,9}[smhd]$", description = "From 1m to 7d; 1h if it is left out", example = "1h"),
    ),
    responses((status = 200, body = CalledNames)))]
async fn names(State(api): State<Arc<Api>>, Params(mut fields): Params) -> Result<Json<CalledNames>, Error> {
    let client = fields.optional("client_id", values::uuid).map(ClientId);
    let window_s = window(&mut fields, NAMES_STEP.kept);
    fields.finish()?;
    let named = |NameCount { name, sum }| CalledName {
        name,
        connections: sum.connections,
        bytes_up: sum.bytes_up,
        bytes_down: sum.bytes_down,
    };
    let items = api.watch.telemetry.names(client, window_s).await?.into_iter().map(named).collect();
    Ok(Json(CalledNames { window_s, items }))
}

fn window(fields: &mut Fields, longest: i64) -> i64 {
    fields.optional("window", |value| seconds(value, longest)).unwrap_or(USUAL_WINDOW)
}

fn seconds(value: &Value, longest: i64) -> Read<i64> {
    let text = values::text(value)?;
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let window = text.split_at_checked(digits).and_then(|(number, unit)| {
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            _ => return None,
        };
        number.parse::<i64>().ok()?.checked_mul(unit)
    });
    window
        .filter(|window| (SHORTEST_WINDOW..=longest).contains(window))
        .ok_or_else(|| format!("must be a time from 1m to {}d, such as 1h", longest / 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_a_time_within_what_is_kept() {
        for (text, want) in [
            ("1m", Some(60)),
            ("90s", Some(90)),
            ("59s", None),
            ("0m", None),
            ("1h", Some(3600)),
            ("3600s", Some(3600)),
            ("30d", Some(LONGEST_WINDOW)),
            ("31d", None),
            ("0h", None),
            ("1", None),
            ("", None),
            ("h", None),
            ("-1h", None),
            ("1w", None),
            ("9999999999999999999d", None),
            ("999999999999999999d", None),
            ("1 h", None),
        ] {
            assert_eq!(seconds(&Value::String(text.into()), LONGEST_WINDOW).ok(), want, "{text:?}");
        }
    }
}
