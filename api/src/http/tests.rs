//! The contract, call by call: the router over a fresh database, with an engine that only
//! remembers what it was asked.

mod access;
mod browsers;
mod conditional;
mod config;
mod config_tunnels;
mod conflicts;
mod contract;
mod description;
mod events;
mod exits;
mod explain;
mod fake;
mod gateways;
mod import;
mod login;
mod metrics;
mod problems;
mod rollback;
mod schema;
mod telemetry;
mod tunnels;
mod twice;
mod users;
mod validation;
mod watching;
mod webhooks;

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use argon2::Params;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use flate2::read::GzDecoder;
use http_body_util::BodyExt;
use pgw_core::health::Health;
use pgw_core::hosts::AllowedHosts;
use pgw_core::ids::ProxyId;
use pgw_core::ports::PortRange;
use pgw_core::redact::Secret;
use pgw_core::settings::IfMatch;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;

use super::attempts::Attempts;
use super::auth::Auth;
use super::doors::{Doors, SetupTime};
use super::{Api, router};
use crate::board::Board;
use crate::events::Bus;
use crate::own::OwnAddresses;
use crate::passwords::Passwords;
use crate::shared::Shared;
use crate::store::open::{Opening, PATIENCE};
use crate::store::sqlite::SqliteStore;
use crate::store::{NewToken, Role, Store};
use crate::telemetry::watch::Watch;
use crate::tunnels::{self as links, Link};
use crate::webhooks::Webhooks;
use crate::webhooks::fake::FakePost;
use fake::FakeEngine;

const ADMIN: &str = "pgw_admin-of-the-tests";
const VIEWER: &str = "pgw_viewer-of-the-tests";
const OPERATOR: &str = "pgw_operator-of-the-tests";
const INTERNAL: &str = "pgw_internal-of-the-tests";
/// The upstream password of every proxy that the tests make.
const PASSWORD: &str = "correct:horse@battery";
/// What the people of the tests log in with.
const LOGIN: &str = "twelve or more letters";
const URL: &str = "socks5://bob:correct%3Ahorse%40battery@proxy.example:1080";

/// Of a machine called gw, where a password costs little.
fn doors() -> Doors {
    Doors {
        hosts: AllowedHosts::of_machine("gw"),
        if_match: IfMatch::Optional,
        passwords: Passwords::costing(Params::new(Params::MIN_M_COST, 1, 1, None).unwrap()).unwrap(),
        attempts: Attempts::default(),
        setup: SetupTime::of(Some(jiff::Timestamp::now())),
    }
}

/// On a LAN of a few devices.
fn own() -> OwnAddresses {
    let mut own = OwnAddresses::default();
    own.add([10, 88, 0, 1].into(), Some([255, 255, 255, 240].into()));
    own
}

struct Gateway {
    router: Router,
    engine: Arc<FakeEngine>,
    watch: Arc<Watch>,
    board: Arc<Board>,
    bus: Arc<Bus>,
    post: Arc<FakePost>,
    tunnels: Arc<Link>,
    store: Arc<SqliteStore>,
    deadlines: Arc<Notify>,
    place: tempfile::TempDir,
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Gateway {
    async fn new() -> Self {
        Self::with(PortRange::spanning(15001, 15999), PATIENCE).await
    }

    /// A change must say which revision it means.
    async fn strict() -> Self {
        let Self { store, place, .. } = Self::new().await;
        let doors = Doors { if_match: IfMatch::Required, ..doors() };
        Self::behind(store, place, PortRange::spanning(15001, 15999), None, doors)
    }

    async fn with(ports: PortRange, patience: Duration) -> Self {
        let place = tempfile::tempdir().unwrap();
        let opening = Opening { patience, ..Opening::new("gw1", &place.path().join("secret.key")) };
        let store = SqliteStore::open(&place.path().join("pgw.db"), &opening).await.unwrap();
        for (name, token, role) in [
            ("admin", ADMIN, Role::Admin),
            ("operator", OPERATOR, Role::Operator),
            ("viewer", VIEWER, Role::Viewer),
        ] {
            let hash = super::auth::hash(token);
            store.create_token(NewToken { name: name.into(), role, hash }).await.unwrap();
        }
        Self::over(Arc::new(store), place, ports, None)
    }

    fn over(
        store: Arc<SqliteStore>,
        place: tempfile::TempDir,
        ports: PortRange,
        admin: Option<&Secret>,
    ) -> Self {
        Self::behind(store, place, ports, admin, doors())
    }

    fn behind(
        store: Arc<SqliteStore>,
        place: tempfile::TempDir,
        ports: PortRange,
        admin: Option<&Secret>,
        doors: Doors,
    ) -> Self {
        let engine = Arc::new(FakeEngine::default());
        let auth = Auth::new(admin, &Secret::new(INTERNAL));
        let (database, deadlines) = (Shared::default(), Arc::<Notify>::default());
        let (bus, post) = (Arc::new(Bus::new("gw1", 0)), Arc::new(FakePost::default()));
        let (watch, board) = watching::watch(store.clone(), bus.clone(), place.path());
        let webhooks = Webhooks { store: store.clone(), bus: bus.clone(), post: post.clone() };
        let tunnels = Arc::new(Link::new(
            links::Parts {
                store: store.clone(),
                door: links::stand_in::door(place.path()),
                forwarders: ports.clone(),
                health_token: None,
                listening: links::stand_in::listening,
                reopened: Box::new(|| {}),
            },
            place.path(),
        ));
        let api = Api {
            store: store.clone(),
            engine: engine.clone(),
            watch: watch.clone(),
            bus: bus.clone(),
            webhooks: Arc::new(webhooks),
            tunnels: tunnels.clone(),
            auth,
            doors,
            ports,
            own,
            deadlines: deadlines.clone(),
            database,
        };
        Self {
            router: router(Arc::new(api)),
            engine,
            watch,
            board,
            bus,
            post,
            tunnels,
            store,
            deadlines,
            place,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        let makes_token = what == "POST /v1/tokens";
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let mut bytes = body.collect().await.unwrap().to_bytes().to_vec();
        // As a browser reads it.
        if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|way| way == "gzip") {
            let mut plain = Vec::new();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
            bytes = plain;
        }
        let text = String::from_utf8(bytes).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        answer.holds_what_every_answer_holds(&what, makes_token);
        answer
    }

    async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(match body {
            None => request.body(Body::empty()).unwrap(),
            Some(body) => request
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))
                .unwrap(),
        })
        .await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(ADMIN, Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(ADMIN, Method::POST, path, Some(body)).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(ADMIN, Method::PATCH, path, Some(body)).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.call(ADMIN, Method::DELETE, path, None).await
    }

    /// Long enough for what is shared for a while to be asked for anew.
    async fn a_while_later(&self) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(2)).await;
        tokio::time::resume();
    }

    /// The id of something new.
    async fn make(&self, path: &str, body: Value) -> String {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    async fn make_proxy(&self, name: &str) -> String {
        self.make("/v1/proxies", json!({"url": URL, "name": name})).await
    }

    async fn make_client(&self, last: u8) -> String {
        let body = json!({"name": format!("phone {last}"), "ip_cidr": format!("192.168.2.{last}")});
        self.make("/v1/clients", body).await
    }

    async fn make_user(&self, name: &str, role: &str) -> String {
        self.make("/v1/users", json!({"name": name, "role": role, "password": LOGIN})).await
    }

    async fn make_tunnel_client(&self, name: &str) -> String {
        self.make("/v1/tunnel-clients", json!({"name": name})).await
    }

    /// An open one, but for what `other` says.
    async fn make_tunnel(&self, client: &str, other: Value) -> String {
        let mut body = json!({
            "tunnel_client_id": client, "name": "ssh", "protocol": "tcp", "verify": false,
            "local_host": "127.0.0.1", "local_port": 22,
        });
        body.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        self.make("/v1/tunnels", body).await
    }

    async fn make_mapping(&self, client: &str, proxy: &str) -> String {
        self.make("/v1/mappings", json!({"client_id": client, "proxy_id": proxy})).await
    }
}

/// A browser that has logged in.
struct Browser<'a> {
    gateway: &'a Gateway,
    cookie: String,
}

impl Browser<'_> {
    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let headers = [("origin", "http://gw.lan:8081"), ("host", "gw.lan:8081")];
        self.call_with(method, path, body, &headers).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::COOKIE, &self.cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (kind, body) = ("application/json", body.map(|body| body.to_string()).unwrap_or_default());
        let request = if body.is_empty() { request } else { request.header(header::CONTENT_TYPE, kind) };
        self.gateway.send(request.body(Body::from(body)).unwrap()).await
    }
}

impl Gateway {
    async fn call_openly(&self, path: &str, body: Value) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    async fn log_in(&self, name: &str, password: &str) -> Browser<'_> {
        let answer = self.call_openly("/v1/login", json!({"name": name, "password": password})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.with_cookie_of(&answer)
    }

    fn with_cookie_of(&self, answer: &Answer) -> Browser<'_> {
        let set = answer.header("set-cookie");
        assert!(set.starts_with("pgw_session=") && set.contains("; HttpOnly; SameSite=Strict"), "{set}");
        Browser { gateway: self, cookie: set.split(';').next().unwrap().to_owned() }
    }

    /// As if a check had found this.
    async fn found(&self, proxy: &str, health: Health) {
        let dial = self.store.upstream(ProxyId(proxy.parse().unwrap())).await.unwrap();
        self.store.record_health(&[dial.found(health)]).await.unwrap();
    }
}

/// So that programs may compare them as texts.
fn times_have_three_digits(told: &Value, what: &str) {
    match told {
        Value::String(text) if text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok() => {
            assert_eq!((text.len(), text.find('.')), (24, Some(19)), "{what}: {text}");
        }
        Value::Array(items) => items.iter().for_each(|item| times_have_three_digits(item, what)),
        Value::Object(fields) => fields.values().for_each(|field| times_have_three_digits(field, what)),
        _ => {}
    }
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn holds_what_every_answer_holds(&self, what: &str, makes_token: bool) {
        for secret in [PASSWORD, "correct%3Ahorse", "correct:horse", ADMIN, OPERATOR, VIEWER, INTERNAL, LOGIN]
        {
            assert!(!self.text.contains(secret), "{what} tells a secret: {}", self.text);
        }
        // The cookie's name is no secret.
        // Metrics begin with the same letters, and tokens are longer.
        let tells_token = what != "GET /metrics" && self.text.replace("pgw_session", "").contains("pgw_");
        assert_eq!(tells_token, makes_token && self.status == 201, "{what}: {}", self.text);
        assert_eq!(self.header("x-content-type-options"), "nosniff", "{what}");
        assert!(!self.header("x-request-id").is_empty(), "{what}");
        if what.contains(" /v1/") {
            assert_eq!(self.header("cache-control"), "no-store", "{what}");
        }
        if let Ok(told) = serde_json::from_str(&self.text) {
            times_have_three_digits(&told, what);
        }
        let failed = self.status.is_client_error() || self.status.is_server_error();
        if failed && what != "GET /readyz" {
            self.is_a_problem(what);
        }
    }

    fn is_a_problem(&self, what: &str) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{what}");
        assert_eq!(problem["type"], "about:blank", "{what}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{what}");
        for text in ["title", "detail", "code"] {
            assert!(problem[text].as_str().is_some_and(|text| !text.is_empty()), "{what}: {text}");
        }
        let challenge = match (self.status.as_u16(), what.contains(" /docs") || what.contains(" /openapi")) {
            (401, true) => "Basic",
            (401, false) => "Bearer",
            _ => "",
        };
        let sent = self.header("www-authenticate");
        assert_eq!(sent.split(' ').next(), Some(challenge), "{what}");
    }

    /// Refused with this status and code.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status.as_u16(), self.json()["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.text
        );
    }

    /// Refused as not valid, with exactly these pointers.
    #[track_caller]
    fn invalid_at(&self, pointers: &[&str]) {
        self.refused(400, "validation_failed");
        let problem = self.json();
        let mut found: Vec<&str> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        let mut wanted = pointers.to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{}", self.text);
    }
}
