//! The API as the agent sees it: what shall be in the kernel, and whose token this is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use pgw_core::active::ActiveSet;
use pgw_core::browser::SESSION_COOKIE;
use pgw_core::redact::Secret;
use reqwest::header::{COOKIE, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const CONNECT: Duration = Duration::from_secs(2);
/// Less than the time for which the API waits for a reconcile, so that it hears the reason.
const PATIENCE: Duration = Duration::from_secs(5);
const LARGEST_SET: usize = 32 << 20;
const LARGEST_ANSWER: usize = 64 << 10;
const LARGEST_TOKEN: u64 = 4096;

/// Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Viewer,
    Operator,
    Admin,
}

/// What somebody came with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Given<'a> {
    Token(&'a str),
    /// What the session's cookie holds.
    Session(&'a str),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("{path} cannot be read: {why}; pgw-api makes it when it first starts")]
    NoToken { path: PathBuf, why: String },
    #[error("pgw-api is not reached at {url}: {why}")]
    Unreachable { url: String, why: String },
    #[error("pgw-api answered {status} to {path}")]
    Refused { path: &'static str, status: u16 },
    #[error("what pgw-api answered to {path} cannot be used: {why}")]
    Nonsense { path: &'static str, why: String },
}

#[async_trait]
pub trait ActiveSource: Send + Sync {
    async fn active_set(&self) -> Result<ActiveSet, ApiError>;
}

#[async_trait]
pub trait Voucher: Send + Sync {
    /// None: the API knows no such token, or session.
    async fn role_of(&self, given: Given<'_>) -> Result<Option<Role>, ApiError>;
}

pub struct HttpApi {
    client: Client,
    url: String,
    token_file: PathBuf,
}

#[derive(Deserialize)]
struct Me {
    role: Role,
}

impl HttpApi {
    pub fn new(api_url: &str, state_dir: &Path) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            // Not through a proxy that the environment happens to name.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { client, url: api_url.to_owned(), token_file: internal_token_file(state_dir) })
    }

    fn get(&self, path: &'static str, given: Given<'_>) -> RequestBuilder {
        let request = self.client.get(format!("{}{path}", self.url));
        match given {
            Given::Token(token) => request.bearer_auth(token),
            Given::Session(session) => {
                let cookie = HeaderValue::try_from(format!("{SESSION_COOKIE}={session}"));
                let mut cookie = cookie.unwrap_or(HeaderValue::from_static(""));
                cookie.set_sensitive(true);
                request.header(COOKIE, cookie)
            }
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, ApiError> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ApiError {
        ApiError::Unreachable { url: self.url.clone(), why: pgw_core::cause::root(error) }
    }

    async fn json<T: DeserializeOwned>(
        &self,
        path: &'static str,
        mut answer: Response,
        limit: usize,
    ) -> Result<T, ApiError> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + piece.len() > limit {
                return Err(ApiError::Nonsense { path, why: format!("it is larger than {limit} bytes") });
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body).map_err(|error| ApiError::Nonsense { path, why: error.to_string() })
    }
}

#[async_trait]
impl ActiveSource for HttpApi {
    async fn active_set(&self) -> Result<ActiveSet, ApiError> {
        let path = "/v1/mappings/active";
        let token = internal_token(&self.token_file).await?;
        let answer = self.send(self.get(path, Given::Token(token.expose()))).await?;
        match answer.status() {
            StatusCode::OK => self.json(path, answer, LARGEST_SET).await,
            status => Err(ApiError::Refused { path, status: status.as_u16() }),
        }
    }
}

#[async_trait]
impl Voucher for HttpApi {
    async fn role_of(&self, given: Given<'_>) -> Result<Option<Role>, ApiError> {
        let path = "/v1/me";
        let answer = self.send(self.get(path, given)).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(self.json::<Me>(path, answer, LARGEST_ANSWER).await?.role)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            status => Err(ApiError::Refused { path, status: status.as_u16() }),
        }
    }
}

pub fn internal_token_file(state_dir: &Path) -> PathBuf {
    state_dir.join("internal.token")
}

/// The token that API and agent share. Read each time: the API may have made it just now.
pub async fn internal_token(file: &Path) -> Result<Secret, ApiError> {
    let failed = |why: String| ApiError::NoToken { path: file.to_owned(), why };
    let length = tokio::fs::metadata(file).await.map_err(|error| failed(error.to_string()))?.len();
    if length > LARGEST_TOKEN {
        return Err(failed("it is too large to be a token".to_owned()));
    }
    let text = tokio::fs::read_to_string(file).await.map_err(|error| failed(error.to_string()))?;
    match text.trim() {
        "" => Err(failed("it is empty".to_owned())),
        token => Ok(Secret::new(token)),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;
    use crate::testing::active;

    async fn serve(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn state_with_token() -> tempfile::TempDir {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(internal_token_file(state.path()), "the-internal-token\n").unwrap();
        state
    }

    fn bearer(headers: &HeaderMap) -> &str {
        headers.get("authorization").map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn the_active_set_is_asked_for_with_the_internal_token() {
        let set = active(7, &[(3, 15001)], &[4]);
        let body = serde_json::to_string(&set).unwrap();
        let answer = move |headers: HeaderMap| async move {
            if bearer(&headers) == "Bearer the-internal-token" {
                body.into_response()
            } else {
                StatusCode::UNAUTHORIZED.into_response()
            }
        };
        let url = serve(Router::new().route("/v1/mappings/active", get(answer))).await;
        let state = state_with_token();
        assert_eq!(HttpApi::new(&url, state.path()).unwrap().active_set().await.unwrap(), set);
    }

    #[tokio::test]
    async fn every_way_in_which_the_api_fails_is_told_apart() {
        let state = state_with_token();
        let nonsense = serve(Router::new().route("/v1/mappings/active", get(|| async { "[]" }))).await;
        let absent = serve(Router::new()).await;
        // Bound and dropped: nobody listens there.
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let ask = |url: String| {
            let api = HttpApi::new(&url, state.path()).unwrap();
            async move { api.active_set().await.unwrap_err() }
        };
        assert!(matches!(ask(nonsense).await, ApiError::Nonsense { .. }));
        assert!(matches!(ask(absent).await, ApiError::Refused { status: 404, .. }));
        assert!(matches!(ask(format!("http://{nobody}")).await, ApiError::Unreachable { .. }));

        let empty = tempfile::tempdir().unwrap();
        let api = HttpApi::new("http://127.0.0.1:1", empty.path()).unwrap();
        let error = api.active_set().await.unwrap_err();
        assert!(matches!(error, ApiError::NoToken { .. }), "{error}");
        assert!(error.to_string().contains("internal.token"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_beyond_the_bound_is_not_read_to_its_end() {
        let endless = || async { vec![b' '; LARGEST_ANSWER + 1] };
        let url = serve(Router::new().route("/v1/me", get(endless))).await;
        let api = HttpApi::new(&url, Path::new("/nowhere")).unwrap();
        let error = api.role_of(Given::Token("token")).await.unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }

    #[tokio::test]
    async fn a_token_and_a_session_have_the_role_that_the_api_says_or_none() {
        let me = |headers: HeaderMap| async move {
            if headers.get("cookie").is_some_and(|cookie| cookie == "pgw_session=o") {
                return r#"{"name": "olga", "role": "operator"}"#.into_response();
            }
            match bearer(&headers) {
                "Bearer a" => r#"{"name": "alice", "role": "admin"}"#.into_response(),
                "Bearer v" => r#"{"name": "victor", "role": "viewer"}"#.into_response(),
                "Bearer broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
                _ => StatusCode::UNAUTHORIZED.into_response(),
            }
        };
        let url = serve(Router::new().route("/v1/me", get(me))).await;
        let api = HttpApi::new(&url, Path::new("/nowhere")).unwrap();
        for (token, want) in [("a", Some(Role::Admin)), ("v", Some(Role::Viewer)), ("o", None)] {
            assert_eq!(api.role_of(Given::Token(token)).await.unwrap(), want, "{token}");
        }
        assert_eq!(api.role_of(Given::Session("o")).await.unwrap(), Some(Role::Operator));
        assert_eq!(api.role_of(Given::Session("a")).await.unwrap(), None);
        assert!(matches!(
            api.role_of(Given::Token("broken")).await,
            Err(ApiError::Refused { status: 500, .. })
        ));
    }
}
