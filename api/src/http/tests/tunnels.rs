//! Reverse tunnels: what operators write, and what the daemon, here a stand-in, makes of it.

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::tunnel::{Origin, PortConflict, Protocol, Reason, State, Target, TunnelStatus};

use super::*;
use crate::tunnels::stand_in::StandIn;

fn client_id(id: &str) -> TunnelClientId {
    TunnelClientId(id.parse().unwrap())
}

fn asked_for(client: &str, port: u16) -> TunnelStatus {
    TunnelStatus {
        id: TunnelId(uuid::Uuid::from_u128(77)),
        client_id: client_id(client),
        name: "by itself".into(),
        origin: Origin::Client,
        protocol: Protocol::Udp,
        public_port: Some(port),
        route: None,
        target: Target { host: "127.0.0.1".into(), port: 53 },
        state: State::Active,
        reason: None,
        bytes_in: 0,
        bytes_out: 0,
        connections: 0,
        active: 0,
    }
}

async fn state(gateway: &Gateway, id: &str) -> (Value, Value) {
    let tunnel = gateway.get(&format!("/v1/tunnels/{id}")).await.json();
    (tunnel["state"].clone(), tunnel["reason"].clone())
}

#[tokio::test]
async fn a_tunnel_client_is_made_with_a_token_that_is_told_once() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let body = json!({
        "name": "office", "note": "x", "allowed_ports": [12000, "12010-12020"], "bandwidth": 1000,
        "max_tunnels": 3,
    });
    let made = gateway.post("/v1/tunnel-clients", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()));
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/tunnel-clients/{id}");
    let listed = gateway.get(&path).await;
    assert_eq!(listed.header("etag"), "\"1\"");
    let client = listed.json();
    for (field, want) in [
        ("name", json!("office")),
        ("gateway", json!("gw1")),
        ("enabled", json!(true)),
        ("allowed_ports", json!([12000, "12010-12020"])),
        ("max_tunnels", json!(3)),
        ("max_connections", json!(1024)),
        ("bandwidth", json!(1000)),
        ("status", json!("offline")),
        ("enrolled", json!(false)),
        ("tunnels", json!(0)),
        ("last_seen", Value::Null),
    ] {
        assert_eq!(client[field], want, "{field}");
    }
    assert!(client.get("token").is_none());
    let hash = |token: &str| crate::credentials::hashed(&Secret::new(token));
    let held = |daemon: &StandIn| daemon.inside(|inside| inside.desired.clients[0].token.clone().unwrap());
    assert_eq!(held(&daemon), hash(&token));

    daemon.comes(client_id(&id), 1);
    let turned = gateway.post(&format!("{path}/token"), json!({})).await;
    assert_eq!(turned.status, 200, "{}", turned.text);
    assert_eq!(held(&daemon), hash(turned.json()["token"].as_str().unwrap()));
    assert_eq!(gateway.get("/v1/tunnel-clients").await.json()["items"].as_array().unwrap().len(), 1);
    gateway.post("/v1/tunnel-clients", json!({"name": "office"})).await.refused(409, "name_taken");
    gateway
        .post("/v1/tunnel-clients", json!({"name": "", "allowed_ports": ["x"], "bandwidth": 0}))
        .await
        .invalid_at(&["/name", "/allowed_ports", "/bandwidth"]);
}

#[tokio::test]
async fn a_tunnel_is_open_while_its_client_is_there_and_closed_when_the_answer_says_so() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let id = gateway.make_tunnel(&client, json!({"public_port": 12000})).await;
    assert_eq!(state(&gateway, &id).await, (json!("OFFLINE"), json!("its client is not connected")));
    daemon.comes(client_id(&client), 1);
    gateway.tunnels.settle().await;
    assert_eq!(state(&gateway, &id).await, (json!("ACTIVE"), Value::Null));
    let seen = gateway.get(&format!("/v1/tunnel-clients/{client}")).await.json();
    assert_eq!(
        [&seen["status"], &seen["address"], &seen["carrier"], &seen["rtt_ms"], &seen["enrolled"]],
        [&json!("online"), &json!("198.51.100.7"), &json!("tls"), &json!(31), &json!(true)]
    );
    let closed = gateway.call(OPERATOR, Method::POST, &format!("/v1/tunnels/{id}/close"), None).await;
    assert_eq!((closed.status.as_u16(), &closed.json()["reason"]), (200, &json!("closed by token operator")));
    assert!(daemon.inside(|inside| inside.desired.tunnels.is_empty()), "closed when the answer comes");
    assert_eq!(daemon.inside(|inside| inside.desired.reserved.clone()).len(), 1, "and kept for it");
    let path = format!("/v1/tunnels/{id}");
    let opened = gateway.patch(&path, json!({"enabled": true})).await;
    assert_eq!((&opened.json()["state"], opened.header("etag")), (&json!("ACTIVE"), "\"3\""));
    assert_eq!(gateway.delete(&path).await.status, 204);
    assert!(daemon.inside(|inside| inside.desired.tunnels.is_empty() && inside.desired.reserved.is_empty()));
    let off = gateway.patch(&format!("/v1/tunnel-clients/{client}"), json!({"enabled": false})).await;
    assert_eq!(off.json()["status"], "offline");
}

#[tokio::test]
async fn without_the_daemon_everything_is_written_and_says_what_is_missing() {
    let gateway = Gateway::new().await;
    let client = gateway.make_tunnel_client("pi").await;
    let id = gateway.make_tunnel(&client, json!({})).await;
    assert_eq!(state(&gateway, &id).await, (json!("PENDING"), json!("the tunnel daemon does not answer")));
    gateway
        .post(&format!("/v1/tunnel-clients/{client}/disconnect"), json!({}))
        .await
        .refused(503, "tunnel_daemon_silent");
    let gone = gateway.delete(&format!("/v1/tunnels/{id}")).await;
    assert_eq!(gone.status, 202);
    assert!(gone.json()["detail"].as_str().unwrap().contains("tunnel daemon"), "{}", gone.text);
}

/// G36.
#[tokio::test]
async fn a_port_is_given_by_the_rules_and_each_refusal_has_its_code() {
    let gateway = Gateway::new().await;
    let _daemon = StandIn::start(gateway.place.path());
    let made = json!({"name": "pi", "allowed_ports": ["10000-10004", 15500], "max_tunnels": 3});
    let client = gateway.make("/v1/tunnel-clients", made).await;
    let ask = |name: &str, port: u16, protocol: &str| {
        json!({
            "tunnel_client_id": client, "name": name, "protocol": protocol, "public_port": port,
            "verify": false, "local_host": "127.0.0.1", "local_port": 22,
        })
    };
    let first = gateway.post("/v1/tunnels", ask("a", 0, "tcp")).await.json();
    assert_eq!(first["public_port"], 10_000);
    let second = gateway.post("/v1/tunnels", ask("b", 10_000, "udp")).await;
    assert_eq!(second.json()["public_port"], 10_000, "the other protocol: {}", second.text);
    for (port, protocol, code) in [
        (10_000, "both", "port_in_use"),
        (10_002, "tcp", "port_in_use"),
        (9_999, "tcp", "port_reserved"),
        (15_500, "tcp", "port_reserved"),
        (10_005, "tcp", "port_not_allowed"),
    ] {
        gateway.post("/v1/tunnels", ask("c", port, protocol)).await.refused(409, code);
    }
    gateway.post("/v1/tunnels", ask("a", 0, "tcp")).await.refused(409, "name_taken");
    let third = gateway.post("/v1/tunnels", ask("c", 0, "both")).await.json();
    assert_eq!(third["public_port"], 10_001);
    gateway.post("/v1/tunnels", ask("d", 0, "tcp")).await.refused(409, "port_quota");
    let path = format!("/v1/tunnels/{}", third["id"].as_str().unwrap());
    gateway.patch(&path, json!({"public_port": 10_000})).await.refused(409, "port_in_use");
    let moved = gateway.patch(&path, json!({"public_port": 10_003, "protocol": "tcp"})).await;
    assert_eq!((moved.status.as_u16(), &moved.json()["public_port"]), (200, &json!(10_003)));
    let nobody = json!({"tunnel_client_id": uuid::Uuid::nil()});
    let mut missing = ask("x", 0, "tcp");
    missing.as_object_mut().unwrap().extend(nobody.as_object().unwrap().clone());
    gateway.post("/v1/tunnels", missing).await.invalid_at(&["/tunnel_client_id"]);
}

#[tokio::test]
async fn an_http_tunnel_has_a_route_of_its_own_and_keeps_passwords_to_itself() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let http = |name: &str, other: Value| {
        let mut body = json!({
            "tunnel_client_id": client, "name": name, "protocol": "http", "host": "Shop", "verify": false,
            "local_host": "localhost", "local_port": 8080,
        });
        body.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        body
    };
    let auth = json!([{"username": "bob", "password": PASSWORD}, {"username": "al", "password": "a b"}]);
    let made = gateway.post("/v1/tunnels", http("shop", json!({"basic_auth": auth}))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let tunnel = made.json();
    assert_eq!([&tunnel["host"], &tunnel["public_port"]], [&json!("shop"), &Value::Null]);
    assert_eq!(tunnel["basic_auth"], json!([{"username": "bob"}, {"username": "al"}]));
    gateway.post("/v1/tunnels", http("again", json!({}))).await.refused(409, "route_in_use");
    gateway.make("/v1/tunnels", http("api", json!({"path": "/api"}))).await;

    let path = format!("/v1/tunnels/{}", tunnel["id"].as_str().unwrap());
    let kept = gateway.patch(&path, json!({"basic_auth": [{"username": "bob"}]})).await;
    assert_eq!(kept.json()["basic_auth"], json!([{"username": "bob"}]));
    let held = daemon.inside(|inside| inside.desired.tunnels[0].limits.basic_auth.clone());
    assert_eq!((held.len(), held[0].password.expose()), (1, PASSWORD), "the one that he has");
    gateway.patch(&path, json!({"basic_auth": [{"username": "eve"}]})).await.invalid_at(&["/basic_auth"]);
    gateway.patch(&path, json!({"public_port": 12000})).await.invalid_at(&["/public_port"]);
    gateway.patch(&path, json!({"host": null})).await.invalid_at(&["/host"]);
    gateway.post("/v1/tunnels", http("x", json!({"protocol": "tcp"}))).await.invalid_at(&["/host"]);
}

#[tokio::test]
async fn what_a_client_asked_for_is_listed_and_can_be_closed_but_not_changed() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    daemon.comes(client_id(&client), 1);
    daemon.inside(|inside| inside.asked.push(asked_for(&client, 10_000)));
    gateway.tunnels.settle().await;
    let id = gateway.make_tunnel(&client, json!({})).await;
    let both = gateway.get("/v1/tunnels?sort=port").await.json();
    let both = both["items"].as_array().unwrap().clone();
    assert_eq!(both.len(), 2);
    let theirs = both.iter().find(|tunnel| tunnel["origin"] == "client").unwrap();
    assert_eq!([&theirs["revision"], &theirs["public_port"]], [&Value::Null, &json!(10_000)]);
    let in_use = json!({"public_port": 10_000, "protocol": "both", "name": "x"});
    let mut body = json!({"tunnel_client_id": client, "local_host": "127.0.0.1", "local_port": 1});
    body.as_object_mut().unwrap().extend(in_use.as_object().unwrap().clone());
    gateway.post("/v1/tunnels", body).await.refused(409, "port_in_use");
    let path = format!("/v1/tunnels/{}", theirs["id"].as_str().unwrap());
    gateway.patch(&path, json!({"name": "x"})).await.refused(409, "tunnel_of_client");
    gateway.delete(&path).await.refused(409, "tunnel_of_client");
    let closed = gateway.post(&format!("{path}/close"), json!({})).await;
    assert_eq!((closed.status.as_u16(), &closed.json()["state"]), (200, &json!("OFFLINE")));
    gateway.get(&path).await.refused(404, "not_found");
    for (filter, want) in [
        (format!("tunnel_client_id={client}"), 1),
        ("origin=client".into(), 0),
        ("state=ACTIVE".into(), 1),
        ("protocol=udp".into(), 0),
        ("q=SSH".into(), 1),
    ] {
        let found = gateway.get(&format!("/v1/tunnels?{filter}")).await.json();
        assert_eq!(found["items"].as_array().unwrap().len(), want, "{filter}");
    }
    gateway.delete(&format!("/v1/tunnel-clients/{client}")).await.refused(409, "in_use");
    assert_eq!(gateway.delete(&format!("/v1/tunnel-clients/{client}?cascade=true")).await.status, 204);
    gateway.get(&format!("/v1/tunnels/{id}")).await.refused(404, "not_found");
}

#[tokio::test]
async fn sessions_and_counts_are_kept_and_a_failure_says_why() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let id = gateway.make_tunnel(&client, json!({})).await;
    daemon.comes(client_id(&client), 1);
    daemon.inside(|inside| inside.bytes_in = 100);
    gateway.tunnels.settle().await;
    // It was started anew, and counts from the beginning.
    daemon.inside(|inside| inside.bytes_in = 30);
    let failed = TunnelId(id.parse().unwrap());
    daemon.inside(|inside| inside.failed.insert(failed, Reason::from(PortConflict::PortInUse)));
    gateway.tunnels.settle().await;
    let tunnel = gateway.get(&format!("/v1/tunnels/{id}")).await.json();
    assert_eq!([&tunnel["state"], &tunnel["bytes_in"]], [&json!("FAILED"), &json!(130)]);
    assert!(tunnel["reason"].as_str().unwrap().contains("has this port"), "{tunnel}");

    let disconnect = format!("/v1/tunnel-clients/{client}/disconnect");
    assert_eq!(gateway.post(&disconnect, json!({})).await.status, 204);
    gateway.post(&disconnect, json!({})).await.refused(409, "tunnel_client_offline");
    let sessions = gateway.get(&format!("/v1/tunnel-clients/{client}/sessions")).await.json();
    let session = &sessions["items"][0];
    assert_eq!([&session["bytes_in"], &session["carrier"]], [&json!(10), &json!("tls")]);
    assert!(session["ended_at"].is_string() && session["reason"].is_string(), "{sessions}");
}

#[tokio::test]
async fn only_an_admin_opens_what_nobody_verifies() {
    let gateway = Gateway::new().await;
    let _daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let body = |verify: bool| {
        json!({
            "tunnel_client_id": client, "name": "ssh", "protocol": "tcp", "verify": verify,
            "local_host": "127.0.0.1", "local_port": 22,
        })
    };
    let refused = gateway.call(OPERATOR, Method::POST, "/v1/tunnels", Some(body(false))).await;
    refused.refused(403, "forbidden");
    let made = gateway.call(OPERATOR, Method::POST, "/v1/tunnels", Some(body(true))).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!([&made.json()["verified"], &made.json()["state"]], [&json!(false), &json!("PENDING")]);
}

#[tokio::test]
async fn a_code_verifies_a_tunnel_once_by_a_button_and_never_by_a_look() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let body = json!({
        "tunnel_client_id": client, "name": "ssh", "protocol": "tcp", "local_host": "127.0.0.1", "local_port": 22,
    });
    let made = gateway.call(OPERATOR, Method::POST, "/v1/tunnels", Some(body)).await.json();
    let (id, code) = (made["id"].as_str().unwrap(), made["verification"]["code"].as_str().unwrap());
    assert_eq!(made["verification"]["url"], format!("/verify/{code}"));
    assert!(daemon.inside(|inside| inside.desired.tunnels.is_empty()));
    let page = format!("/v1/verify/{code}");
    let openly = async |method: Method, path: &str| {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        gateway.send(request).await
    };
    let shown = openly(Method::GET, &page).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    assert_eq!([&shown.json()["tunnel"], &shown.json()["target"]], [&json!("ssh"), &json!("127.0.0.1:22")]);
    assert_eq!(gateway.get(&format!("/v1/tunnels/{id}")).await.json()["verified"], false);
    let foreign = Request::post(&page).header("origin", "http://evil.example").header("host", "gw");
    gateway.send(foreign.body(Body::empty()).unwrap()).await.refused(403, "foreign_origin");

    let pressed = openly(Method::POST, &page).await;
    assert_eq!(
        (pressed.status.as_u16(), &pressed.json()["verified"]),
        (200, &json!(true)),
        "{}",
        pressed.text
    );
    assert_eq!(daemon.inside(|inside| inside.desired.tunnels.len()), 1);
    for method in [Method::GET, Method::POST] {
        openly(method, &page).await.refused(404, "verification_unknown");
    }
    gateway
        .call(OPERATOR, Method::POST, &format!("/v1/tunnels/{id}/verify"), None)
        .await
        .refused(409, "tunnel_verified");
}

#[tokio::test]
async fn a_code_is_renewed_wrong_ones_are_counted_and_guessing_is_slow() {
    let gateway = Gateway::new().await;
    let _daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let id = gateway.make_tunnel(&client, json!({"verify": true})).await;
    let path = format!("/v1/tunnels/{id}/verify");
    let renew = async || {
        let renewed = gateway.call(OPERATOR, Method::POST, &path, None).await;
        assert_eq!(renewed.status, 200, "{}", renewed.text);
        renewed.json()["code"].as_str().unwrap().to_owned()
    };
    let first = renew().await;
    let code = renew().await;
    assert_ne!(first, code);
    gateway.post(&path, json!({"code": first})).await.refused(422, "verification_wrong");
    for _ in 0..4 {
        gateway.post(&path, json!({"code": "wrong"})).await.refused(422, "verification_wrong");
    }
    gateway.post(&path, json!({"code": code})).await.refused(410, "verification_spent");
    let code = renew().await;
    let verified = gateway.post(&path, json!({"code": code})).await;
    assert_eq!((verified.status.as_u16(), &verified.json()["verified"]), (200, &json!(true)));
    let mut last = 0;
    for n in 0..12 {
        let request = Request::get(format!("/v1/verify/{n}")).body(Body::empty()).unwrap();
        last = gateway.send(request).await.status.as_u16();
    }
    assert_eq!(last, 429);
}

#[tokio::test]
async fn an_invitation_holds_a_code_and_never_the_token() {
    let gateway = Gateway::new().await;
    let path = gateway.place.path().join("downloads");
    let client = gateway.make_tunnel_client("office pc").await;
    let id = gateway.make_tunnel(&client, json!({})).await;
    let ask = async |method: Method, path: String| {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "gw:8080");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {OPERATOR}"));
        gateway.send(request.body(Body::empty()).unwrap()).await
    };
    let enrolment = format!("/v1/tunnel-clients/{client}/enrolment");
    ask(Method::POST, enrolment.clone()).await.refused(503, "tunnel_daemon_silent");
    let daemon = StandIn::start(gateway.place.path());
    let made = ask(Method::POST, enrolment).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let told = made.json();
    assert_eq!(told["server"], "gw:8443");
    let command = told["command"].as_str().unwrap();
    for part in ["--server gw:8443", "--ca sha256:dd", &format!("--id {client}"), "--enroll "] {
        assert!(command.contains(part), "{command}");
    }
    let file = format!("/v1/tunnels/{id}/client-file?os=linux");
    ask(Method::GET, file.clone()).await.refused(404, "client_binary_missing");
    ask(Method::GET, format!("/v1/tunnels/{id}/client-file?os=dos")).await.invalid_at(&["/os"]);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("pgw-connect-linux-x86_64"), "program").unwrap();
    let request = Request::get(&file).header(header::HOST, "gw:8080").header("sec-fetch-site", "same-site");
    let request = request.header(header::AUTHORIZATION, format!("Bearer {OPERATOR}"));
    gateway.send(request.body(Body::empty()).unwrap()).await.refused(403, "foreign_origin");
    let script = ask(Method::GET, file).await;
    assert_eq!(script.header("content-disposition"), format!("attachment; filename=\"pgw-{client}.sh\""));
    let codes = daemon.inside(|inside| inside.desired.enrolments.clone());
    assert_eq!(codes.len(), 2);
    let code = script.text.split("--enroll ").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(codes[1].code, crate::credentials::hashed(&Secret::new(code)));

    let used = pgw_core::tunnel::Enrolled {
        enrolment: codes[1].id,
        client: client_id(&client),
        token: crate::credentials::hashed(&Secret::new("its own")),
    };
    daemon.inside(|inside| inside.enrolled.push(used.clone()));
    gateway.tunnels.settle().await;
    gateway.tunnels.settle().await;
    let now = daemon.inside(|inside| inside.desired.clone());
    assert_eq!((now.clients[0].token.as_ref(), now.enrolments.len()), (Some(&used.token), 0));
    assert_eq!(gateway.get(&format!("/v1/tunnel-clients/{client}")).await.json()["enrolled"], true);
}

#[tokio::test]
async fn stats_tell_who_is_on_a_tunnel_now() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let client = gateway.make_tunnel_client("pi").await;
    let id = gateway.make_tunnel(&client, json!({})).await;
    daemon.inside(|inside| {
        inside.bytes_in = 9;
        inside.visitors.push(pgw_core::tunnel::VisitorRow {
            address: "203.0.113.9".parse().unwrap(),
            connections: 2,
            since_ms: 500,
            bytes_in: 1,
            bytes_out: 2,
        });
    });
    let stats = gateway.call(VIEWER, Method::GET, &format!("/v1/tunnels/{id}/stats"), None).await;
    assert_eq!(stats.status, 200, "{}", stats.text);
    let stats = stats.json();
    assert_eq!([&stats["bytes_in"], &stats["visitors"][0]["address"]], [&json!(9), &json!("203.0.113.9")]);
    let page = gateway.get("/metrics").await;
    for line in [
        "pgw_tunnel_clients{status=\"offline\"} 1",
        "pgw_tunnels{state=\"offline\"} 1",
        "tunnel=\"ssh\",direction=\"in\"} 9",
    ] {
        assert!(page.text.contains(line), "{line}: {}", page.text);
    }
    let sessions = gateway.get(&format!("/v1/tunnels/{id}/sessions")).await;
    assert_eq!(sessions.json()["items"], json!([]));
}
