//! Who is asking, and may they?

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pgw_core::redact::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Api;
use super::error::Error;
use crate::credentials::FIRST_RUN;
use crate::store::{By, Role, Store};

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) rights: Rights,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    Of(Role),
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

    async fn identify(&self, token: &str, store: &dyn Store) -> Result<Caller, Error> {
        let given = hash(token);
        let same = |known: &[u8; 32]| bool::from(known.ct_eq(&given));
        if self.admin.as_ref().is_some_and(same) {
            return Ok(Caller { name: "PGW_ADMIN_TOKEN".to_owned(), rights: Rights::Of(Role::Admin) });
        }
        if same(&self.internal) {
            return Ok(Caller { name: "internal".to_owned(), rights: Rights::Agent });
        }
        let token = store.token_by_hash(&given).await?.ok_or(Error::Unauthorized)?;
        if self.admin.is_some() && token.name == FIRST_RUN {
            return Err(Error::Unauthorized);
        }
        Ok(Caller { name: token.name, rights: Rights::Of(token.role) })
    }
}

impl Caller {
    /// As the audit and the access log call them.
    pub(super) fn by(&self) -> By {
        By::named(&self.name)
    }

    fn may(&self, method: &Method, path: &str) -> Result<(), Error> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match self.rights {
            Rights::Of(Role::Admin) => Ok(()),
            Rights::Of(Role::Viewer) if !reads => Err(Error::Forbidden("a viewer's token may only read")),
            Rights::Of(Role::Viewer) if path.starts_with("/v1/tokens") => {
                Err(Error::Forbidden("only an admin's token may see the tokens"))
            }
            Rights::Of(Role::Viewer) => Ok(()),
            Rights::Agent if reads && matches!(path, "/v1/mappings/active" | "/v1/me") => Ok(()),
            Rights::Agent => Err(Error::Forbidden("the internal token may only read the active mappings")),
        }
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

/// As a browser's own dialogue sends it: the token is the password, and the name is anything.
fn basic(headers: &HeaderMap) -> Option<Secret> {
    let pair = String::from_utf8(BASE64.decode(credentials(headers, "basic")?).ok()?).ok()?;
    let (_name, token) = pair.split_once(':')?;
    Some(Secret::new(token))
}

pub(super) async fn require(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let token = bearer(request.headers());
    admit(&api, token, request, next).await
}

/// For what a person opens by its address, where a browser sends no bearer token. Not for calls:
/// a browser sends this along by itself, also when another site's page makes it call.
pub(super) async fn require_of_browser(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let token = bearer(request.headers()).or_else(|| basic(request.headers()));
    let mut response = admit(&api, token, request, next).await.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, ASK_FOR_TOKEN);
    }
    response
}

/// Leaves the caller in the request, for `/v1/me`, and in the answer, for the access log.
async fn admit(
    api: &Api,
    token: Option<Secret>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let token = token.ok_or(Error::Unauthorized)?;
    let caller = api.auth.identify(token.expose(), api.store.as_ref()).await?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let mut response = match caller.may(request.method(), path) {
        Ok(()) => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    response.extensions_mut().insert(caller);
    Ok(response)
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
