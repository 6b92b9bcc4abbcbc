//! Everything that goes wrong is told in one shape (which `Gateway::send` checks every time).

use std::sync::atomic::Ordering;

use super::*;

async fn post(gateway: &Gateway, kind: Option<&str>, body: impl Into<Body>) -> Answer {
    let mut request = Request::post("/v1/clients").header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
    if let Some(kind) = kind {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    gateway.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let gateway = Gateway::new().await;
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v2/proxies",
        "/v1/proxies/",
        "/v1/proxies/not-an-id",
        "/v1/clients/%00",
        "/v1/mappings/00000000-0000-0000-0000-000000000000",
        "/docs/nothing.js",
    ] {
        gateway.get(path).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_tells_the_right_ones() {
    let gateway = Gateway::new().await;
    for (method, path, allowed) in [
        (Method::PUT, "/v1/proxies", "GET,HEAD,POST"),
        (Method::POST, "/v1/me", "GET,HEAD"),
        (Method::DELETE, "/v1/mappings/active", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
    ] {
        let answer = gateway.call(ADMIN, method, path, None).await;
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allowed, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_told_what_it_is_without_being_repeated() {
    let gateway = Gateway::new().await;
    let json = Some("application/json");
    for body in ["", "{", "{\"password\": correct:horse}", "nul", "\u{0}", "{}{}", &"[".repeat(5000)] {
        post(&gateway, json, body.to_owned()).await.refused(400, "malformed_json");
    }
    post(&gateway, json, vec![0xff, 0xfe]).await.refused(400, "malformed_json");
    for body in ["[]", "null", "\"text\"", "7"] {
        let answer = post(&gateway, json, body).await;
        answer.invalid_at(&[""]);
        assert_eq!(answer.json()["detail"], "the body must be a JSON object");
    }
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")] {
        post(&gateway, kind, "{}").await.refused(415, "unsupported_media_type");
    }
    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"] {
        post(&gateway, Some(kind), "{}").await.refused(400, "validation_failed");
    }
}

#[tokio::test]
async fn a_body_over_a_megabyte_is_413() {
    let gateway = Gateway::new().await;
    let note = "x".repeat(1024 * 1024);
    post(&gateway, Some("application/json"), json!({"note": note}).to_string())
        .await
        .refused(413, "payload_too_large");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_so() {
    let gateway = Gateway::new().await;
    let chunks = [Ok::<_, std::io::Error>("{"), Err(std::io::Error::other("gone"))];
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    post(&gateway, Some("application/json"), body).await.refused(400, "malformed_json");
}

#[tokio::test]
async fn a_panic_is_a_500_that_tells_nothing_of_the_inside() {
    let gateway = Gateway::new().await;
    gateway.engine.troubled.store(true, Ordering::SeqCst);
    let answer = gateway.send(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    answer.is_a_problem("GET /readyz");
    answer.refused(500, "internal");
    assert!(!answer.text.contains("in itself"), "{}", answer.text);
}

#[tokio::test]
async fn a_check_that_the_gateway_cannot_make_is_a_503_and_not_the_proxys_failure() {
    let gateway = Gateway::new().await;
    let proxy = gateway.make_proxy("de1").await;
    gateway.engine.unable.store(true, Ordering::SeqCst);
    let answer = gateway.post(&format!("/v1/proxies/{proxy}/check"), json!({})).await;
    answer.refused(503, "check_impossible");
    assert!(answer.text.contains("no files left"), "{}", answer.text);
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_is_replaced() {
    let gateway = Gateway::new().await;
    let ask = async |id: &str| {
        let request = Request::get("/healthz").header("x-request-id", id).body(Body::empty()).unwrap();
        gateway.send(request).await.header("x-request-id").to_owned()
    };
    assert_eq!(ask("ci-run_7.a").await, "ci-run_7.a");
    for id in ["", "two words", "<script>", &"x".repeat(65)] {
        let made = ask(id).await;
        assert!(made.parse::<uuid::Uuid>().is_ok(), "{id:?} became {made:?}");
    }
}

#[tokio::test]
async fn a_write_that_has_begun_is_finished_when_its_caller_hangs_up() {
    let gateway = Arc::new(Gateway::new().await);
    gateway.engine.stuck.store(true, Ordering::SeqCst);
    let caller = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.make_client(3).await }
    });
    gateway.engine.entered.notified().await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert!(gateway.engine.asked().is_empty());
    gateway.engine.released.notify_one();
    let client = loop {
        tokio::task::yield_now().await;
        if let Some(asked) = gateway.engine.asked().pop() {
            break asked;
        }
    };
    assert!(client.starts_with("settle "), "{client}");
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_a_503() {
    let Gateway { store, place, .. } = Gateway::new().await;
    let chosen = Secret::new("chosen by the operator");
    // With a token from the settings the call needs no database, whose threads know no paused clock.
    let gateway = Gateway::over(store, place, PortRange::spanning(1, 2), Some(&chosen));
    gateway.engine.stuck.store(true, Ordering::SeqCst);
    tokio::time::pause();
    let answer = gateway.call(chosen.expose(), Method::GET, "/v1/mappings/active", None).await;
    answer.refused(503, "timeout");
}
