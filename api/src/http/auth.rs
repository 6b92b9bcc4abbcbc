//! Who is asking, and may they?

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use pgw_core::browser::Whence;
use pgw_core::ids::TokenId;
use pgw_core::redact::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::Error;
use super::{Api, access, cookie, doors, sessions};
use crate::credentials::FIRST_RUN;
use crate::store::{By, Role, Store, StoreError, User};

/// Our own tokens have 47 characters; an operator's own may be longer, but not much.
const LONGEST_HEADER: usize = 512;
/// The dialogue shows it, so that people know what to type.
const ASK_FOR_TOKEN: HeaderValue =
    HeaderValue::from_static("Basic realm=\"pgw: any name, a token as the password\", charset=\"UTF-8\"");

/// The tokens that are not in the database, as hashes: comparing those in constant time tells
/// nobody how near a guess was.
pub struct Auth {
    admin: Option<[u8; 32]>,
    internal: [u8; 32],
}

/// Who asks. What they came with is kept as a hash, so that it can be asked again later whether it
/// still opens anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) given: Given,
    pub(super) who: Who,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    Token([u8; 32]),
    Cookie([u8; 32]),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// PGW_ADMIN_TOKEN.
    Settings,
    Token {
        id: TokenId,
        name: String,
        role: Role,
    },
    User {
        user: User,
        ends: Timestamp,
    },
    /// The agent: the active set, and nothing else.
    Agent,
}

pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Auth {
    /// With `admin` (`PGW_ADMIN_TOKEN`) the token of the first run is not accepted.
    pub fn new(admin: Option<&Secret>, internal: &Secret) -> Self {
        Self { admin: admin.map(|token| hash(token.expose())), internal: hash(internal.expose()) }
    }

    pub(super) async fn recognise(&self, given: Given, store: &dyn Store) -> Result<Caller, Error> {
        let who = match &given {
            Given::Token(hash) => self.by_token(hash, store).await?,
            Given::Cookie(hash) => {
                let session = sessions::known(store, hash).await?.ok_or(Error::Unauthorized)?;
                let ends = sessions::ends(&session);
                Who::User { user: session.user, ends }
            }
        };
        Ok(Caller { given, who })
    }

    async fn by_token(&self, given: &[u8; 32], store: &dyn Store) -> Result<Who, Error> {
        let same = |known: &[u8; 32]| bool::from(known.ct_eq(given));
        if self.admin.as_ref().is_some_and(same) {
            return Ok(Who::Settings);
        }
        if same(&self.internal) {
            return Ok(Who::Agent);
        }
        let token = store.token_by_hash(given).await?.ok_or(Error::Unauthorized)?;
        if self.admin.is_some() && token.name == FIRST_RUN {
            return Err(Error::Unauthorized);
        }
        Ok(Who::Token { id: token.id, name: token.name, role: token.role })
    }
}

impl Caller {
    /// As the audit and the access log call them.
    pub(super) fn by(&self) -> By {
        By::named(match &self.who {
            Who::Settings => "PGW_ADMIN_TOKEN".to_owned(),
            Who::Token { name, .. } => format!("token {name}"),
            Who::User { user, .. } => format!("user {}", user.name),
            Who::Agent => "pgw-agent".to_owned(),
        })
    }

    pub(super) fn role(&self) -> Role {
        match &self.who {
            Who::Settings => Role::Admin,
            Who::Token { role, .. } | Who::User { user: User { role, .. }, .. } => *role,
            Who::Agent => Role::Viewer,
        }
    }

    pub(super) fn needs(&self, least: Role) -> Result<(), Error> {
        match self.who {
            Who::Agent => Err(Error::ForbiddenToAgent),
            _ if self.role() < least => Err(Error::Forbidden(least)),
            _ => Ok(()),
        }
    }

    fn may(&self, method: &Method, path: &str) -> Result<(), Error> {
        if self.who == Who::Agent && access::is_agents(method, path) {
            return Ok(());
        }
        self.needs(access::least(method, path))
    }
}

/// What follows the scheme's name in the header.
fn credentials<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if value.len() > LONGEST_HEADER {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case(wanted) && !token.is_empty()).then_some(token)
}

fn bearer(headers: &HeaderMap) -> Option<Secret> {
    credentials(headers, "bearer").map(Secret::new)
}

/// Whether it opens anything is asked later.
pub(super) fn brings_token(headers: &HeaderMap) -> bool {
    bearer(headers).is_some()
}

/// As a browser's own dialogue sends it: the token is the password, and the name is anything.
fn basic(headers: &HeaderMap) -> Option<Secret> {
    let pair = String::from_utf8(BASE64.decode(credentials(headers, "basic")?).ok()?).ok()?;
    let (_name, token) = pair.split_once(':')?;
    Some(Secret::new(token))
}

/// A token that is given counts, also if it is wrong; else the cookie.
pub(super) fn given(headers: &HeaderMap) -> Result<Given, Error> {
    if headers.contains_key(header::AUTHORIZATION) {
        let token = bearer(headers).ok_or(Error::Unauthorized)?;
        return Ok(Given::Token(hash(token.expose())));
    }
    let cookie = cookie::read(headers).ok_or(Error::Unauthorized)?;
    Ok(Given::Cookie(hash(cookie.expose())))
}

/// Asked again of somebody who was let in. Nobody is sent away because the database cannot be asked.
pub(super) async fn is_still(api: &Api, caller: &Caller) -> bool {
    match api.auth.recognise(caller.given, api.store.as_ref()).await {
        Ok(now) => now.role() == caller.role() && now.by() == caller.by(),
        Err(Error::Store(StoreError::Unavailable { .. })) => true,
        Err(_) => false,
    }
}

pub(super) async fn require(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let given = given(request.headers())?;
    let caller = api.auth.recognise(given, api.store.as_ref()).await?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let allowed = caller.may(request.method(), path).and_then(|()| of_our_page(&caller, &request));
    Ok(admit(caller, allowed, request, next).await)
}

/// For what a person opens by its address, where a browser sends no bearer token. Not for calls:
/// a browser sends this along by itself, also when another site's page makes it call.
pub(super) async fn require_of_browser(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let typed = basic(request.headers()).map(|token| Given::Token(hash(token.expose())));
    let given = typed.map_or_else(|| given(request.headers()), Ok);
    let caller = match given {
        Ok(given) => api.auth.recognise(given, api.store.as_ref()).await,
        Err(nobody) => Err(nobody),
    };
    let mut response = match caller {
        Ok(caller) => {
            let allowed = caller.needs(Role::Viewer);
            admit(caller, allowed, request, next).await
        }
        Err(refused) => refused.into_response(),
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, ASK_FOR_TOKEN);
    }
    response
}

/// A cookie comes by itself, whoever's page has the browser ask.
fn of_our_page(caller: &Caller, request: &Request) -> Result<(), Error> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let ours = || doors::asked(request.headers()).whence() == Whence::Ours;
    match caller.given {
        Given::Cookie(_) if !reads && !ours() => Err(Error::ForeignOrigin),
        Given::Cookie(_) | Given::Token(_) => Ok(()),
    }
}

/// Leaves the caller in the request, for the handlers, and in the answer, for the access log.
async fn admit(caller: Caller, allowed: Result<(), Error>, mut request: Request, next: Next) -> Response {
    let mut response = match allowed {
        Ok(()) => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    response.extensions_mut().insert(caller);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_and_anything_else_is_none() {
        let long = format!("Bearer {}", "x".repeat(LONGEST_HEADER));
        for (value, want) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
            (long.as_str(), None),
        ] {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())];
            let found = bearer(&headers.into_iter().collect());
            assert_eq!(found.as_ref().map(Secret::expose), want, "{value:?}");
        }
        assert!(bearer(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_browsers_password_is_the_token() {
        for (pair, want) in [
            ("me:abc", Some("abc")),
            (":abc", Some("abc")),
            ("me:a:b", Some("a:b")),
            ("abc", None),
            ("", None),
        ] {
            let value = HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair))).unwrap();
            let found = basic(&[(header::AUTHORIZATION, value)].into_iter().collect());
            assert_eq!(found.as_ref().map(Secret::expose), want, "{pair:?}");
        }
        for value in ["Basic ???", "Bearer bWU6YWJj", "Basic"] {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_static(value))];
            assert!(basic(&headers.into_iter().collect()).is_none(), "{value}");
        }
    }
}
