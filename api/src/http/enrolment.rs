//! How a machine becomes a tunnel client: a code that makes the token known that it makes for itself,
//! as a line to type or as a file to run.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::{SignedDuration, Timestamp};
use pgw_core::hosts::Authority;
use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::redact::Secret;
use serde::Serialize;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::error::{Error, FieldError};
use super::fields::Read;
use super::input::{Id, Params};
use super::tunnel_clients::{of_this_gateway, settle};
use super::{Api, doors, values};
use crate::credentials::{hashed, random_hex};
use crate::store::TunnelClient;
use crate::tunnels::client_file::{Invitation, System};

/// A code is good for so long.
const ENROL_WITHIN: SignedDuration = SignedDuration::from_hours(24);

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(enrol)).routes(routes!(client_file))
}

/// What makes one machine known, once.
#[derive(Serialize, utoipa::ToSchema)]
struct EnrolmentMade {
    /// Shown once.
    code: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    expires_at: Timestamp,
    /// What clients dial.
    #[schema(example = "gateway.example.com:8443")]
    server: String,
    /// What clients pin: the SHA-256 of the gateway's certificate.
    #[schema(example = "sha256:…")]
    ca: String,
    /// What to type on the machine.
    command: String,
}

/// A code by which one machine becomes this tunnel client, once, within a day. It makes its token
/// itself; the one before opens nothing from then on.
#[utoipa::path(post, path = "/v1/tunnel-clients/{id}/enrolment", tag = "tunnel_clients",
    params(("id" = TunnelClientId, Path)), responses((status = 201, body = EnrolmentMade)))]
async fn enrol(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelClientId>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Error> {
    let client = api.store.tunnel_client(id).await?;
    let (invitation, expires_at) = invite(&api, &client, &headers).await?;
    let made = EnrolmentMade {
        code: invitation.code.expose().to_owned(),
        expires_at,
        server: invitation.server(),
        ca: invitation.ca.clone(),
        command: invitation.command(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// A file to run on the machine that a tunnel leads to: it fetches the client program from the gateway,
/// compares it, and connects with a code that works once. Each file has a code of its own.
#[utoipa::path(get, path = "/v1/tunnels/{id}/client-file", tag = "tunnels",
    params(("id" = TunnelId, Path),
        ("os" = String, Query, pattern = "^(linux|windows|macos)$", description = "linux, windows or macos")),
    responses((status = 200, body = String, content_type = "application/octet-stream"),
        (status = 409, body = super::error::Problem, content_type = "application/problem+json")))]
async fn client_file(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id<TunnelId>,
    Params(mut fields): Params,
    headers: HeaderMap,
) -> Result<Response, Error> {
    // A browser sends the cookie along, and each file has a code in it.
    doors::not_foreign(&headers)?;
    let system = fields.required("os", system);
    let system = fields.finish_with(system)?;
    let tunnel = api.store.tunnel(id).await?;
    let client = api.store.tunnel_client(tunnel.tunnel_client_id).await?;
    let downloads = api.tunnels.door.downloads.clone();
    // They are read whole, from a disk.
    let reading = tokio::task::spawn_blocking(move || system.programs(&downloads));
    let programs = reading.await.unwrap_or_default();
    if programs.is_empty() {
        return Err(Error::NoClientBinary);
    }
    let inviting = invite(&api, &client, &headers);
    let (invitation, _expires_at) = caller.by().during(inviting).await?;
    let script = invitation.script(system, &programs);
    let name = format!("attachment; filename=\"pgw-{}.{}\"", invitation.client, system.extension());
    let name = HeaderValue::try_from(name).unwrap_or(HeaderValue::from_static("attachment"));
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)], script).into_response())
}

async fn invite(
    api: &Api,
    client: &TunnelClient,
    headers: &HeaderMap,
) -> Result<(Invitation, Timestamp), Error> {
    of_this_gateway(api, &client.gateway)?;
    let (host, port) = server(api, headers)?;
    // Its pin is the daemon's to tell.
    let ca = api.tunnels.pin().await?;
    let code: Secret = random_hex::<16>()?;
    let now = Timestamp::now();
    let expires_at = now.checked_add(ENROL_WITHIN).unwrap_or(now);
    api.store.add_enrolment(client.id, hashed(&code), expires_at).await?;
    settle(api, &client.gateway).await;
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    let fits = client.name.bytes().all(plain) && !client.name.starts_with('-');
    let named = if fits { client.name.clone() } else { client.id.to_string() };
    Ok((Invitation { host, port, ca, client: named, code }, expires_at))
}

/// What clients dial: what is set, or the name by which the API is asked now.
fn server(api: &Api, headers: &HeaderMap) -> Result<(String, u16), Error> {
    let door = &api.tunnels.door;
    if let Some((host, port)) = &door.public {
        return Ok((host.as_str().to_owned(), port.unwrap_or(door.port)));
    }
    let asked = doors::asked(headers).host.and_then(Authority::parse);
    let detail = "is missing, and PGW_TUNNEL_PUBLIC does not say what clients dial";
    let asked = asked.ok_or_else(|| Error::Validation(vec![FieldError::new("Host", detail)]))?;
    Ok((asked.host, door.port))
}

fn system(value: &Value) -> Read<System> {
    System::parse(values::text(value)?).ok_or_else(|| "must be one of linux, windows, macos".to_owned())
}
