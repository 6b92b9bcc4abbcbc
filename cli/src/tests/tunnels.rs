//! Tunnels and their clients, in the shapes that the API gives them.

use serde_json::{Value, json};

use super::fake::{Fake, page};

fn nas() -> Value {
    json!({"id": "tc-1", "name": "nas", "gateway": "gw", "enabled": true, "allowed_ports": [12000, "12010-12020"],
        "status": "offline", "address": null, "tunnels": 1, "revision": 2})
}

fn web() -> Value {
    json!({"id": "t-1", "name": "web", "tunnel_client_id": "tc-1", "tunnel_client": "nas", "protocol": "tcp",
        "public_port": 12000, "local_host": "127.0.0.1", "local_port": 80, "state": "PENDING", "revision": 1,
        "bytes_in": 0, "bytes_out": 2048, "active": 0, "reason": "it waits to be verified"})
}

fn fake() -> Fake {
    Fake::default().on("GET /v1/tunnel-clients", 200, page(json!([nas()]))).on(
        "GET /v1/tunnels",
        200,
        page(json!([web()])),
    )
}

#[tokio::test]
async fn a_tunnel_client_gets_its_token_and_its_command_once_and_alone() {
    let mut made = nas();
    made["token"] = json!("f00d");
    let enrolment = json!({"code": "c0de", "expires_at": "T", "command": "pgw-connect enroll --server gw"});
    let gateway = fake()
        .on("POST /v1/tunnel-clients", 201, made)
        .on("POST /v1/tunnel-clients/tc-1/enrolment", 201, enrolment)
        .on("POST /v1/tunnel-clients/tc-1/disconnect", 409, json!({"status": 409, "title": "t", "code": "tunnel_client_offline", "detail": "nas is not connected"}))
        .start()
        .await;
    let told = gateway.pgw("tunnel-client add nas --allow 12000 --allow 12010-12020 --max-tunnels 4").await;
    assert_eq!(told.out, "f00d\n", "{}", told.err);
    assert_eq!(
        gateway.writes()[0].body,
        json!({"name": "nas", "allowed_ports": [12000, "12010-12020"], "max_tunnels": 4})
    );
    assert_eq!(gateway.pgw("tunnel-client enrol NAS").await.out, "pgw-connect enroll --server gw\n");
    let told = gateway.pgw("tunnel-client disconnect nas").await;
    assert_eq!((told.code, told.err.contains("nas is not connected")), (4, true));
    assert!(gateway.pgw("tunnel-client list").await.out.contains("12000 12010-12020"));
}

#[tokio::test]
async fn a_tunnel_is_added_verified_shown_and_closed() {
    let mut made = web();
    made["verification"] = json!({"code": "123456", "expires_at": "T", "url": "/verify/123456"});
    let stats = json!({"bytes_in": 1, "bytes_out": 2, "connections": 3, "active": 1, "visitors": [{"address": "203.0.113.9", "bytes_in": 1, "bytes_out": 2}]});
    let gateway = fake()
        .on("POST /v1/tunnels", 201, made)
        .on("POST /v1/tunnels/t-1/verify", 200, web())
        .on("POST /v1/tunnels/t-1/close", 200, web())
        .on("GET /v1/tunnels/t-1/stats", 200, stats)
        .start()
        .await;
    let told = gateway
        .pgw_with(
            "tunnel add web nas tcp --to nas.lan:80 --bandwidth none --port 12000 --visitor 203.0.113.0/24 --login bob",
            "pw\n",
        )
        .await;
    assert_eq!(told.out, "tunnel web is added, by port 12000\n", "{}", told.err);
    let ways = "pgw tunnel verify t-1 123456, or /verify/123456 of the gateway's pages";
    assert!(told.err.contains(ways), "{}", told.err);
    assert_eq!(
        gateway.writes()[0].body,
        json!({"name": "web", "tunnel_client_id": "tc-1", "protocol": "tcp", "local_host": "nas.lan", "local_port": 80,
            "bandwidth": null, "public_port": 12000, "visitor_allow": ["203.0.113.0/24"], "basic_auth": [{"username": "bob", "password": "pw"}]})
    );
    assert_eq!(gateway.pgw("tunnel verify web 123456").await.out, "tunnel web is verified\n");
    assert_eq!(gateway.writes()[1].body, json!({"code": "123456"}));
    assert!(gateway.pgw("tunnel stats 12000").await.out.contains("203.0.113.9"));
    assert_eq!(gateway.pgw("tunnel close web").await.out, "tunnel web is closed\n");
    assert!(gateway.pgw("tunnel list --client nas").await.out.contains("it waits to be verified"));
}

#[tokio::test]
async fn a_script_with_a_code_in_it_is_its_owners_and_replaces_nothing() {
    let gateway = fake().on("GET /v1/tunnels/t-1/client-file", 200, json!("#!/bin/sh")).start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgw-nas.sh");
    let line = format!("tunnel client-file web --os linux --to {}", file.display());
    assert_eq!(gateway.pgw(&line).await.code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "\"#!/bin/sh\"");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(gateway.pgw(&line).await.code, 1, "it is there already");
    assert_eq!(gateway.asked()[1].line, "GET /v1/tunnels/t-1/client-file?os=linux");
}

#[tokio::test]
async fn what_bounds_a_tunnel_or_its_client_can_be_taken_away_again() {
    let gateway = fake()
        .on("PATCH /v1/tunnels/t-1", 200, web())
        .on("PATCH /v1/tunnel-clients/tc-1", 200, nas())
        .start()
        .await;
    for (line, want) in [
        ("tunnel edit web --path none --host b.example", json!({"path": null, "host": "b.example"})),
        ("tunnel edit web --header none", json!({"header": null})),
        ("tunnel edit web --header x-team=a=b", json!({"header": {"name": "x-team", "value": "a=b"}})),
        ("tunnel edit web --visitor all", json!({"visitor_allow": []})),
        ("tunnel edit web --no-login", json!({"basic_auth": []})),
        ("tunnel-client edit nas --allow all", json!({"allowed_ports": []})),
    ] {
        let told = gateway.pgw(line).await;
        assert_eq!(told.code, 0, "{line}: {}", told.err);
        assert_eq!(gateway.writes().pop().unwrap().body, want, "{line}");
    }
}
