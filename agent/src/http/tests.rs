use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use pgw_core::active::{ActiveSet, ReconcileReport};
use pgw_core::mac::Mac;
use pgw_core::redact::Secret;
use pgw_core::settings::AgentSettings;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::*;
use crate::api::{ActiveSource, ApiError, Given, Role, Voucher, internal_token_file};
use crate::drill::{Ground, KernelGround, Range};
use crate::neighbours::{Neighbour, State};
use crate::nft::fake::FakeKernel;
use crate::nft::kernel::KernelError;
use crate::reconcile::Reconciler;
use crate::saved::Saved;
use crate::testing::{active, machine, policy};

const ADMIN: &str = "the-admin-token-of-the-environment";
const INTERNAL: &str = "the-internal-token";

const SESSION: &str = "0123456789012345678901234567890123456789012";

/// Knows the tokens `alice` (admin), `olga` (operator) and `victor` (viewer), and one admin's session.
struct FakeApi {
    set: Mutex<Result<ActiveSet, ApiError>>,
    /// Nobody's token, nor session, is good any more.
    revoked: AtomicBool,
    up: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl ActiveSource for FakeApi {
    async fn active_set(&self) -> Result<ActiveSet, ApiError> {
        self.set.lock().unwrap().clone()
    }
}

#[async_trait]
impl Voucher for FakeApi {
    async fn role_of(&self, given: Given<'_>) -> Result<Option<Role>, ApiError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match given {
            _ if !self.up => Err(unreachable()),
            _ if self.revoked.load(Ordering::SeqCst) => Ok(None),
            Given::Token("alice") | Given::Session(SESSION) => Ok(Some(Role::Admin)),
            Given::Token("olga") => Ok(Some(Role::Operator)),
            Given::Token("victor") => Ok(Some(Role::Viewer)),
            Given::Token(_) | Given::Session(_) => Ok(None),
        }
    }
}

/// One, or an interface that is missing.
#[async_trait]
impl Neighbours for Mutex<Option<Neighbour>> {
    async fn list(&self) -> std::io::Result<Vec<Neighbour>> {
        let neighbour = self.lock().unwrap().clone();
        neighbour.map(|one| vec![one]).ok_or_else(|| std::io::Error::from_raw_os_error(19))
    }
}

struct House {
    router: Router,
    api: Arc<FakeApi>,
    kernel: Arc<FakeKernel>,
    neighbours: Arc<Mutex<Option<Neighbour>>>,
    state: tempfile::TempDir,
}

struct Told {
    status: StatusCode,
    content_type: String,
    challenge: Option<String>,
    body: String,
}

fn unreachable() -> ApiError {
    ApiError::Unreachable { url: "http://127.0.0.1:8080".to_owned(), why: "connection refused".to_owned() }
}

impl House {
    fn new(up: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        std::fs::write(internal_token_file(state.path()), INTERNAL).unwrap();
        let set = Mutex::new(if up { Ok(active(7, &[(3, 15001)], &[4])) } else { Err(unreachable()) });
        let api = Arc::new(FakeApi { set, up, revoked: AtomicBool::new(false), asked: AtomicUsize::new(0) });
        let kernel = Arc::new(FakeKernel::default());
        let status = Status::new(&AgentSettings::read(&BTreeMap::new()).unwrap());
        let saved = Saved::new(state.path());
        let (_news, drifts, deaf) = crate::drift::channel();
        let machine = machine(kernel.clone());
        let reconciler = Reconciler::new(api.clone(), machine, saved, policy(), status.clone(), deaf);
        let (wake, waiting) = crate::wake::channel();
        tokio::spawn(waiting.run(reconciler, drifts, Duration::from_secs(15), CancellationToken::new()));
        let token_file = internal_token_file(state.path());
        let auth = Auth::new(token_file, Some(Secret::new(ADMIN)), api.clone());
        let settings = BTreeMap::from([("PGW_STATE_DIR", state.path().to_str().unwrap())]);
        let range = Range::new(&AgentSettings::read(&settings).unwrap(), kernel.clone());
        let drill = Arc::new(Keeper::new(range, status.clone()));
        let neighbours = Arc::new(Mutex::new(Some(Neighbour {
            ip: [10, 0, 0, 3].into(),
            mac: Mac::new([2, 0, 0, 0, 0, 3]).unwrap(),
            state: State::Reachable,
        })));
        let agent =
            Agent { auth, wake, status, kernel: kernel.clone(), drill, neighbours: neighbours.clone() };
        Self { router: router(Arc::new(agent)), api, kernel, neighbours, state }
    }

    async fn call(&self, method: &str, path: &str, token: &str) -> Told {
        let bearer = format!("Bearer {token}");
        let given = [("authorization", bearer.as_str())];
        self.call_with(method, path, if token.is_empty() { &[] } else { &given }).await
    }

    async fn call_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Told {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let header = |name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (content_type, challenge) = (header("content-type"), header("www-authenticate"));
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        Told { status, content_type: content_type.unwrap_or_default(), challenge, body }
    }
}

impl Told {
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.content_type.as_str()), (status, "application/problem+json"));
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {problem}");
        }
    }
}

#[tokio::test]
async fn a_reconcile_answers_with_what_the_kernel_holds() {
    let house = House::new(true);
    let told = house.call("POST", "/agent/reconcile", INTERNAL).await;
    assert_eq!(told.status, StatusCode::OK);
    let report: ReconcileReport = serde_json::from_str(&told.body).unwrap();
    assert_eq!((report.generation.0, report.clients, report.applied.len()), (7, 2, 1));
    let told = house.call("GET", "/agent/status", "victor").await;
    assert!(told.body.contains("\"generation\":7"), "{}", told.body);
    let told = house.call("GET", "/agent/ruleset", "victor").await;
    assert!(told.content_type.starts_with("text/plain"), "{}", told.content_type);
    assert!(told.body.contains("chain forward"), "{}", told.body);
}

#[tokio::test]
async fn the_neighbours_are_told_or_why_they_cannot_be() {
    let house = House::new(true);
    let told = house.call("GET", "/agent/neighbours", "victor").await;
    let expected = r#"{"items":[{"ip":"10.0.0.3","mac":"02:00:00:00:00:03","state":"reachable"}]}"#;
    assert_eq!((told.status, told.body.as_str()), (StatusCode::OK, expected));
    *house.neighbours.lock().unwrap() = None;
    let told = house.call("GET", "/agent/neighbours", "victor").await;
    told.is_problem(500, "neighbours_unreadable");
    assert!(told.body.contains("No such device"), "{}", told.body);
    house.call("GET", "/agent/neighbours", "").await.is_problem(401, "unauthorized");
}

#[tokio::test]
async fn who_may_do_what() {
    let house = House::new(true);
    for (token, read, write) in [
        (INTERNAL, 200, 200),
        (ADMIN, 200, 200),
        ("alice", 200, 200),
        ("olga", 200, 403),
        ("victor", 200, 403),
        ("mallory", 401, 401),
        ("", 401, 401),
        ("two words", 401, 401),
    ] {
        let status = house.call("GET", "/agent/status", token).await.status.as_u16();
        let reconcile = house.call("POST", "/agent/reconcile", token).await.status.as_u16();
        assert_eq!((status, reconcile), (read, write), "{token:?}");
    }
    let told = house.call("GET", "/agent/status", "").await;
    told.is_problem(401, "unauthorized");
    assert!(told.challenge.is_some_and(|challenge| challenge.starts_with("Bearer")));
    house.call("POST", "/agent/reconcile", "victor").await.is_problem(403, "forbidden");
}

#[tokio::test]
async fn a_session_is_vouched_for_like_a_token_and_writes_from_a_page_of_ours_only() {
    let house = House::new(true);
    let cookie = format!("pgw_session={SESSION}");
    let cookie = ("cookie", cookie.as_str());
    assert_eq!(house.call_with("GET", "/agent/status", &[cookie]).await.status, StatusCode::OK);
    let unknown = format!("pgw_session={}", SESSION.replace('0', "x"));
    house.call_with("GET", "/agent/status", &[("cookie", &unknown)]).await.is_problem(401, "unauthorized");
    // What a session is called opens nothing as a token, nor the other way round.
    house.call("GET", "/agent/status", SESSION).await.is_problem(401, "unauthorized");
    let wrong = [cookie, ("authorization", "Bearer mallory")];
    house.call_with("GET", "/agent/status", &wrong).await.is_problem(401, "unauthorized");

    let host = ("x-forwarded-host", "gw.lan:8081");
    for (page, ours) in [
        (vec![host, ("origin", "http://gw.lan:8081")], true),
        (vec![("sec-fetch-site", "same-origin")], true),
        (vec![host, ("origin", "http://gw.lan:3000")], false),
        (vec![host], false),
    ] {
        let told = house.call_with("POST", "/agent/reconcile", &[&[cookie], page.as_slice()].concat()).await;
        if ours {
            assert_eq!(told.status, StatusCode::OK, "{page:?}");
        } else {
            told.is_problem(403, "foreign_origin");
        }
    }
}

#[tokio::test]
async fn without_the_api_known_tokens_are_good_and_others_are_told_why_not() {
    let house = House::new(false);
    for token in [INTERNAL, ADMIN] {
        assert_eq!(house.call("GET", "/agent/status", token).await.status, StatusCode::OK);
    }
    let told = house.call("GET", "/agent/status", "alice").await;
    told.is_problem(503, "api_unreachable");
    assert!(told.body.contains("connection refused"), "{}", told.body);
}

#[tokio::test]
async fn an_internal_token_that_was_made_anew_is_good_at_once_and_the_old_one_no_longer() {
    let house = House::new(true);
    assert_eq!(house.call("GET", "/agent/status", INTERNAL).await.status, StatusCode::OK);
    std::fs::write(internal_token_file(house.state.path()), "another-token\n").unwrap();
    assert_eq!(house.call("GET", "/agent/status", "another-token").await.status, StatusCode::OK);
    assert_eq!(house.call("GET", "/agent/status", INTERNAL).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn what_the_api_said_of_a_token_is_remembered_for_five_seconds() {
    let house = House::new(true);
    let asked = || house.api.asked.load(Ordering::SeqCst);
    for token in ["victor", "victor", "mallory", "mallory"] {
        house.call("GET", "/agent/status", token).await;
    }
    assert_eq!(asked(), 2);
    tokio::time::advance(Duration::from_secs(6)).await;
    house.call("GET", "/agent/status", "victor").await;
    assert_eq!(asked(), 3);
}

/// G41.
#[tokio::test(start_paused = true)]
async fn who_is_no_longer_known_writes_nothing_from_then_on_and_soon_reads_nothing() {
    let house = House::new(true);
    let cookie = format!("pgw_session={SESSION}");
    let session = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let token = [("authorization", "Bearer alice")];
    let call = async |method, path, headers: &[(&str, &str)]| {
        house.call_with(method, path, headers).await.status.as_u16()
    };
    for given in [&session[..], &token] {
        assert_eq!(call("GET", "/agent/status", given).await, 200);
        assert_eq!(call("POST", "/agent/reconcile", given).await, 200);
    }
    house.api.revoked.store(true, Ordering::SeqCst);
    assert_eq!(call("GET", "/agent/status", &session).await, 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(call("GET", "/agent/status", &session).await, 401);
    assert_eq!(call("GET", "/agent/status", &token).await, 200);
    for given in [&session[..], &token] {
        assert_eq!(call("POST", "/agent/reconcile", given).await, 401);
        assert_eq!(call("POST", "/agent/drill", given).await, 401);
    }
    assert_eq!(call("GET", "/agent/status", &token).await, 401, "what was found out meanwhile counts");
}

#[tokio::test]
async fn every_failure_of_a_reconcile_is_a_problem_with_its_reason() {
    let down = House::new(false);
    down.call("POST", "/agent/reconcile", ADMIN).await.is_problem(503, "api_unreachable");

    let house = House::new(true);
    *house.api.set.lock().unwrap() = Ok(active(8, &[(3, 80)], &[]));
    house.call("POST", "/agent/reconcile", ADMIN).await.is_problem(502, "active_set_refused");
    let refused = ApiError::Refused { path: "/v1/mappings/active", status: 500 };
    *house.api.set.lock().unwrap() = Err(refused);
    house.call("POST", "/agent/reconcile", ADMIN).await.is_problem(502, "api_answer_unusable");

    *house.api.set.lock().unwrap() = Ok(active(8, &[(5, 15005)], &[]));
    *house.kernel.failure.lock().unwrap() = Some(KernelError::NotInstalled);
    let told = house.call("POST", "/agent/reconcile", ADMIN).await;
    told.is_problem(500, "nft_not_installed");
    assert!(told.body.contains("nft is not installed"), "{}", told.body);
}

#[tokio::test]
async fn health_is_for_everybody_and_all_else_is_a_problem() {
    let house = House::new(true);
    let told = house.call("GET", "/healthz", "").await;
    assert_eq!((told.status, told.body.as_str()), (StatusCode::OK, r#"{"status":"ok"}"#));
    house.call("GET", "/", "").await.is_problem(404, "not_found");
    house.call("GET", "/agent/unknown", ADMIN).await.is_problem(404, "not_found");
    house.call("GET", "/agent/reconcile", ADMIN).await.is_problem(405, "method_not_allowed");
    house.call("DELETE", "/agent/status", ADMIN).await.is_problem(405, "method_not_allowed");
    house.call("POST", "/healthz", "").await.is_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn a_drill_is_answered_with_what_it_found_and_is_not_for_viewers() {
    let house = House::new(true);
    assert_eq!(house.call("POST", "/agent/drill", "olga").await.status, 200);
    assert_eq!(house.call("POST", "/agent/drill", "victor").await.status, 403);
    // No rules are there yet.
    let told = house.call("POST", "/agent/drill", INTERNAL).await;
    let drill: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!((told.status.as_u16(), &drill["outcome"]), (200, &json!("not_run")), "{drill}");
    let status = house.call("GET", "/agent/status", "victor").await;
    let status: Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(status["drill"], drill);

    let range = KernelGround {
        state_dir: house.state.path().to_owned(),
        lan_if: String::new(),
        wan_if: String::new(),
    };
    let _turn = range.turn().unwrap();
    house.call("POST", "/agent/drill", INTERNAL).await.is_problem(409, "drill_not_begun");
}

#[tokio::test]
async fn what_happened_is_told_to_who_may_read_from_where_they_left_off() {
    let house = House::new(true);
    let first = house.call("GET", "/agent/events?wait=20", "victor").await;
    let first: News = serde_json::from_str(&first.body).unwrap();
    assert_eq!((first.last, first.items.len()), (0, 0), "a stranger is not kept waiting");
    house.call("POST", "/agent/drill", INTERNAL).await;
    let path = format!("/agent/events?run={}&after=0&wait=20", first.run);
    let news: News = serde_json::from_str(&house.call("GET", &path, "victor").await.body).unwrap();
    assert!(matches!(&news.items[..], [item] if item.number == 1), "{news:?}");
    let path = format!("/agent/events?run={}&after=1", first.run);
    let news: News = serde_json::from_str(&house.call("GET", &path, "victor").await.body).unwrap();
    assert_eq!((news.last, news.items.len()), (1, 0));
    house.call("GET", "/agent/events", "").await.is_problem(401, "unauthorized");
    house.call("GET", "/agent/events?after=x", ADMIN).await.is_problem(400, "validation_failed");
}
