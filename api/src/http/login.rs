//! Logging in with a name and a password, and the first admin, who has nobody to ask.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use pgw_core::redact::Secret;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{Caller, Given, Who, given};
use super::error::{Error, Problem};
use super::input::Body;
use super::me::Me;
use super::{Api, cookie, doors, sessions, values};
use crate::store::{KnownUser, NewUser, Role, UserPatch};

/// What needs nobody to have been let in before.
pub(super) fn open_router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(setup_state, setup)).routes(routes!(login))
}

pub(super) fn router() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(logout)).routes(routes!(change_password))
}

#[derive(Serialize, utoipa::ToSchema)]
struct SetupState {
    /// There is no user yet.
    needed: bool,
    /// Until when anybody may make the first admin; null when nobody may (any more).
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(serialize_with = "pgw_core::time::millis")]
    until: Option<Timestamp>,
    /// Whoever asks came with a token or a session that opens something.
    signed_in: bool,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `setup` reads it and tells every mistake at once")]
struct Setup {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[schema(min_length = 12, max_length = 1024, write_only, format = Password)]
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape as documented; `login` reads it and tells every mistake at once")]
struct Login {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    #[schema(min_length = 1, max_length = 1024, write_only, format = Password)]
    password: String,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(
    dead_code,
    reason = "the shape as documented; `change_password` reads it and tells every mistake at once"
)]
struct PasswordChange {
    #[schema(min_length = 1, max_length = 1024, write_only, format = Password)]
    current: String,
    #[schema(min_length = 12, max_length = 1024, write_only, format = Password)]
    new: String,
}

/// Is there a first admin to be made? And is it somebody who asks?
#[utoipa::path(get, path = "/v1/setup", tag = "login", security(()), responses((status = 200, body = SetupState)))]
async fn setup_state(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Json<SetupState>, Error> {
    let needed = !api.store.has_users().await?;
    let until = api.doors.setup.open_until().filter(|_| needed);
    let signed_in = match given(&headers) {
        Ok(given) => api.auth.recognise(given, api.store.as_ref()).await.is_ok(),
        Err(_nothing) => false,
    };
    Ok(Json(SetupState { needed, until, signed_in }))
}

/// Makes the first admin and logs in. Open to everybody while there is no user, for 30 minutes
/// after the database was made, unless PGW_ADMIN_TOKEN is set; to an admin's token always.
#[utoipa::path(post, path = "/v1/setup", tag = "login", security((), ("bearer" = [])), request_body = Setup,
    responses((status = 201, body = Me),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json")))]
async fn setup(
    State(api): State<Arc<Api>>,
    headers: HeaderMap,
    Body(mut fields): Body,
) -> Result<Response, Error> {
    doors::not_foreign(&headers)?;
    let name = fields.required("name", values::name);
    let password = fields.required("password", values::new_password);
    let (name, password) = fields.finish_with(name.zip(password))?;
    let by_token = headers.contains_key(header::AUTHORIZATION);
    if by_token {
        api.auth.recognise(given(&headers)?, api.store.as_ref()).await?.needs(Role::Admin)?;
    } else if api.doors.setup.open_until().is_none() || api.store.has_users().await? {
        return Err(Error::SetupClosed);
    }
    let password = api.doors.passwords.hash(password).await?;
    let new = NewUser { name, role: Role::Admin, password: password.clone() };
    let user =
        if by_token { api.store.create_user(new).await? } else { api.store.create_first_user(new).await? };
    tracing::info!(user = user.name, "the first admin is made");
    let opened = let_in(&api, &KnownUser { user, password }, &headers).await?;
    Ok((StatusCode::CREATED, opened).into_response())
}

/// Logs in: the answer sets the cookie `pgw_session`.
#[utoipa::path(post, path = "/v1/login", tag = "login", security(()), request_body = Login,
    responses((status = 200, body = Me),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json")))]
async fn login(State(api): State<Arc<Api>>, request: Request) -> Result<Response, Error> {
    let headers = request.headers().clone();
    let address = doors::address(request.extensions(), &headers);
    let Body(mut fields) = Body::of(request).await?;
    doors::not_foreign(&headers)?;
    let name = fields.required("name", values::name);
    let password = fields.required("password", values::typed_password);
    let (name, password) = fields.finish_with(name.zip(password))?;
    let known = prove(&api, address, &name, password).await?;
    let_in(&api, &known, &headers).await
}

/// Ends the session that the cookie is of. A token is none, and stays.
#[utoipa::path(post, path = "/v1/logout", tag = "login", responses((status = 204)))]
async fn logout(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    if let Given::Cookie(hash) = &caller.given {
        api.store.end_session(hash).await?;
    }
    let cleared = cookie::clear(doors::asked(&headers).by_tls());
    Ok((StatusCode::NO_CONTENT, cookies(cleared)).into_response())
}

/// Another password for oneself. It ends all of one's sessions; the answer sets the cookie of a new one.
#[utoipa::path(post, path = "/v1/me/password", tag = "login", request_body = PasswordChange,
    responses((status = 200, body = Me),
        (status = 412, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json")))]
async fn change_password(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Error> {
    let headers = request.headers().clone();
    let address = doors::address(request.extensions(), &headers);
    let Who::User { user, .. } = caller.who else { return Err(Error::NoPassword) };
    let Body(mut fields) = Body::of(request).await?;
    let current = fields.required("current", values::typed_password);
    let new = fields.required("new", values::new_password);
    let (current, new) = fields.finish_with(current.zip(new))?;
    let known = prove(&api, address, &user.name, current).await?;
    let password = api.doors.passwords.hash(new).await?;
    let patch = UserPatch {
        password: Some(password.clone()),
        // What was proven is the password of this revision.
        if_revision: Some(known.user.revision),
        ..UserPatch::default()
    };
    let user = api.store.update_user(known.user.id, patch).await?;
    let_in(&api, &KnownUser { user, password }, &headers).await
}

/// It takes as long whether the name or the password is wrong.
async fn prove(api: &Api, address: Option<IpAddr>, name: &str, password: Secret) -> Result<KnownUser, Error> {
    api.doors.attempts.begin(address, name).map_err(Error::TooManyAttempts)?;
    let known = api.store.user_by_name(name).await?;
    let behind = known.as_ref().map(|known| known.password.clone());
    let right = api.doors.passwords.verify(password, behind).await?;
    if let Some(known) = known.filter(|_| right) {
        api.doors.attempts.succeeded(address, name);
        return Ok(known);
    }
    // Not the name: it may be a password, typed into the wrong field.
    tracing::warn!(address = address.map(tracing::field::display), "somebody could not log in");
    Err(Error::WrongCredentials)
}

async fn let_in(api: &Api, known: &KnownUser, headers: &HeaderMap) -> Result<Response, Error> {
    let opened = sessions::open(api.store.as_ref(), known).await?;
    let (session, text) = opened.ok_or(Error::WrongCredentials)?;
    let ends = sessions::ends(&session);
    let given = Given::Cookie(super::auth::hash(text.expose()));
    let caller = Caller { given, who: Who::User { user: session.user, ends } };
    let set = cookie::set(&text, doors::asked(headers).by_tls());
    let me = Me::from(&caller);
    Ok((cookies(set), Extension(caller), Json(me)).into_response())
}

fn cookies(line: Option<axum::http::HeaderValue>) -> HeaderMap {
    line.into_iter().map(|line| (header::SET_COOKIE, line)).collect()
}
