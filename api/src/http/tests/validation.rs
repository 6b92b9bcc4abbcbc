//! What is not valid, told all at once and where.

use uuid::Uuid;

use super::*;

#[tokio::test]
async fn every_mistake_in_a_new_proxy_is_pointed_at() {
    let gateway = Gateway::new().await;
    let good = json!({"scheme": "http", "host": "h", "port": 1});
    let with = |more: Value| {
        let mut body = good.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let many_labels: Value =
        (0..33).map(|n| (format!("k{n}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["/scheme", "/host", "/port"]),
        (
            json!({"scheme": "ftp", "host": "a b", "port": 0, "extra": 1}),
            &["/scheme", "/host", "/port", "/extra"],
        ),
        (with(json!({"host": null, "port": "80", "scheme": 5})), &["/scheme", "/host", "/port"]),
        (with(json!({"port": 65536})), &["/port"]),
        (with(json!({"host": "1.2.3.256"})), &["/host"]),
        (with(json!({"name": "", "note": "x".repeat(1001)})), &["/name", "/note"]),
        (with(json!({"name": "x".repeat(101), "enabled": "yes"})), &["/name", "/enabled"]),
        (with(json!({"password": PASSWORD})), &["/password"]),
        (with(json!({"password": PASSWORD, "username": null})), &["/password"]),
        (with(json!({"username": "a:b"})), &["/username"]),
        (with(json!({"username": "", "password": ""})), &["/username", "/password"]),
        (with(json!({"username": "u", "password": "x".repeat(1025)})), &["/password"]),
        (with(json!({"scheme": "socks5", "username": "u:x", "password": "x".repeat(256)})), &["/password"]),
        (with(json!({"username": "u", "password": "a\r\nb"})), &["/password"]),
        (with(json!({"labels": ["a"]})), &["/labels"]),
        (with(json!({"labels": many_labels})), &["/labels"]),
        (with(json!({"labels": {"ok": "v", "a/b": 1, " ": "v"}})), &["/labels/a~1b", "/labels/ "]),
        (with(json!({"labels": {"k": "x".repeat(256)}})), &["/labels/k"]),
        (
            with(json!({"id": Uuid::nil(), "health": {}, "has_password": true})),
            &["/id", "/health", "/has_password"],
        ),
        (json!({"url": "socks5://h"}), &["/url"]),
        (json!({"url": "h:1"}), &["/url"]),
        (json!({"url": "ftp://h:1"}), &["/url"]),
        (json!({"url": 7, "name": 7}), &["/url", "/name"]),
        (json!({"url": URL, "host": "h", "password": null, "x": 1}), &["/host", "/password", "/x"]),
    ];
    for (body, pointers) in cases {
        gateway.post("/v1/proxies", body).await.invalid_at(pointers);
    }
    assert_eq!(gateway.get("/v1/proxies").await.json()["items"], json!([]));
    assert!(gateway.engine.asked().is_empty());
}

#[tokio::test]
async fn a_patch_clears_with_null_only_what_may_be_empty() {
    let gateway = Gateway::new().await;
    let path = format!("/v1/proxies/{}", gateway.make_proxy("de1").await);
    let all_null = json!({"name": null, "scheme": null, "host": null, "port": null, "enabled": null, "note": null, "labels": null});
    let pointers = ["/name", "/scheme", "/host", "/port", "/enabled", "/note", "/labels"];
    gateway.patch(&path, all_null).await.invalid_at(&pointers);
    gateway.patch(&path, json!({"username": null})).await.invalid_at(&["/password"]);
    gateway.patch(&path, json!({"url": URL, "health": null})).await.invalid_at(&["/url", "/health"]);
    assert_eq!(gateway.patch(&path, json!({"username": null, "password": null})).await.status, 200);
    gateway.patch(&path, json!({"password": PASSWORD})).await.invalid_at(&["/password"]);
    let both = json!({"username": "bob", "password": PASSWORD});
    assert_eq!(gateway.patch(&path, both).await.json()["has_password"], true);
}

#[tokio::test]
async fn a_client_is_one_usable_ipv4_address() {
    let gateway = Gateway::new().await;
    for address in [
        json!("192.168.2.0/24"),
        json!("192.168.2.3/31"),
        json!("fd00::1"),
        json!("fd00::1/128"),
        json!("0.0.0.0"),
        json!("127.0.0.1"),
        json!("224.0.0.1"),
        json!("255.255.255.255"),
        json!("phone"),
        json!(""),
        json!(3),
        Value::Null,
    ] {
        gateway
            .post("/v1/clients", json!({"name": "tv", "ip_cidr": address}))
            .await
            .invalid_at(&["/ip_cidr"]);
    }
    // Of the gateway itself, of its network, and everybody's there.
    for (address, why) in
        [("10.88.0.1", "gateway itself"), ("10.88.0.0", "of a network"), ("10.88.0.15", "broadcast")]
    {
        let refused = gateway.post("/v1/clients", json!({"name": "tv", "ip_cidr": address})).await;
        refused.invalid_at(&["/ip_cidr"]);
        assert!(refused.json()["detail"].as_str().unwrap().contains(why), "{}", refused.text);
        let document = json!({"version": 1, "clients": [{"name": "tv", "ip_cidr": address}]});
        gateway.post("/v1/apply?dry_run=true", document).await.invalid_at(&["/clients/0/ip_cidr"]);
    }
    gateway.post("/v1/clients", json!({"note": 1})).await.invalid_at(&["/name", "/ip_cidr", "/note"]);
    for mac in ["", "phone", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:fb", "02:00:5e:10:00"]
    {
        let body = json!({"name": "tv", "ip_cidr": "192.168.2.3", "mac": mac});
        gateway.post("/v1/clients", body).await.invalid_at(&["/mac"]);
    }
    let path = format!("/v1/clients/{}", gateway.make_client(3).await);
    let bad = json!({"name": " ", "ip_cidr": "10.0.0.0/8", "note": null, "id": 1});
    gateway.patch(&path, bad).await.invalid_at(&["/name", "/ip_cidr", "/note", "/id"]);
    gateway.patch(&path, json!({"ip_cidr": "10.88.0.1"})).await.invalid_at(&["/ip_cidr"]);
    assert_eq!(gateway.patch(&path, json!({"ip_cidr": "10.88.0.2"})).await.status, 200);
}

#[tokio::test]
async fn a_mapping_names_a_client_and_a_proxy_that_are_there() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    let nobody = Uuid::nil();
    let cases: Vec<(Value, &[&str])> = vec![
        (json!({}), &["/client_id", "/proxy_id"]),
        (json!({"client_id": "x", "proxy_id": 1}), &["/client_id", "/proxy_id"]),
        (json!({"client_id": nobody, "proxy_id": proxy}), &["/client_id"]),
        (json!({"client_id": client, "proxy_id": nobody}), &["/proxy_id"]),
        (
            json!({"client_id": client, "proxy_id": proxy, "priority": -1, "target": "sni", "enabled": 1, "port": 15001}),
            &["/priority", "/target", "/enabled", "/port"],
        ),
    ];
    for (body, pointers) in cases {
        gateway.post("/v1/mappings", body).await.invalid_at(pointers);
    }
    for (expect, pointers) in [
        (json!("NL"), &["/expect"][..]),
        (json!({"contry": "NL"}), &["/expect/contry"]),
        (json!({"country": "UK"}), &["/expect/country"]),
        (json!({"country": ["NL"]}), &["/expect/country"]),
        (json!({"country": null}), &["/expect/country"]),
        (json!({"exit_ip": "203.0.113.9/24", "stable": null}), &["/expect/exit_ip", "/expect/stable"]),
    ] {
        let body = json!({"client_id": client, "proxy_id": proxy, "expect": expect, "exclusive": null});
        gateway.post("/v1/mappings", body).await.invalid_at(&[pointers, &["/exclusive"]].concat());
    }
    let path = format!("/v1/mappings/{}", gateway.make_mapping(&client, &proxy).await);
    gateway.patch(&path, json!({"stable_exit_ip": "203.0.113.9"})).await.invalid_at(&["/stable_exit_ip"]);
    gateway.patch(&path, json!({"proxy_id": nobody})).await.invalid_at(&["/proxy_id"]);
    let bad = json!({"client_id": client, "state": "APPLIED", "priority": 70000});
    gateway.patch(&path, bad).await.invalid_at(&["/client_id", "/state", "/priority"]);
}

#[tokio::test]
async fn a_token_has_a_name_of_its_own_and_a_role() {
    let gateway = Gateway::new().await;
    gateway.post("/v1/tokens", json!({})).await.invalid_at(&["/name", "/role"]);
    gateway.post("/v1/tokens", json!({"name": "x", "role": "root"})).await.invalid_at(&["/role"]);
    for reserved in crate::credentials::RESERVED_NAMES {
        gateway.post("/v1/tokens", json!({"name": reserved, "role": "viewer"})).await.invalid_at(&["/name"]);
    }
}

#[tokio::test]
async fn a_query_is_as_strict_as_a_body() {
    let gateway = Gateway::new().await;
    let proxy = gateway.make_proxy("de1").await;
    let cases: Vec<(String, &[&str])> = vec![
        ("/v1/proxies?limit=0".into(), &["/limit"]),
        ("/v1/proxies?limit=501&cursor=x&more=1".into(), &["/limit", "/cursor", "/more"]),
        ("/v1/clients?limit=1&limit=2".into(), &["/limit"]),
        ("/v1/clients?state=open".into(), &["/state"]),
        ("/v1/mappings?state=open&client_id=1&proxy_id=2".into(), &["/state", "/client_id", "/proxy_id"]),
        (format!("/v1/mappings?q={}", "x".repeat(201)), &["/q"]),
        ("/v1/tokens?limit=x&state=revoked".into(), &["/limit", "/state"]),
    ];
    for (path, pointers) in cases {
        gateway.get(&path).await.invalid_at(pointers);
    }
    gateway.delete(&format!("/v1/proxies/{proxy}?cascade=1")).await.invalid_at(&["/cascade"]);
    gateway.delete(&format!("/v1/proxies/{proxy}?cascde=true")).await.invalid_at(&["/cascde"]);
    assert_eq!(
        gateway.get(&format!("/v1/proxies/{proxy}")).await.status,
        200,
        "a mistyped DELETE deletes nothing"
    );
}

/// Also where a call takes none: what nobody reads would go unheard.
#[tokio::test]
async fn a_query_parameter_that_a_call_does_not_take_is_refused_everywhere() {
    let gateway = Gateway::new().await;
    let mut document = crate::http::guarded().into_openapi();
    document.merge(crate::http::open().into_openapi());
    let calls: Vec<(String, Method)> = crate::http::openapi::operations(&mut document)
        .map(|(path, method, _)| (path.to_owned(), method))
        .filter(|(path, _)| path.starts_with("/v1/"))
        .collect();
    assert!(calls.len() > 60, "{}", calls.len());
    for (path, method) in calls {
        let path = path.replace("{id}", &Uuid::nil().to_string());
        let path = path.replace("{name}", "gw2").replace("{code}", "0123456789abcdef0123456789abcdef");
        let given = (method != Method::GET).then(|| json!({}));
        let answer = gateway.call(ADMIN, method.clone(), &format!("{path}?surprise=1"), given).await;
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text);
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        assert!(errors.iter().any(|error| error["pointer"] == "/surprise"), "{method} {path}: {errors:?}");
    }
    let probe = gateway.send(Request::get("/healthz?_=1").body(Body::empty()).unwrap()).await;
    assert_eq!(probe.status, 200, "whoever watches adds what he likes");
}
