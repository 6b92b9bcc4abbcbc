//! Secrets come by standard input or a file, are told once and alone, and are never arguments.

use serde_json::json;

use super::fake::{Fake, page};

#[tokio::test]
async fn a_password_in_an_argument_is_refused_before_anything_is_sent() {
    let gateway = Fake::default().start().await;
    for address in ["socks5://me:secret@h:1080", "h:1080:me:secret", "me:secret@h:1080"] {
        let told = gateway.pgw(&format!("proxy add de1 {address}")).await;
        assert_eq!((told.code, gateway.asked().len()), (2, 0), "{address}");
        assert!(told.err.contains("--password") && !told.err.contains("secret"), "{}", told.err);
    }
}

#[tokio::test]
async fn a_proxys_password_comes_by_standard_input_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p");
    std::fs::write(&file, "s3cret\nmore\n").unwrap();
    let gateway =
        Fake::default().on("POST /v1/proxies", 201, json!({"id": "p", "name": "de1"})).start().await;
    let told = gateway.pgw_with("proxy add de1 socks5://me@h:1080 --password", "s3cret\n").await;
    assert_eq!(told.out, "proxy de1 is added; its first check is under way\n", "{}", told.err);
    gateway.pgw(&format!("proxy add de1 socks5://me@h:1080 --password-file {}", file.display())).await;
    gateway.pgw_with("proxy add de1 -", "socks5://me:s3cret@h:1080\n").await;
    let want = json!({"name": "de1", "scheme": "socks5", "host": "h", "port": 1080, "username": "me", "password": "s3cret"});
    for asked in gateway.writes() {
        assert_eq!(asked.body, want);
    }
    assert_eq!(gateway.writes().len(), 3);
    let told = gateway.pgw_with("proxy add de1 me@h:1080 --password", "").await;
    assert_eq!((told.code, gateway.writes().len()), (2, 3), "an empty password is none: {}", told.err);
}

#[tokio::test]
async fn a_new_token_stands_alone_on_standard_output() {
    let made = json!({"id": "t", "name": "ci", "role": "viewer", "token": "T0KEN"});
    let gateway = Fake::default()
        .on("POST /v1/tokens", 201, made)
        .on("GET /v1/tokens", 200, page(json!([{"id": "t-1", "name": "ci"}, {"id": "t-2", "name": "ci"}])))
        .on("DELETE /v1/tokens/t-2", 204, json!(null))
        .on("POST /v1/users", 201, json!({"id": "u", "name": "alice"}))
        .start()
        .await;
    let told = gateway.pgw("token add ci --role operator").await;
    assert_eq!((told.out.as_str(), told.code), ("T0KEN\n", 0));
    assert!(told.err.contains("shown this once"), "{}", told.err);
    let told = gateway.pgw("token rm ci").await;
    assert!(told.code == 2 && told.err.contains("t-1") && told.err.contains("t-2"), "{}", told.err);
    assert_eq!(gateway.pgw("token rm t-2").await.out, "token ci is removed\n");
    gateway.pgw_with("user add alice --role admin", "correct horse battery\n").await;
    let bodies: Vec<_> = gateway.writes().into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies[0], json!({"name": "ci", "role": "operator"}));
    assert_eq!(bodies[2], json!({"name": "alice", "role": "admin", "password": "correct horse battery"}));
}

#[tokio::test]
async fn a_token_is_tried_before_it_is_kept() {
    let gateway = Fake::default()
        .on("GET /v1/me", 200, json!({"name": "ci", "role": "viewer", "kind": "token"}))
        .on(
            "GET /v1/me",
            401,
            json!({"status": 401, "title": "t", "code": "unauthorized", "detail": "not known"}),
        )
        .start()
        .await;
    let told = gateway.pgw_with("login", "typed\n").await;
    assert!(told.code == 0 && told.out.contains("knows you as ci, viewer"), "{}", told.err);
    assert_eq!(gateway.asked()[0].token, "Bearer typed");
    assert!(!told.out.contains("typed"), "{}", told.out);
    assert_eq!(gateway.pgw_with("login", "wrong\n").await.code, 5);
}
