//! `/v1/users`.

use super::*;

#[tokio::test]
async fn users_are_made_listed_changed_and_removed_and_never_tell_a_password() {
    let gateway = Gateway::new().await;
    let body = json!({"name": " alice ", "role": "operator", "password": LOGIN});
    let made = gateway.post("/v1/users", body).await;
    assert_eq!((made.status.as_u16(), made.header("etag")), (201, "\"1\""), "{}", made.text);
    let user = made.json();
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    assert_eq!(made.header("location"), path);
    assert_eq!(
        [&user["name"], &user["role"], &user["revision"]],
        [&json!("alice"), &json!("operator"), &json!(1)]
    );
    assert!(user.get("password").is_none() && !made.text.contains("argon2"), "{}", made.text);
    let got = gateway.get(&path).await;
    assert_eq!((got.json(), got.header("etag")), (user, "\"1\""));

    let changed = gateway.patch(&path, json!({"role": "viewer"})).await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"2\""));
    assert_eq!(changed.json()["role"], "viewer");
    gateway.make_user("bob", "viewer").await;
    let listed = gateway.get("/v1/users?limit=1").await.json();
    assert_eq!(listed["items"][0]["name"], "alice");
    let next =
        gateway.get(&format!("/v1/users?q=BO&cursor={}", listed["next_cursor"].as_str().unwrap())).await;
    assert_eq!(next.json()["items"][0]["name"], "bob");

    assert_eq!(gateway.delete(&path).await.status, 204);
    gateway.get(&path).await.refused(404, "not_found");
    gateway.patch(&path, json!({})).await.refused(404, "not_found");
    gateway.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn every_mistake_in_a_user_is_told() {
    let gateway = Gateway::new().await;
    gateway.post("/v1/users", json!({})).await.invalid_at(&["/name", "/role", "/password"]);
    let wrong = json!({"name": "", "role": "root", "password": "elevenchars", "x": 1});
    gateway.post("/v1/users", wrong).await.invalid_at(&["/name", "/role", "/password", "/x"]);
    let long = json!({"name": "a", "role": "admin", "password": "x".repeat(1025)});
    gateway.post("/v1/users", long).await.invalid_at(&["/password"]);
    gateway.make_user("alice", "viewer").await;
    let twice = json!({"name": "alice", "role": "admin", "password": LOGIN});
    gateway.post("/v1/users", twice).await.refused(409, "name_taken");
}

#[tokio::test]
async fn the_last_admin_stays_one() {
    let gateway = Gateway::new().await;
    let alice = format!("/v1/users/{}", gateway.make_user("alice", "admin").await);
    gateway.make_user("olga", "operator").await;
    gateway.delete(&alice).await.refused(409, "last_admin");
    gateway.patch(&alice, json!({"role": "viewer"})).await.refused(409, "last_admin");
    assert_eq!(gateway.patch(&alice, json!({"role": "admin", "name": "al"})).await.status, 200);
    let bob = format!("/v1/users/{}", gateway.make_user("bob", "admin").await);
    assert_eq!(gateway.patch(&alice, json!({"role": "viewer"})).await.status, 200);
    gateway.delete(&bob).await.refused(409, "last_admin");
}

#[tokio::test]
async fn of_two_admins_who_remove_each_other_one_stays() {
    for _ in 0..5 {
        let gateway = Gateway::new().await;
        let alice = format!("/v1/users/{}", gateway.make_user("alice", "admin").await);
        let bob = format!("/v1/users/{}", gateway.make_user("bob", "admin").await);
        let (one, two) = tokio::join!(gateway.delete(&alice), gateway.delete(&bob));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409]);
    }
}
