//! `/v1/webhooks`.

use super::*;
use crate::webhooks::fake::failed;

#[tokio::test]
async fn a_webhook_is_made_read_changed_and_removed_and_its_secret_shown_once() {
    let gateway = Gateway::new().await;
    let body = json!({"name": "alarm", "url": "https://example.org/pgw", "kinds": ["drift", "mapping.state", "drift"]});
    let made = gateway.post("/v1/webhooks", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() > 40);
    let path = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let status =
        json!({"last_ok_at": null, "failing_since": null, "last_error": null, "waiting": 0, "given_up": 0});
    let read = gateway.get(&path).await.json();
    assert_eq!(read["status"], status);
    assert_eq!((&read["kinds"], &read["has_secret"]), (&json!(["mapping.state", "drift"]), &json!(true)));
    let changed = gateway.patch(&path, json!({"kinds": [], "enabled": false})).await.json();
    assert_eq!(
        (&changed["revision"], &changed["kinds"], &changed["enabled"]),
        (&json!(2), &json!([]), &json!(false))
    );
    let list = gateway.get("/v1/webhooks").await;
    assert_eq!(list.json()["items"].as_array().unwrap().len(), 1);
    let journal = gateway.get("/v1/journal").await;
    for answer in [list, journal, gateway.get(&path).await] {
        assert!(!answer.text.contains(&secret) && !answer.text.contains("whsec_"), "{}", answer.text);
    }
    assert_eq!(gateway.delete(&path).await.status, 204);
    gateway.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_a_webhook_is_told() {
    let gateway = Gateway::new().await;
    let make = async |body: Value| gateway.post("/v1/webhooks", body).await;
    make(json!({})).await.invalid_at(&["/name", "/url"]);
    for url in ["https://bob:hunter2@example.org/", "ftp://example.org/", "example.org", ""] {
        let refused = make(json!({"name": "alarm", "url": url})).await;
        refused.invalid_at(&["/url"]);
        assert!(!refused.text.contains("hunter2"), "{}", refused.text);
    }
    let url = "https://example.org/";
    make(json!({"name": "alarm", "url": url, "kinds": ["weather"]})).await.invalid_at(&["/kinds"]);
    make(json!({"name": "alarm", "url": url, "secret": "mine"})).await.invalid_at(&["/secret"]);
    assert_eq!(make(json!({"name": "alarm", "url": url})).await.status, 201);
    make(json!({"name": "alarm", "url": url})).await.refused(409, "name_taken");
    for method in [Method::GET, Method::POST] {
        let body = (method == Method::POST).then(|| json!({"name": "v", "url": url}));
        gateway.call(VIEWER, method, "/v1/webhooks", body).await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn a_webhook_is_tried_out_once_and_it_is_told_how_that_went() {
    let gateway = Gateway::new().await;
    let body =
        json!({"name": "alarm", "url": "https://example.org/pgw", "kinds": ["drift"], "enabled": false});
    let id = gateway.make("/v1/webhooks", body).await;
    let path = format!("/v1/webhooks/{id}/test");
    let tried = async || gateway.call(ADMIN, Method::POST, &path, None).await.json();
    let good = tried().await;
    assert_eq!(
        (&good["delivered"], &good["status"], &good["error"]),
        (&json!(true), &json!(204), &Value::Null)
    );
    gateway.post.answers.lock().unwrap().push_back(failed("it answered 500"));
    let bad = tried().await;
    assert_eq!((&bad["delivered"], &bad["error"]), (&json!(false), &json!("it answered 500")));
    let told = gateway.post.told.lock().unwrap();
    let event = &told[0].event;
    assert_eq!((told.len(), &event["kind"], &event["data"]["webhook"]), (2, &json!("test"), &json!("alarm")));
    assert_ne!(told[0].message, told[1].message);
}
