//! A tunnel that an operator made opens when somebody has entered its code: here, or, without logging
//! in, on the page `/verify/<code>`. Looking at the page changes nothing; its button does.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use pgw_core::ids::TunnelId;
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Protocol, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::{Error, Problem};
use super::fields::Read;
use super::input::{Body, Id};
use super::tunnel_clients::settle;
use super::tunnels::{Verification, answer, fresh_code};
use super::{Api, doors, values};
use crate::credentials::hashed;
use crate::store::{By, NotVerified, Tunnel};

const LONGEST_CODE: usize = 64;
/// Whoever opens the page is not known by a name.
const BY_PAGE: &str = "a verification code";

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(verify))
}

/// What needs no login: who has the code has been given it.
pub(super) fn open_router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(show, confirm))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `verify` reads it")]
struct TunnelVerify {
    /// Left out: a new code is made, and the one before is void.
    #[schema(min_length = 1, max_length = 64, nullable = false)]
    code: Option<String>,
}

/// The tunnel, verified; or another code for it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the shapes as documented; `verify` answers with one of them")]
enum Verified {
    Tunnel(Box<Tunnel>),
    Code(Verification),
}

/// What is about to be opened.
#[derive(Serialize, utoipa::ToSchema)]
struct ToVerify {
    tunnel: String,
    tunnel_client: String,
    gateway: String,
    protocol: Protocol,
    public_port: Option<u16>,
    host: Option<String>,
    #[schema(example = "127.0.0.1:22")]
    target: String,
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    expires_at: Timestamp,
}

#[derive(Serialize, utoipa::ToSchema)]
struct VerifiedByPage {
    verified: bool,
    #[serde(flatten)]
    shown: ToVerify,
}

/// Verifies a tunnel with its code; without one it gets a new code, and the one before is void.
#[utoipa::path(post, path = "/v1/tunnels/{id}/verify", tag = "tunnels", params(("id" = TunnelId, Path)),
    request_body = Option<TunnelVerify>,
    responses((status = 200, body = Verified),
        (status = 410, body = Problem, content_type = "application/problem+json")))]
async fn verify(
    State(api): State<Arc<Api>>,
    Id(id): Id<TunnelId>,
    request: Request,
) -> Result<Response, Error> {
    let code = if request.headers().contains_key(header::CONTENT_TYPE) {
        let Body(mut fields) = Body::of(request).await?;
        let code = fields.optional("code", code);
        fields.finish()?;
        code
    } else {
        None
    };
    let Some(code) = code else {
        let (code, verification) = fresh_code()?;
        api.store.renew_code(id, code).await?;
        return Ok(Json(verification).into_response());
    };
    let tunnel = api.store.verify_tunnel(id, &hashed(&code)).await??;
    settle(&api, &tunnel.gateway).await;
    Ok(answer(api.store.tunnel(id).await?))
}

/// Which tunnel a code verifies. Changes nothing.
#[utoipa::path(get, path = "/v1/verify/{code}", tag = "verify", security(()),
    params(("code" = String, Path)),
    responses((status = 200, body = ToVerify),
        (status = 410, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json")))]
async fn show(
    State(api): State<Arc<Api>>,
    Path(code): Path<String>,
    request: Request,
) -> Result<Json<ToVerify>, Error> {
    let address = doors::address(request.extensions(), request.headers());
    let (tunnel, expires_at) = find(&api, &Secret::new(code), address).await?;
    Ok(Json(shown(tunnel, expires_at)))
}

/// Verifies the tunnel that this code is of: the button on its page.
#[utoipa::path(post, path = "/v1/verify/{code}", tag = "verify", security(()),
    params(("code" = String, Path)),
    responses((status = 200, body = VerifiedByPage),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 410, body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json")))]
async fn confirm(
    State(api): State<Arc<Api>>,
    Path(code): Path<String>,
    request: Request,
) -> Result<Json<VerifiedByPage>, Error> {
    doors::not_foreign(request.headers())?;
    let address = doors::address(request.extensions(), request.headers());
    let code = Secret::new(code);
    let (tunnel, expires_at) = find(&api, &code, address).await?;
    let hash = hashed(&code);
    let verifying = api.store.verify_tunnel(tunnel.id, &hash);
    let tunnel = match By::named(BY_PAGE).during(verifying).await? {
        // Somebody else was faster.
        Err(NotVerified::Wrong | NotVerified::NotAsked) => return Err(Error::UnknownCode),
        verified => verified?,
    };
    settle(&api, &tunnel.gateway).await;
    Ok(Json(VerifiedByPage { verified: true, shown: shown(tunnel, expires_at) }))
}

/// As many attempts as to log in: each code is one of its own, and each address may try but a few.
async fn find(api: &Api, code: &Secret, address: Option<IpAddr>) -> Result<(Tunnel, Timestamp), Error> {
    if code.expose().len() > LONGEST_CODE {
        return Err(Error::UnknownCode);
    }
    let name = format!("verification {}", code.expose());
    api.doors.attempts.begin(address, &name).map_err(Error::TooManyAttempts)?;
    let found = api.store.tunnel_by_code(&hashed(code)).await?.ok_or(Error::UnknownCode)?;
    api.doors.attempts.succeeded(address, &name);
    if found.1 <= Timestamp::now() { Err(NotVerified::Expired.into()) } else { Ok(found) }
}

fn shown(tunnel: Tunnel, expires_at: Timestamp) -> ToVerify {
    let target = Target { host: tunnel.local_host, port: tunnel.local_port };
    ToVerify {
        tunnel: tunnel.name,
        tunnel_client: tunnel.tunnel_client,
        gateway: tunnel.gateway,
        protocol: tunnel.protocol,
        public_port: tunnel.public_port,
        host: tunnel.host,
        target: target.to_string(),
        expires_at,
    }
}

fn code(value: &Value) -> Read<Secret> {
    match values::text(value)?.trim() {
        "" => Err("is empty".to_owned()),
        code if code.len() > LONGEST_CODE => Err(format!("is longer than {LONGEST_CODE} characters")),
        code => Ok(Secret::new(code)),
    }
}
