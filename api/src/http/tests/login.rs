//! Logging in, the first admin, and sessions.

use super::*;
use crate::store::Users;

const OTHER: &str = "another dozen letters";

/// So that a page need not ask for what it may not have.
#[tokio::test]
async fn anybody_is_told_whether_he_is_signed_in() {
    let gateway = Gateway::new().await;
    gateway.make_user("ann", "viewer").await;
    let browser = gateway.log_in("ann", LOGIN).await;
    let signed_in = |answer: Answer| answer.json()["signed_in"].clone();
    assert_eq!(signed_in(browser.get("/v1/setup").await), true);
    assert_eq!(signed_in(gateway.get("/v1/setup").await), true);
    assert_eq!(signed_in(gateway.call("pgw_guessed", Method::GET, "/v1/setup", None).await), false);
    browser.post("/v1/logout", json!({})).await;
    assert_eq!(signed_in(browser.get("/v1/setup").await), false);
}

#[tokio::test]
async fn the_first_admin_is_made_once_and_is_logged_in() {
    let gateway = Gateway::new().await;
    let state = gateway.call_open_get("/v1/setup").await;
    assert_eq!(state["needed"], true);
    assert!(state["until"].is_string());
    let body = json!({"name": "alice", "password": LOGIN});
    let made = gateway.call_openly("/v1/setup", body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let me = gateway.with_cookie_of(&made).get("/v1/me").await.json();
    assert_eq!([&me["name"], &me["role"], &me["kind"]], ["alice", "admin", "session"]);
    assert_eq!(
        gateway.call_open_get("/v1/setup").await,
        json!({"needed": false, "until": null, "signed_in": false})
    );
    gateway
        .call_openly("/v1/setup", json!({"name": "eve", "password": LOGIN}))
        .await
        .refused(403, "setup_closed");

    gateway.call(VIEWER, Method::POST, "/v1/setup", Some(body.clone())).await.refused(403, "forbidden");
    gateway
        .call("pgw_guessed", Method::POST, "/v1/setup", Some(body.clone()))
        .await
        .refused(401, "unauthorized");
    gateway.post("/v1/setup", body).await.refused(409, "name_taken");
    let second = gateway.post("/v1/setup", json!({"name": "bob", "password": LOGIN})).await;
    assert_eq!((second.status.as_u16(), &second.json()["name"]), (201, &json!("bob")));
}

#[tokio::test]
async fn of_many_who_would_be_the_first_admin_one_is() {
    let gateway = Gateway::new().await;
    let all =
        (0..8).map(|n| gateway.call_openly("/v1/setup", json!({"name": format!("n{n}"), "password": LOGIN})));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(gateway.get("/v1/users").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn after_half_an_hour_the_first_admin_needs_a_token() {
    let gateway = Gateway::new().await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_mins(30)).await;
    tokio::time::resume();
    assert_eq!(
        gateway.call_open_get("/v1/setup").await,
        json!({"needed": true, "until": null, "signed_in": false})
    );
    let body = json!({"name": "alice", "password": LOGIN});
    gateway.call_openly("/v1/setup", body.clone()).await.refused(403, "setup_closed");
    assert_eq!(gateway.post("/v1/setup", body).await.status, 201);
}

#[tokio::test]
async fn a_session_opens_what_its_role_opens_until_it_is_ended() {
    let gateway = Gateway::new().await;
    gateway.make_user("olga", "operator").await;
    let olga = gateway.log_in("olga", LOGIN).await;
    assert_eq!(olga.get("/v1/clients").await.status, 200);
    let made = olga.post("/v1/clients", json!({"name": "tv", "ip_cidr": "10.0.0.7"})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    olga.post("/v1/proxies", json!({"url": URL})).await.refused(403, "forbidden");
    let elsewhere = gateway.log_in("olga", LOGIN).await;
    let out = olga.call(Method::POST, "/v1/logout", None).await;
    assert_eq!((out.status.as_u16(), out.header("set-cookie").contains("Max-Age=0")), (204, true));
    olga.get("/v1/me").await.refused(401, "unauthorized");
    assert_eq!(elsewhere.get("/v1/me").await.status, 200, "one session is not all of them");
    assert!(gateway.get("/v1/users").await.json()["items"][0]["last_login_at"].is_string());
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_are_the_same_answer() {
    let gateway = Gateway::new().await;
    gateway.make_user("alice", "admin").await;
    let mut told = Vec::new();
    for (name, password) in [("alice", OTHER), ("nobody", LOGIN), ("Alice", LOGIN)] {
        let answer = gateway.call_openly("/v1/login", json!({"name": name, "password": password})).await;
        answer.refused(401, "wrong_credentials");
        assert!(answer.headers.get("set-cookie").is_none());
        told.push(answer.json()["detail"].clone());
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn whoever_guesses_has_to_wait_and_is_told_how_long() {
    let gateway = Gateway::new().await;
    gateway.make_user("alice", "admin").await;
    let guess = json!({"name": "alice", "password": OTHER});
    for _ in 0..10 {
        gateway.call_openly("/v1/login", guess.clone()).await.refused(401, "wrong_credentials");
    }
    let answer = gateway.call_openly("/v1/login", guess).await;
    answer.refused(429, "too_many_attempts");
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    // Also the right one: else a guess would be told right by it.
    let right = gateway.call_openly("/v1/login", json!({"name": "alice", "password": LOGIN})).await;
    right.refused(429, "too_many_attempts");
    assert_eq!(gateway.get("/v1/me").await.status, 200, "a token is not held up");
}

#[tokio::test]
async fn another_password_or_another_role_ends_sessions_and_another_name_does_not() {
    let gateway = Gateway::new().await;
    gateway.make_user("root", "admin").await;
    let id = gateway.make_user("alice", "admin").await;
    let path = format!("/v1/users/{id}");
    for (patch, ends, name, password) in [
        (json!({"name": "alicia"}), false, "alice", LOGIN),
        (json!({"role": "viewer"}), true, "alicia", LOGIN),
        (json!({"role": "viewer", "name": "alice"}), false, "alicia", LOGIN),
        (json!({"password": OTHER}), true, "alice", LOGIN),
    ] {
        let alice = gateway.log_in(name, password).await;
        assert_eq!(gateway.patch(&path, patch.clone()).await.status, 200, "{patch}");
        assert_eq!(alice.get("/v1/me").await.status == 401, ends, "{patch}");
    }
    let alice = gateway.log_in("alice", OTHER).await;
    assert_eq!(gateway.delete(&path).await.status, 204);
    alice.get("/v1/me").await.refused(401, "unauthorized");
}

#[tokio::test]
async fn one_changes_ones_own_password_knowing_the_old_one_and_stays_logged_in() {
    let gateway = Gateway::new().await;
    gateway.make_user("victor", "viewer").await;
    let (here, there) = (gateway.log_in("victor", LOGIN).await, gateway.log_in("victor", LOGIN).await);
    let change = |current: &str, new: &str| json!({"current": current, "new": new});
    here.post("/v1/me/password", change(OTHER, OTHER)).await.refused(401, "wrong_credentials");
    here.post("/v1/me/password", change(LOGIN, "too short")).await.invalid_at(&["/new"]);
    let changed = here.post("/v1/me/password", change(LOGIN, OTHER)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(gateway.with_cookie_of(&changed).get("/v1/me").await.status, 200);
    for old in [&here, &there] {
        old.get("/v1/me").await.refused(401, "unauthorized");
    }
    gateway.log_in("victor", OTHER).await;
    let token = gateway.post("/v1/me/password", change(LOGIN, OTHER)).await;
    token.refused(403, "forbidden");
}

#[tokio::test]
async fn a_login_that_was_proven_with_a_former_password_opens_nothing() {
    let gateway = Gateway::new().await;
    let id = gateway.make_user("alice", "admin").await;
    let proven = gateway.store.user_by_name("alice").await.unwrap().unwrap();
    assert_eq!(gateway.patch(&format!("/v1/users/{id}"), json!({"password": OTHER})).await.status, 200);
    assert!(gateway.store.open_session(&proven, &[7; 32]).await.unwrap().is_none());
}

#[tokio::test]
async fn the_documents_open_to_a_session_too() {
    let gateway = Gateway::new().await;
    gateway.make_user("victor", "viewer").await;
    let victor = gateway.log_in("victor", LOGIN).await;
    assert_eq!(victor.get("/openapi.json").await.status, 200);
    assert_eq!(victor.get("/docs/").await.status, 200);
}

impl Gateway {
    async fn call_open_get(&self, path: &str) -> Value {
        let answer = self.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}
