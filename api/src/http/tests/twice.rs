//! `Idempotency-Key`: asked twice, done once.

use std::sync::atomic::Ordering;

use super::*;

impl Gateway {
    async fn post_once(&self, token: &str, key: &str, path: &str, body: &Value) -> Answer {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", key);
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

fn client(last: u8) -> Value {
    json!({"name": "tv", "ip_cidr": format!("10.0.0.{last}")})
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_is_done_once() {
    let gateway = Gateway::new().await;
    let first = gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(7)).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replay")), (201, ""));
    gateway.engine.asked();
    let again = gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(7)).await;
    assert_eq!((again.status.as_u16(), again.header("idempotent-replay")), (201, "true"));
    assert_eq!(again.text, first.text);
    for header in ["location", "content-type"] {
        assert_eq!(again.header(header), first.header(header));
    }
    assert!(gateway.engine.asked().is_empty());
    assert_eq!(gateway.get("/v1/clients").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_one_callers_for_one_path_and_one_request() {
    let gateway = Gateway::new().await;
    gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(7)).await;
    let other = gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(8)).await;
    other.refused(422, "idempotency_key_reused");
    assert_eq!(gateway.post_once(OPERATOR, "key-1", "/v1/clients", &client(8)).await.status, 201);
    let proxy = json!({"url": URL, "name": "de1"});
    assert_eq!(gateway.post_once(ADMIN, "key-1", "/v1/proxies", &proxy).await.status, 201);
    gateway.post_once(ADMIN, "two words", "/v1/clients", &client(9)).await.invalid_at(&["/Idempotency-Key"]);
}

#[tokio::test]
async fn what_failed_did_nothing_and_may_be_tried_again() {
    let gateway = Gateway::new().await;
    let taken = gateway.make_client(7).await;
    let body = json!({"name": "tv", "ip_cidr": "192.168.2.7"});
    gateway.post_once(ADMIN, "key-1", "/v1/clients", &body).await.refused(409, "address_taken");
    assert_eq!(gateway.delete(&format!("/v1/clients/{taken}")).await.status, 204);
    assert_eq!(gateway.post_once(ADMIN, "key-1", "/v1/clients", &body).await.status, 201);
}

#[tokio::test]
async fn asked_again_too_soon_it_is_under_way_and_later_it_is_done() {
    let gateway = Arc::new(Gateway::new().await);
    gateway.engine.stuck.store(true, Ordering::SeqCst);
    let first = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(7)).await }
    });
    gateway.engine.entered.notified().await;
    let early = gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(7)).await;
    early.refused(409, "idempotency_in_progress");
    assert_eq!(early.header("retry-after"), "1");
    gateway.engine.stuck.store(false, Ordering::SeqCst);
    gateway.engine.released.notify_one();
    let first = first.await.unwrap();
    let late = gateway.post_once(ADMIN, "key-1", "/v1/clients", &client(7)).await;
    assert_eq!(
        (first.status, late.text.clone(), late.header("idempotent-replay")),
        (late.status, first.text, "true")
    );
}

#[tokio::test]
async fn the_answer_that_made_a_token_is_kept_and_lies_nowhere_in_clear() {
    let gateway = Gateway::new().await;
    let body = json!({"name": "ci", "role": "viewer"});
    let made = gateway.post_once(ADMIN, "key-1", "/v1/tokens", &body).await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(gateway.post_once(ADMIN, "key-1", "/v1/tokens", &body).await.json()["token"], token);
    let Gateway { place, .. } = gateway;
    for entry in std::fs::read_dir(place.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        let found = content.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!found, "{}", path.display());
    }
}
