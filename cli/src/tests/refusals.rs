//! What the gateway refuses, and what it does not answer at all.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fake::{Fake, page, pgw, serve};

fn problem(status: u16, code: &str, detail: &str) -> Value {
    json!({"type": "about:blank", "title": "t", "status": status, "code": code, "detail": detail,
        "errors": if status == 400 { json!([{"pointer": "/ip_cidr", "detail": "is IPv6"}]) } else { json!([]) }})
}

#[tokio::test]
async fn each_refusal_is_told_in_words_with_an_exit_code_of_its_own_and_never_as_json() {
    for (status, code, want) in [
        (400, "validation_failed", 2),
        (401, "unauthorized", 5),
        (403, "forbidden", 5),
        (404, "not_found", 3),
        (409, "address_taken", 4),
        (412, "precondition_failed", 4),
        (429, "too_many_attempts", 5),
        (500, "internal", 1),
        (503, "database_unavailable", 6),
    ] {
        let refusal = problem(status, code, "why it is so");
        let gateway = Fake::default().on("POST /v1/clients", status, refusal).start().await;
        let told = gateway.pgw("client add tv 10.0.0.3").await;
        assert_eq!(told.code, want, "{status}");
        assert!(told.err.starts_with(&format!("pgw: why it is so ({code})")), "{}", told.err);
        assert!(!told.err.contains('{') && told.out.is_empty(), "{}", told.err);
        assert_eq!(told.err.contains("\n  ip_cidr: is IPv6"), status == 400);
        assert_eq!(told.err.contains("pgw login"), status == 401);
    }
}

#[tokio::test]
async fn nobody_there_a_foreign_service_and_a_redirect_are_told_apart() {
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let told = pgw(&format!("http://{nobody}"), "proxy list", "").await;
    assert_eq!(told.code, 6);
    assert!(
        told.err.contains("does not answer: connection refused") && !told.err.contains("may have been done"),
        "{}",
        told.err
    );
    let page = Router::new().route("/v1/proxies", get(|| async { "<html>" }));
    let told = pgw(&serve(page).await, "proxy list", "").await;
    assert!(told.code == 1 && told.err.contains("not as a gateway of pgw"), "{}", told.err);
    let moved = || async { (axum::http::StatusCode::FOUND, [("location", "http://192.0.2.1/")]) };
    let told = pgw(&serve(Router::new().route("/v1/proxies", get(moved))).await, "proxy list", "").await;
    assert!(told.code == 1 && told.err.contains("answered 302"), "{}", told.err);
}

#[tokio::test]
async fn a_write_whose_answer_is_missing_may_have_been_done_and_that_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Its request is read, and nothing answered.
            let mut bytes = [0; 4096];
            let _read = tokio::io::AsyncReadExt::read(&mut stream, &mut bytes).await;
        }
    });
    let told = pgw(&url, "client add tv 10.0.0.3", "").await;
    assert!(told.code == 6 && told.err.contains("may have been done"), "{}", told.err);
}

#[tokio::test]
async fn status_fails_where_the_gateway_is_not_ready_and_tells_what_is_missing() {
    let ready = |ready: bool| json!({"ready": ready, "checks": [{"name": "agent", "ok": ready, "detail": if ready { "it answers" } else { "no answer" }}]});
    let fake = |status: u16, is_ready: bool| {
        Fake::default()
            .on("GET /readyz", status, ready(is_ready))
            .on("GET /version", 200, json!({"version": "0.1.0"}))
            .on("GET /v1/gateways", 200, page(json!([{"name": "gw", "online": true, "clients": 2}])))
            .on(
                "GET /v1/proxies",
                200,
                page(json!([{"name": "de1", "health": {"status": "DOWN", "error": "refused"}}])),
            )
            .on("GET /v1/apply", 200, json!({"waiting": {"id": "a", "confirm_by": "T"}}))
    };
    let told = fake(503, false).start().await.pgw("status").await;
    assert_eq!(told.code, 1);
    for words in ["not ready", "agent  no    no answer", "proxies: 1 DOWN", "refused", "undone at T unless"] {
        assert!(told.out.contains(words), "{words}: {}", told.out);
    }
    let told = fake(200, true).start().await.pgw("status -o json").await;
    assert_eq!(told.code, 0);
    let data: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&data["ready"], &data["proxies"]["DOWN"]), (&json!(true), &json!(1)));
}

#[tokio::test]
async fn a_leak_that_a_drill_finds_is_a_failure() {
    let drill = |outcome: &str| json!({"outcome": outcome, "detail": "what it found", "kinds": [{"kind": "udp", "sent": 4, "leaked": 0}]});
    for (outcome, want) in [("closed", 0), ("leaked", 1), ("not_run", 1)] {
        let gateway = Fake::default().on("POST /agent/drill", 200, drill(outcome)).start().await;
        let told = gateway.pgw("drill").await;
        assert_eq!(told.code, want, "{outcome}");
        assert!(told.out.starts_with("what it found\n"), "{}", told.out);
    }
}
