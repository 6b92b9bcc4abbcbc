//! What stands in the way, and a database that cannot be used.

use sqlx::{Connection, SqliteConnection};

use super::*;

#[tokio::test]
async fn what_is_taken_is_a_conflict_with_a_stable_code() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    gateway.make_mapping(&client, &proxy).await;
    for (path, body, code, pointer) in [
        ("/v1/proxies", json!({"url": URL, "name": "de1"}), "name_taken", "/name"),
        ("/v1/clients", json!({"name": "other", "ip_cidr": "192.168.2.3"}), "address_taken", "/ip_cidr"),
        ("/v1/clients", json!({"name": "other", "ip_cidr": "192.168.2.3/32"}), "address_taken", "/ip_cidr"),
        ("/v1/mappings", json!({"client_id": client, "proxy_id": proxy}), "pair_taken", "/proxy_id"),
        ("/v1/tokens", json!({"name": "viewer", "role": "admin"}), "name_taken", "/name"),
    ] {
        let answer = gateway.post(path, body).await;
        answer.refused(409, code);
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "{path}");
    }
    let other = gateway.make_client(4).await;
    let answer = gateway.patch(&format!("/v1/clients/{other}"), json!({"ip_cidr": "192.168.2.3"})).await;
    answer.refused(409, "address_taken");
}

#[tokio::test]
async fn an_exhausted_port_range_says_which() {
    let gateway = Gateway::with(PortRange::spanning(20000, 20000), PATIENCE).await;
    let proxy = gateway.make_proxy("de1").await;
    let (one, two) = (gateway.make_client(1).await, gateway.make_client(2).await);
    gateway.make_mapping(&one, &proxy).await;
    let answer = gateway.post("/v1/mappings", json!({"client_id": two, "proxy_id": proxy})).await;
    answer.refused(409, "ports_exhausted");
    assert!(answer.json()["detail"].as_str().unwrap().contains("20000..20000"), "{}", answer.text);
}

#[tokio::test]
async fn a_locked_database_is_a_503_that_says_so_and_nothing_changes() {
    let patience = Duration::from_millis(250);
    let gateway = Gateway::with(PortRange::spanning(15001, 15999), patience).await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    let mapping = gateway.make_mapping(&client, &proxy).await;
    gateway.engine.asked();
    let url = format!("sqlite://{}/pgw.db", gateway.place.path().display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("begin immediate").execute(&mut other).await.unwrap();

    let before = gateway.get("/v1/mappings").await.json();
    for (method, path, body) in [
        (Method::POST, "/v1/clients".to_owned(), Some(json!({"name": "tv", "ip_cidr": "10.0.0.1"}))),
        (Method::PATCH, format!("/v1/mappings/{mapping}"), Some(json!({"enabled": false}))),
        (Method::DELETE, format!("/v1/proxies/{proxy}?cascade=true"), None),
    ] {
        let answer = gateway.call(ADMIN, method, &path, body).await;
        answer.refused(503, "database_unavailable");
        assert!(answer.json()["detail"].as_str().unwrap().contains("locked"), "{}", answer.text);
    }
    let ready = gateway.get("/readyz").await;
    assert_eq!(ready.status, 503);
    let database = &ready.json()["checks"][0];
    assert_eq!([&database["name"], &database["ok"]], [&json!("database"), &json!(false)]);
    assert!(gateway.engine.asked().is_empty(), "nobody is woken for what did not happen");
    sqlx::query("rollback").execute(&mut other).await.unwrap();
    assert_eq!(gateway.get("/v1/mappings").await.json(), before);
    gateway.a_while_later().await;
    assert_eq!(gateway.get("/readyz").await.status, 200);
}
