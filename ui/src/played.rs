//! For tests: the whole program on loopback, between real connections and services that are only
//! played.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::routing::{any, get};
use axum::{Json, Router};
use pgw_core::hosts::AllowedHosts;
use pgw_core::log::LogLevels;
use pgw_core::settings::UiSettings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A browser that follows nothing and asks the one it was told to.
pub(crate) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only([]).build().unwrap()
}

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) async fn run(app: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    let (tasks, never) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(pgw_core::serve::serve(listener, app, 400, tasks.clone(), never));
    address
}

/// A port on which nothing listens.
pub(crate) async fn nobody() -> SocketAddr {
    listen().await.1
}

pub(crate) async fn ui(api: SocketAddr, agent: SocketAddr) -> SocketAddr {
    let settings = UiSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        api_url: format!("http://{api}"),
        agent_url: format!("http://{agent}"),
        allowed_hosts: AllowedHosts::parse_list("h"),
        log: LogLevels::default(),
    };
    run(crate::app::router(&settings).unwrap()).await
}

pub(crate) async fn ui_before(api: Router) -> SocketAddr {
    ui(run(api).await, nobody().await).await
}

/// A port on which somebody listens who must not be asked. A plain socket, so that `accept` looks
/// at the kernel's queue itself.
pub(crate) fn trap() -> (std::net::TcpListener, SocketAddr) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends these bytes and reads until the other end closes.
pub(crate) async fn raw(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A service that answers one connection with these bytes.
pub(crate) async fn saying(answer: &'static str) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut request = [0; 4096];
        let _head = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    address
}

/// A service whose answer to `/v1/events`, asked once, is what is sent into the channel.
pub(crate) fn streaming(content_type: &'static str) -> (mpsc::UnboundedSender<String>, Router) {
    let (pieces, received) = mpsc::unbounded_channel::<String>();
    let received = Arc::new(std::sync::Mutex::new(Some(received)));
    let answer = async move || {
        let received = received.lock().unwrap().take().unwrap();
        let body = futures_util::stream::unfold(received, async |mut received| {
            received.recv().await.map(|piece| (Ok::<_, std::convert::Infallible>(piece), received))
        });
        ([(header::CONTENT_TYPE, content_type)], Body::from_stream(body))
    };
    (pieces, Router::new().route("/v1/events", get(answer)))
}

pub(crate) fn echo() -> Router {
    Router::new().fallback(any(async |request: Request| {
        let headers: BTreeMap<_, _> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let (method, uri) = (request.method().to_string(), request.uri().to_string());
        Json(json!({ "method": method, "uri": uri, "headers": headers }))
    }))
}

pub(crate) async fn json_of(answer: reqwest::Response) -> Value {
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

pub(crate) async fn fetch(address: SocketAddr, path: &str) -> reqwest::Response {
    client().get(format!("http://{address}{path}")).send().await.unwrap()
}
