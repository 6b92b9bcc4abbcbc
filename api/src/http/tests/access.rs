//! Who may do what.

use uuid::Uuid;

use super::*;

/// Every call, with a body that would be taken.
fn calls() -> Vec<(Method, String, Option<Value>)> {
    let id = Uuid::nil();
    let mut calls = vec![
        (Method::GET, "/v1/mappings/active".to_owned(), None),
        (Method::GET, "/v1/me".to_owned(), None),
        (Method::GET, "/v1/explain?client=192.168.2.9".to_owned(), None),
        (Method::GET, "/v1/tokens".to_owned(), None),
        (Method::POST, "/v1/tokens".to_owned(), Some(json!({"name": "x", "role": "admin"}))),
        (Method::DELETE, format!("/v1/tokens/{id}"), None),
        (Method::POST, format!("/v1/proxies/{id}/check"), None),
        (Method::POST, "/v1/me/password".to_owned(), Some(json!({}))),
        (Method::POST, "/v1/logout".to_owned(), None),
    ];
    for list in ["/v1/proxies", "/v1/clients", "/v1/mappings", "/v1/users"] {
        calls.push((Method::GET, list.to_owned(), None));
        calls.push((Method::POST, list.to_owned(), Some(json!({}))));
        calls.push((Method::GET, format!("{list}/{id}"), None));
        calls.push((Method::PATCH, format!("{list}/{id}"), Some(json!({}))));
        calls.push((Method::DELETE, format!("{list}/{id}"), None));
    }
    calls
}

#[tokio::test]
async fn without_a_valid_token_nothing_is_told() {
    let gateway = Gateway::new().await;
    let revoked = gateway.post("/v1/tokens", json!({"name": "old", "role": "admin"})).await.json();
    let (id, text) = (revoked["id"].as_str().unwrap(), revoked["token"].as_str().unwrap());
    assert_eq!(gateway.call(text, Method::GET, "/v1/me", None).await.status, 200);
    assert_eq!(gateway.delete(&format!("/v1/tokens/{id}")).await.status, 204);
    for (method, path, body) in calls() {
        for token in [text, "pgw_guessed-by-somebody-else", "x", &"x".repeat(5000)] {
            gateway.call(token, method.clone(), &path, body.clone()).await.refused(401, "unauthorized");
        }
        let bare = Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
        gateway.send(bare).await.refused(401, "unauthorized");
    }
}

#[tokio::test]
async fn a_viewer_reads_and_changes_nothing() {
    let gateway = Gateway::new().await;
    for (method, path, body) in calls() {
        if path == "/v1/logout" {
            continue;
        }
        let answer = gateway.call(VIEWER, method.clone(), &path, body).await;
        if method != Method::GET || ["/v1/tokens", "/v1/users"].iter().any(|start| path.starts_with(start)) {
            answer.refused(403, "forbidden");
        } else {
            let expected = if path.contains(&Uuid::nil().to_string()) { 404 } else { 200 };
            assert_eq!(answer.status, expected, "{method} {path}");
        }
    }
    let head = gateway.call(VIEWER, Method::HEAD, "/v1/proxies", None).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn an_operator_changes_devices_and_no_proxy_and_no_account() {
    let gateway = Gateway::new().await;
    for (method, path, body) in calls() {
        let answer = gateway.call(OPERATOR, method.clone(), &path, body).await;
        let accounts = ["/v1/tokens", "/v1/users"].iter().any(|start| path.starts_with(start));
        let proxies = path.starts_with("/v1/proxies") && !path.ends_with("/check") && method != Method::GET;
        let own = path == "/v1/me/password";
        assert_eq!(answer.status == 403, accounts || proxies || own, "{method} {path}: {}", answer.text);
    }
    let answer = gateway.call(OPERATOR, Method::POST, "/v1/proxies", Some(json!({}))).await;
    answer.refused(403, "forbidden");
    assert!(answer.json()["detail"].as_str().unwrap().contains("role admin"), "{}", answer.text);
}

#[tokio::test]
async fn the_internal_token_opens_two_calls_only() {
    let gateway = Gateway::new().await;
    for (method, path, body) in calls() {
        let answer = gateway.call(INTERNAL, method.clone(), &path, body).await;
        if ["/v1/mappings/active", "/v1/me"].contains(&path.as_str()) {
            assert_eq!(answer.status, 200, "{method} {path}");
        } else {
            answer.refused(403, "forbidden");
        }
    }
    let set = gateway.call(INTERNAL, Method::GET, "/v1/mappings/active", None).await.json();
    assert_eq!(set["generation"], 7);
}

#[tokio::test]
async fn everybody_learns_who_they_are() {
    let gateway = Gateway::new().await;
    for (token, name, role) in [
        (ADMIN, "admin", "admin"),
        (OPERATOR, "operator", "operator"),
        (VIEWER, "viewer", "viewer"),
        (INTERNAL, "internal", "viewer"),
    ] {
        let me = gateway.call(token, Method::GET, "/v1/me", None).await.json();
        let want = json!({"name": name, "role": role, "kind": "token", "user_id": null, "expires_at": null});
        assert_eq!(me, want);
    }
}

#[tokio::test]
async fn a_new_token_is_told_once_and_works_until_it_is_revoked() {
    let gateway = Gateway::new().await;
    let made = gateway.post("/v1/tokens", json!({"name": "grafana", "role": "viewer"})).await;
    assert_eq!(made.status, 201);
    let made = made.json();
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("pgw_") && token.len() == 47);
    assert_eq!(gateway.call(token, Method::GET, "/v1/clients", None).await.status, 200);
    let listed = gateway.get("/v1/tokens").await.json();
    let last = listed["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        [&last["name"], &last["role"], &last["revoked_at"]],
        [&json!("grafana"), &json!("viewer"), &Value::Null]
    );
    let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
    assert_eq!(gateway.get(&path).await.json(), last);
    assert_eq!(gateway.delete(&path).await.status, 204);
    assert!(gateway.get(&path).await.json()["revoked_at"].is_string());
    gateway.call(token, Method::GET, "/v1/clients", None).await.refused(401, "unauthorized");
    gateway.delete(&format!("/v1/tokens/{}", Uuid::nil())).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_token_from_the_settings_takes_the_place_of_the_first_one_only() {
    let Gateway { store, place, .. } = Gateway::new().await;
    let first = NewToken {
        name: crate::credentials::FIRST_RUN.into(),
        role: Role::Admin,
        hash: super::super::auth::hash("the first token"),
    };
    store.create_token(first).await.unwrap();
    let chosen = Secret::new("chosen by the operator");
    let ports = PortRange::spanning(1, 2);
    let gateway = Gateway::over(store, place, ports.clone(), Some(&chosen));
    let me = async |gateway: &Gateway, token: &str| gateway.call(token, Method::GET, "/v1/me", None).await;
    assert_eq!(me(&gateway, chosen.expose()).await.json()["role"], "admin");
    me(&gateway, "the first token").await.refused(401, "unauthorized");
    assert_eq!(me(&gateway, VIEWER).await.status, 200, "tokens that were made over the API go on working");
    let Gateway { store, place, .. } = gateway;
    let gateway = Gateway::over(store, place, ports, None);
    assert_eq!(me(&gateway, "the first token").await.status, 200);
    me(&gateway, chosen.expose()).await.refused(401, "unauthorized");
}
