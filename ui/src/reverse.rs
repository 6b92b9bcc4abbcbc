//! One request, passed on to the service behind it; bodies flow, nothing is collected.
//!
//! Two programs must never disagree about where a request ends. So a request says its length in
//! one way only, the next one is framed anew, and each has a connection to the service of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use reqwest::{Client, RequestBuilder, Url};
use tokio::sync::Notify;

use crate::headers;
use crate::problem::Problem;
use crate::target::check_path;
use crate::websocket;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// From the last byte of the request to the answer's head. The services give up by themselves
/// after 30 s, and what they say then is worth more than what could be said here.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Api,
    Agent,
}

pub(crate) struct Upstream {
    service: Service,
    base: Url,
    client: Client,
    /// Did the last request get an answer? A page that asks every two seconds would otherwise
    /// fill the log.
    answers: AtomicBool,
}

#[derive(Debug, thiserror::Error)]
#[error("what {setting} says cannot be used: {cause}")]
pub(crate) struct BuildError {
    setting: &'static str,
    cause: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    Broken(reqwest::Error),
    Late,
}

/// A body on its way up. A slow upload is not a slow answer, and a broken one is not the
/// service's fault.
#[derive(Default)]
pub(crate) struct Upload {
    moved: Notify,
    broken: AtomicBool,
}

impl Service {
    fn program(self) -> &'static str {
        match self {
            Self::Api => "pgw-api",
            Self::Agent => "pgw-agent",
        }
    }

    fn setting(self) -> &'static str {
        match self {
            Self::Api => "PGW_API_URL",
            Self::Agent => "PGW_AGENT_URL",
        }
    }

    /// What stands before the service's own paths. The agent's begin with `/agent` already.
    fn mount(self) -> &'static str {
        match self {
            Self::Api => "/api",
            Self::Agent => "",
        }
    }
}

fn client(tls: bool) -> reqwest::Result<Client> {
    let builder = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        // A kept connection that the service has just closed would turn into a 502.
        .pool_max_idle_per_host(0);
    // The system's certificates may be missing, and on loopback nobody needs them.
    if tls { builder.build() } else { builder.tls_certs_only([]).build() }
}

impl Upstream {
    pub(crate) fn new(service: Service, base: &str) -> Result<Self, BuildError> {
        let setting = service.setting();
        let base = Url::parse(base)
            .map_err(|source| BuildError { setting, cause: pgw_core::cause::root(&source) })?;
        let client = client(base.scheme() == "https")
            .map_err(|source| BuildError { setting, cause: pgw_core::cause::root(&source) })?;
        Ok(Self { service, base, client, answers: AtomicBool::new(true) })
    }

    /// Only the path and the query come from outside; the rest of the URL cannot be moved by them.
    fn url(&self, path: &str, query: Option<&str>) -> Url {
        let mut url = self.base.clone();
        url.set_path(path.strip_prefix(self.service.mount()).unwrap_or(path));
        url.set_query(query);
        url
    }

    /// Of its own answers' places.
    pub(crate) fn mount(&self) -> &'static str {
        self.service.mount()
    }

    pub(crate) fn get(&self, path: &str, query: Option<&str>) -> RequestBuilder {
        self.client.get(self.url(path, query))
    }

    pub(crate) fn answered(&self) {
        if !self.answers.swap(true, Ordering::Relaxed) {
            tracing::info!(service = self.service.program(), "it answers again");
        }
    }

    pub(crate) fn unanswered(&self, why: &NoAnswer) -> Problem {
        let (program, setting) = (self.service.program(), self.service.setting());
        let cause = why.cause();
        if self.answers.swap(false, Ordering::Relaxed) {
            tracing::warn!(service = program, url = %self.base, error = cause, "it does not answer");
        }
        match why {
            NoAnswer::Broken(_) => Problem::new(
                StatusCode::BAD_GATEWAY,
                "service_unreachable",
                format!("{program} cannot be reached: {cause}. Is it running, and is {setting} right?"),
            ),
            NoAnswer::Late => {
                Problem::new(StatusCode::GATEWAY_TIMEOUT, "service_late", format!("{program} {cause}."))
            }
        }
    }
}

impl NoAnswer {
    fn cause(&self) -> String {
        match self {
            Self::Late => format!("did not answer within {} s", ANSWER_WITHIN.as_secs()),
            Self::Broken(error) if error.is_timeout() => {
                format!("no connection within {} s", CONNECT_WITHIN.as_secs())
            }
            Self::Broken(error) => pgw_core::cause::root(error),
        }
    }
}

impl Upload {
    fn watch(self: Arc<Self>, body: Body) -> reqwest::Body {
        reqwest::Body::wrap_stream(body.into_data_stream().inspect(move |piece| match piece {
            Ok(_) => self.moved.notify_one(),
            Err(_) => self.broken.store(true, Ordering::Relaxed),
        }))
    }

    /// The bound begins anew with every piece of the request.
    pub(crate) async fn answer<T>(
        &self,
        answer: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, NoAnswer> {
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                got = answer.as_mut() => return got.map_err(NoAnswer::Broken),
                () = self.moved.notified() => {}
                () = tokio::time::sleep(ANSWER_WITHIN) => return Err(NoAnswer::Late),
            }
        }
    }
}

pub(crate) async fn pass_on(
    State(upstream): State<Arc<Upstream>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Result<Response, Problem> {
    // The server below lets Transfer-Encoding win over a Content-Length and forgets the latter, so
    // a request with both cannot be told from one with the first. Nobody needs either here.
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        return Ok(refused_framing());
    }
    check_path(request.uri().path())?;
    if websocket::is_asked_for(upstream.service, &request) {
        return websocket::pass_on(&upstream, peer, request).await;
    }

    let (head, body) = request.into_parts();
    let url = upstream.url(head.uri.path(), head.uri.query());
    let upload = Arc::new(Upload::default());
    let has_body = head.headers.contains_key(header::CONTENT_LENGTH);
    let mut onward =
        upstream.client.request(head.method, url).headers(headers::for_upstream(head.headers, peer.ip()));
    if has_body {
        onward = onward.body(upload.clone().watch(body));
    }
    match upload.answer(onward.send()).await {
        Ok(answer) => {
            upstream.answered();
            Ok(hand_back(answer, upstream.mount()))
        }
        Err(_) if upload.broken.load(Ordering::Relaxed) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "body_broken", "The request's body broke off."))
        }
        Err(why) => Err(upstream.unanswered(&why)),
    }
}

pub(crate) fn hand_back(mut answer: reqwest::Response, mount: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.headers_mut() = headers::for_browser(std::mem::take(answer.headers_mut()), mount);
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}

fn refused_framing() -> Response {
    let mut response = Problem::new(
        StatusCode::BAD_REQUEST,
        "transfer_encoding_refused",
        "A request with Transfer-Encoding is not passed on. Send its body with a Content-Length.",
    )
    .into_response();
    // What follows on this connection may have been meant as a body.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
#[path = "reverse_tests.rs"]
mod tests;
