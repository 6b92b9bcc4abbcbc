//! What works.

use std::sync::atomic::Ordering;

use super::*;

#[tokio::test]
async fn a_proxy_is_made_from_fields_or_a_url_and_never_tells_its_password() {
    let gateway = Gateway::new().await;
    let fields = json!({
        "name": " de1 ", "scheme": "https", "host": "Proxy.Example", "port": 8443, "username": "bob",
        "password": PASSWORD, "enabled": false, "note": "two\nlines", "labels": {"country": "de"},
    });
    let made = gateway.post("/v1/proxies", fields).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let proxy = made.json();
    let id = proxy["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/v1/proxies/{id}"));
    for (field, want) in [
        ("name", json!("de1")),
        ("scheme", json!("https")),
        ("host", json!("proxy.example")),
        ("port", json!(8443)),
        ("username", json!("bob")),
        ("has_password", json!(true)),
        ("enabled", json!(false)),
        ("note", json!("two\nlines")),
        ("labels", json!({"country": "de"})),
    ] {
        assert_eq!(proxy[field], want, "{field}");
    }
    assert_eq!(proxy["health"]["status"], "UNKNOWN");
    assert!(proxy.get("password").is_none());
    assert_eq!(gateway.get(&format!("/v1/proxies/{id}")).await.json(), proxy);
    assert_eq!(gateway.engine.asked(), [format!("changed {id}")], "it is checked at once");

    let by_url = gateway.post("/v1/proxies", json!({"url": URL})).await.json();
    assert_eq!(
        [
            &by_url["name"],
            &by_url["scheme"],
            &by_url["username"],
            &by_url["has_password"],
            &by_url["enabled"]
        ],
        [&json!("proxy.example:1080"), &json!("socks5"), &json!("bob"), &json!(true), &json!(true)]
    );
    let bare = gateway.post("/v1/proxies", json!({"url": "http://[2001:db8::1]:3128"})).await.json();
    assert_eq!([&bare["name"], &bare["has_password"]], [&json!("[2001:db8::1]:3128"), &json!(false)]);
    let listed = gateway.get("/v1/proxies").await.json();
    assert_eq!(listed["items"], json!([proxy, by_url, bare]));
    assert_eq!(listed["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_patched_proxy_is_checked_when_it_is_dialled_in_another_way_and_its_clients_are_settled() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    gateway.make_mapping(&client, &proxy).await;
    let path = format!("/v1/proxies/{proxy}");
    let good = pgw_core::health::Health {
        status: pgw_core::health::HealthStatus::Ok,
        ..pgw_core::health::Health::default()
    };
    let settle = format!("settle {client}");
    let changed = format!("changed {proxy}");
    for (patch, asked) in [
        (json!({"enabled": false}), vec![&settle]),
        (json!({"note": "x", "labels": {}}), vec![&settle]),
        (json!({"host": "10.0.0.9", "port": 1}), vec![&changed, &settle]),
        (json!({"username": null, "password": null}), vec![&changed, &settle]),
        (json!({}), vec![&settle]),
    ] {
        gateway.found(&proxy, good.clone()).await;
        gateway.engine.asked();
        let answer = gateway.patch(&path, patch.clone()).await;
        assert_eq!(answer.status, 200, "{patch}: {}", answer.text);
        assert_eq!(gateway.engine.asked().iter().collect::<Vec<_>>(), asked, "{patch}");
    }
    let now = gateway.get(&path).await.json();
    assert_eq!(
        [&now["username"], &now["has_password"], &now["host"]],
        [&Value::Null, &json!(false), &json!("10.0.0.9")]
    );
}

#[tokio::test]
async fn a_check_answers_with_the_new_health() {
    let gateway = Gateway::new().await;
    let proxy = gateway.make_proxy("de1").await;
    gateway.engine.asked();
    let answer = gateway.call(ADMIN, Method::POST, &format!("/v1/proxies/{proxy}/check"), None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (200, &json!("OK")));
    assert_eq!(gateway.engine.asked(), [format!("check {proxy}")]);
    let client = gateway.make_client(7).await;
    gateway.make_mapping(&client, &proxy).await;
    gateway.engine.asked();
    gateway.call(ADMIN, Method::POST, &format!("/v1/proxies/{proxy}/check"), None).await;
    let followed = [format!("check {proxy}"), format!("settle {client}")];
    assert_eq!(gateway.engine.asked(), followed, "what is read next says what was found");
    let nobody = format!("/v1/proxies/{}/check", uuid::Uuid::nil());
    gateway.call(ADMIN, Method::POST, &nobody, None).await.refused(404, "not_found");
    assert!(gateway.engine.asked().is_empty());
}

#[tokio::test]
async fn a_client_is_closed_when_the_answer_comes() {
    let gateway = Gateway::new().await;
    let made =
        gateway.post("/v1/clients", json!({"name": "tv", "ip_cidr": "192.168.2.3", "note": "x"})).await;
    assert_eq!((made.status.as_u16(), &made.json()["ip_cidr"]), (201, &json!("192.168.2.3/32")));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(made.header("location"), format!("/v1/clients/{id}"));
    assert_eq!(gateway.engine.asked(), [format!("settle {id}")]);
    let path = format!("/v1/clients/{id}");
    for (patch, asked) in [
        (json!({"name": "big tv"}), format!("wake {id}")),
        (json!({"ip_cidr": "192.168.2.4/32"}), format!("settle {id}")),
        (json!({"mac": "02-00-5E-10-00-03"}), format!("settle {id}")),
    ] {
        assert_eq!(gateway.patch(&path, patch).await.status, 200);
        assert_eq!(gateway.engine.asked(), [asked]);
    }
    let now = gateway.get(&path).await.json();
    assert_eq!(
        [&now["name"], &now["ip_cidr"], &now["note"]],
        [&json!("big tv"), &json!("192.168.2.4/32"), &json!("x")]
    );
    assert_eq!(now["mac"], "02:00:5e:10:00:03");
    let freed = gateway.patch(&path, json!({"mac": null})).await.json();
    assert_eq!((&freed["mac"], gateway.engine.asked()), (&Value::Null, vec![format!("settle {id}")]));
    assert_eq!(gateway.delete(&path).await.status, 204);
    assert_eq!(gateway.engine.asked(), [format!("settle {id}")]);
    gateway.get(&path).await.refused(404, "not_found");
    gateway.delete(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_mapping_begins_pending_with_the_lowest_free_port_and_its_client_is_woken() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    gateway.engine.asked();
    let made = gateway.post("/v1/mappings", json!({"client_id": client, "proxy_id": proxy})).await;
    assert_eq!(made.status, 201);
    let mapping = made.json();
    for (field, want) in [
        ("client_id", json!(client)),
        ("proxy_id", json!(proxy)),
        ("priority", json!(100)),
        ("target", json!("original")),
        ("enabled", json!(true)),
        ("port", json!(15001)),
        ("state", json!("PENDING")),
        ("applied_at", Value::Null),
    ] {
        assert_eq!(mapping[field], want, "{field}");
    }
    let path = format!("/v1/mappings/{}", mapping["id"].as_str().unwrap());
    assert_eq!(made.header("location"), path);
    assert_eq!(gateway.engine.asked(), [format!("soon {proxy}"), format!("wake {client}")]);
    let patched =
        gateway.patch(&path, json!({"priority": 0, "target": "hostname", "enabled": false})).await.json();
    assert_eq!(
        [&patched["priority"], &patched["target"], &patched["enabled"], &patched["state"]],
        [&json!(0), &json!("hostname"), &json!(false), &json!("PENDING")]
    );
    assert_eq!(gateway.get(&path).await.json(), patched);
    assert_eq!(gateway.engine.asked(), [format!("settle {client}")], "the answer to switching off means off");
    assert_eq!(gateway.delete(&path).await.status, 204);
    assert_eq!(gateway.engine.asked(), [format!("settle {client}")]);
    gateway.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_cascade_settles_every_client_before_it_answers() {
    let gateway = Gateway::new().await;
    let proxy = gateway.make_proxy("de1").await;
    let mut clients = Vec::new();
    for last in 1..=3 {
        clients.push(gateway.make_client(last).await);
        gateway.make_mapping(&clients[clients.len() - 1], &proxy).await;
    }
    let path = format!("/v1/proxies/{proxy}");
    gateway.engine.asked();
    gateway.delete(&path).await.refused(409, "in_use");
    gateway.delete(&format!("{path}?cascade=false")).await.refused(409, "in_use");
    gateway.delete(&format!("/v1/clients/{}", clients[0])).await.refused(409, "in_use");
    assert!(gateway.engine.asked().is_empty());
    assert_eq!(gateway.delete(&format!("{path}?cascade=true")).await.status, 204);
    let mut asked = gateway.engine.asked();
    asked.sort();
    let mut want: Vec<String> = clients.iter().map(|client| format!("settle {client}")).collect();
    want.sort();
    assert_eq!(asked, want);
    assert_eq!(gateway.get("/v1/mappings").await.json()["items"], json!([]));
}

#[tokio::test]
async fn what_did_not_settle_is_not_called_gone() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    let mapping = gateway.make_mapping(&client, &proxy).await;
    gateway.engine.unsettled.store(true, Ordering::SeqCst);
    let path = format!("/v1/mappings/{mapping}");
    let patched = gateway.patch(&path, json!({"enabled": false})).await;
    assert_eq!(patched.status, 200);
    for path in [path, format!("/v1/clients/{client}"), format!("/v1/proxies/{proxy}?cascade=true")] {
        let answer = gateway.delete(&path).await;
        assert_eq!(answer.status, 202, "{path}: {}", answer.text);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.ends_with("the agent does not answer"), "{path}: {detail}");
        gateway.get(path.split('?').next().unwrap()).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn lists_are_paged_searched_and_filtered() {
    let gateway = Gateway::new().await;
    let (de, nl) = (gateway.make_proxy("de").await, gateway.make_proxy("nl").await);
    let (one, two) = (gateway.make_client(1).await, gateway.make_client(2).await);
    let (first, second) = (gateway.make_mapping(&one, &de).await, gateway.make_mapping(&two, &nl).await);
    let ids = async |path: String| {
        let answer = gateway.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let page = gateway.get("/v1/clients?limit=1").await.json();
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["id"]), (1, &json!(one)));
    assert_eq!(ids(format!("/v1/clients?limit=1&cursor={next}")).await, std::slice::from_ref(&two));
    gateway.get(&format!("/v1/clients?sort=name&cursor={next}")).await.invalid_at(&["/cursor"]);
    assert_eq!(ids("/v1/clients?sort=-ip_cidr".into()).await, [two.clone(), one.clone()]);
    let page = gateway.get("/v1/clients?sort=-name&limit=1").await.json();
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(ids(format!("/v1/clients?sort=-name&cursor={next}")).await, std::slice::from_ref(&one));
    gateway.get("/v1/clients?sort=priority").await.invalid_at(&["/sort"]);
    gateway.get(&format!("/v1/proxies?cursor={next}")).await.invalid_at(&["/cursor"]);
    assert_eq!(ids("/v1/clients?q=PHONE%202".into()).await, std::slice::from_ref(&two));
    assert_eq!(ids("/v1/proxies?q=".into()).await.len(), 2);
    assert_eq!(ids(format!("/v1/mappings?client_id={one}&state=PENDING")).await, [first]);
    assert_eq!(ids(format!("/v1/mappings?proxy_id={nl}")).await, [second]);
    assert!(ids("/v1/mappings?state=APPLIED".into()).await.is_empty());
}

#[tokio::test]
async fn the_service_tells_how_it_is_without_a_token() {
    let gateway = Gateway::new().await;
    let ask = async |path: &str| gateway.send(Request::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!(ask("/healthz").await.json(), json!({"status": "ok"}));
    let ready = ask("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()["ready"].as_bool()), (200, Some(true)));
    let names: Vec<Value> =
        ready.json()["checks"].as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
    assert_eq!(names, ["database", "agent"]);
    assert_eq!(
        ask("/version").await.json(),
        json!({"name": "pgw-api", "version": env!("CARGO_PKG_VERSION")})
    );
}

#[tokio::test]
async fn what_is_for_admins_is_listed_in_pages_too() {
    let gateway = Gateway::new().await;
    for name in ["one", "Two", "three"] {
        gateway.make_user(name, "viewer").await;
        gateway.make("/v1/webhooks", json!({"name": name, "url": format!("https://{name}.example/")})).await;
        gateway.make("/v1/tokens", json!({"name": name, "role": "viewer"})).await;
    }
    for list in ["users", "webhooks", "tokens"] {
        let names = async |query: &str| {
            let answer = gateway.get(&format!("/v1/{list}?{query}")).await;
            assert_eq!(answer.status, 200, "{list} {query}: {}", answer.text);
            let items = answer.json()["items"].as_array().unwrap().clone();
            let named = items.into_iter().map(|item| item["name"].as_str().unwrap().to_owned());
            (named.collect::<Vec<_>>(), answer.json()["next_cursor"].as_str().map(str::to_owned))
        };
        let (found, last) = names("q=TWO").await;
        assert_eq!((found, last), (vec!["Two".to_owned()], None), "{list}");
        let (mut seen, mut query) = (Vec::new(), "sort=-name&limit=2".to_owned());
        loop {
            let (found, next) = names(&query).await;
            seen.extend(found.into_iter().filter(|name| ["one", "Two", "three"].contains(&name.as_str())));
            let Some(next) = next else { break };
            query = format!("sort=-name&limit=2&cursor={next}");
        }
        assert_eq!(seen, ["Two", "three", "one"], "{list}");
        gateway.get(&format!("/v1/{list}?sort=port")).await.invalid_at(&["/sort"]);
    }
}

/// Sellers have one host and port for thousands of accounts.
#[tokio::test]
async fn a_proxy_without_a_name_is_numbered_where_another_account_has_the_address_and_refused_where_it_is_the_same()
 {
    let gateway = Gateway::new().await;
    let by_url = async |url: &str| gateway.post("/v1/proxies", json!({"url": url})).await;
    for (url, name) in [
        ("http://a:1@h.example:80", "h.example:80"),
        ("http://b:1@h.example:80", "h.example:80 #2"),
        ("http://b:2@h.example:80", "h.example:80 #3"),
        ("socks5://h.example:80", "h.example:80 #4"),
    ] {
        let made = by_url(url).await;
        assert_eq!((made.status.as_u16(), &made.json()["name"]), (201, &json!(name)), "{}", made.text);
        by_url(url).await.refused(409, "name_taken");
    }
    let twice = gateway.post("/v1/proxies", json!({"url": "http://a:1@h.example:80", "name": "twice"})).await;
    assert_eq!(twice.status, 201, "{}", twice.text);
}
