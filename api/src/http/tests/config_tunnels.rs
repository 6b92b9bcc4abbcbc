//! Tunnels in the exported document, and made of one.

use super::*;
use crate::tunnels::stand_in::StandIn;

const BASIC: &str = "open-sesame";

fn machines() -> Value {
    json!([{"name": "office", "max_tunnels": 4, "allowed_ports": ["12000-12010"], "tunnels": [
        {"name": "rdp", "protocol": "tcp", "public_port": 12001, "local_host": "10.0.0.7", "local_port": 3389,
            "verify": false, "visitor_allow": ["203.0.113.7/24"]},
        {"name": "shop", "protocol": "http", "host": "Shop", "local_host": "127.0.0.1", "local_port": 80,
            "basic_auth": [{"username": "bob", "password": BASIC}]},
        {"name": "voip", "protocol": "udp", "local_host": "127.0.0.1", "local_port": 5060}]}])
}

async fn apply(gateway: &Gateway, query: &str, machines: &Value) -> Answer {
    gateway.post(&format!("/v1/apply{query}"), json!({"version": 1, "tunnel_clients": machines})).await
}

fn names(things: &Value) -> Vec<String> {
    let name =
        |thing: &Value| format!("{} {}", thing["what"].as_str().unwrap(), thing["name"].as_str().unwrap());
    things.as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn tunnels_are_exported_without_secrets_and_make_another_gateway_the_same() {
    let gateway = Gateway::new().await;
    let daemon = StandIn::start(gateway.place.path());
    let made = apply(&gateway, "", &machines()).await;
    assert_eq!(made.status, 200, "{}", made.text);
    assert_eq!(
        names(&made.json()["plan"]["create"]),
        ["tunnel_client office", "tunnel office → rdp", "tunnel office → shop", "tunnel office → voip"]
    );
    assert!(made.json().get("unfinished").is_none(), "{}", made.text);
    let told = daemon
        .inside(|inside| inside.desired.tunnels.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>());
    assert_eq!(told, ["rdp"], "open when the answer comes; the others wait for a code");
    let tunnels = gateway.get("/v1/tunnels?sort=name").await.json()["items"].clone();
    assert_eq!(tunnels[2]["public_port"], 12000);
    assert_eq!((&tunnels[1]["verified"], &tunnels[1]["host"]), (&json!(false), &json!("shop")));
    let code =
        gateway.post(&format!("/v1/tunnels/{}/verify", tunnels[1]["id"].as_str().unwrap()), json!({})).await;
    assert_eq!(code.status, 200, "{}", code.text);

    let exported = gateway.get("/v1/export").await;
    assert!(!exported.text.contains(BASIC) && !exported.text.contains("token"), "{}", exported.text);
    let again = apply(&gateway, "", &exported.json()["tunnel_clients"]).await.json();
    assert_eq!(again["plan"], json!({"create": [], "change": [], "remove": [], "keep": 4}));
    let whole = gateway.get("/v1/export?secrets=true").await.json();
    let other = Gateway::new().await;
    assert_eq!(apply(&other, "", &whole["tunnel_clients"]).await.status, 200);
    assert_eq!(other.get("/v1/export?secrets=true").await.json(), whole);
    // Without its passwords it is told that one is missing.
    let third = Gateway::new().await;
    let refused = apply(&third, "", &exported.json()["tunnel_clients"]).await;
    refused.invalid_at(&["/tunnel_clients/0/tunnels/1/basic_auth"]);
}

#[tokio::test]
async fn a_plan_tells_what_becomes_of_tunnels_and_a_section_that_is_absent_leaves_them() {
    let gateway = Gateway::new().await;
    let _daemon = StandIn::start(gateway.place.path());
    apply(&gateway, "", &machines()).await;
    let before = gateway.get("/v1/tunnels").await.text;
    let nothing = gateway.post("/v1/apply", json!({"version": 1})).await.json();
    assert_eq!(nothing["plan"]["keep"], 0);
    let mut wanted = machines();
    wanted[0]["note"] = "2nd floor".into();
    wanted[0]["tunnels"][0]["local_port"] = 3390.into();
    wanted[0]["tunnels"][1]["basic_auth"][0]["password"] = "another".into();
    wanted[0]["tunnels"].as_array_mut().unwrap().remove(2);
    let told = apply(&gateway, "?dry_run=true", &wanted).await;
    assert_eq!(gateway.get("/v1/tunnels").await.text, before);
    assert!(!told.text.contains("another") && !told.text.contains(BASIC), "{}", told.text);
    let plan = &told.json()["plan"];
    assert_eq!(names(&plan["remove"]), ["tunnel office → voip"]);
    assert_eq!(
        names(&plan["change"]),
        ["tunnel_client office", "tunnel office → rdp", "tunnel office → shop"]
    );
    assert_eq!(plan["change"][1]["fields"], json!([{"field": "local_port", "from": 3389, "to": 3390}]));
    assert_eq!(apply(&gateway, "", &wanted).await.json()["plan"], *plan);
    let gone = apply(&gateway, "", &json!([])).await.json();
    assert_eq!(gone["plan"]["remove"].as_array().unwrap().len(), 3);
    assert_eq!(gateway.get("/v1/tunnel-clients").await.json()["items"], json!([]));
}

#[tokio::test]
async fn what_tunnels_cannot_have_is_refused_whole_and_a_dry_run_says_the_same() {
    let gateway = Gateway::new().await;
    apply(&gateway, "", &machines()).await;
    let before = gateway.get("/v1/export").await.text;
    let with = |change: fn(&mut Value)| {
        let mut wanted = machines();
        wanted[0]["note"] = "changed".into();
        change(&mut wanted[0]);
        wanted
    };
    for query in ["", "?dry_run=true"] {
        for (wanted, code) in [
            (with(|m| m["tunnels"][0]["public_port"] = 12011.into()), "port_not_allowed"),
            (with(|m| m["tunnels"][0]["public_port"] = 15001.into()), "port_reserved"),
            (
                with(|m| {
                    m["tunnels"][2]["protocol"] = "tcp".into();
                    m["tunnels"][2]["public_port"] = 12001.into();
                }),
                "port_in_use",
            ),
        ] {
            apply(&gateway, query, &wanted).await.refused(409, code);
        }
        for (wanted, pointer) in [
            (with(|m| m["tunnels"][0]["host"] = "x".into()), "/tunnel_clients/0/tunnels/0/host"),
            (with(|m| m["token"] = "x".into()), "/tunnel_clients/0/token"),
            (with(|m| m["tunnels"][1]["local_port"] = 0.into()), "/tunnel_clients/0/tunnels/1/local_port"),
            (
                with(|m| {
                    let mut twice = m["tunnels"][1].clone();
                    twice["name"] = "shop again".into();
                    m["tunnels"].as_array_mut().unwrap().push(twice);
                }),
                "/tunnel_clients/0/tunnels/3/host",
            ),
        ] {
            apply(&gateway, query, &wanted).await.invalid_at(&[pointer]);
        }
    }
    assert_eq!(gateway.get("/v1/export").await.text, before);
}
