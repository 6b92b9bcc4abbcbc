//! Who is asking, and may they?

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use pgw_core::redact::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Api;
use super::error::Error;
use crate::credentials::FIRST_RUN;
use crate::store::{Role, Store};

/// Our own tokens have 47 characters; an operator's own may be longer, but not much.
const LONGEST_HEADER: usize = 512;

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

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if value.len() > LONGEST_HEADER {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Leaves the caller in the request, for `/v1/me`, and in the answer, for the access log.
pub(super) async fn require(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let token = bearer(request.headers()).ok_or(Error::Unauthorized)?;
    let caller = api.auth.identify(token, api.store.as_ref()).await?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let mut response = match caller.may(request.method(), path) {
        Ok(()) => {
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
        Err(refused) => axum::response::IntoResponse::into_response(refused),
    };
    response.extensions_mut().insert(caller);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

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
            assert_eq!(bearer(&headers.into_iter().collect()), want, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
