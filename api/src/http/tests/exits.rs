//! What is expected of a mapping's exit, as it is said and read.

use pgw_core::ids::MappingId;
use pgw_core::state::{MappingState, Verdict};

use super::*;
use crate::store::Exits as _;

#[tokio::test]
async fn what_is_expected_is_said_whole_and_read_back_with_what_is_left_out_left_out() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("nl1").await, gateway.make_client(3).await);
    let expect = json!({"exit_ip": "203.0.113.9/32", "country": "nl"});
    let body = json!({"client_id": client, "proxy_id": proxy, "expect": expect, "exclusive": true});
    let path = format!("/v1/mappings/{}", gateway.make("/v1/mappings", body).await);
    let read = gateway.get(&path).await.json();
    assert_eq!(read["expect"], json!({"exit_ip": "203.0.113.9", "country": "NL"}));
    assert_eq!((&read["exclusive"], &read["stable_exit_ip"]), (&json!(true), &json!(null)));
    for (said, want) in [
        (json!({"stable": true}), json!({"stable": true})),
        (json!({"country": "DE"}), json!({"country": "DE"})),
        (json!(null), json!({})),
    ] {
        let patched = gateway.patch(&path, json!({"expect": said})).await;
        assert_eq!((patched.status.as_u16(), &patched.json()["expect"]), (200, &want), "{}", patched.text);
    }
    let kept = gateway.patch(&path, json!({"priority": 7})).await.json();
    assert_eq!(kept["exclusive"], true);
}

#[tokio::test]
async fn an_exit_that_moved_is_accepted_and_who_shares_it_is_looked_at() {
    let gateway = Gateway::new().await;
    let proxy = gateway.make_proxy("nl1").await;
    let (one, other) = (gateway.make_client(3).await, gateway.make_client(4).await);
    let path = |mapping: &str| format!("/v1/mappings/{mapping}");
    let (mapping, beside) =
        (gateway.make_mapping(&one, &proxy).await, gateway.make_mapping(&other, &proxy).await);
    let exit = "203.0.113.9".parse().unwrap();
    for (client, mapping) in [(&one, &mapping), (&other, &beside)] {
        let id = MappingId(mapping.parse().unwrap());
        let client = pgw_core::ids::ClientId(client.parse().unwrap());
        assert_eq!(gateway.store.hold_exits(client, &[(id, exit)]).await.unwrap(), []);
    }
    gateway.patch(&path(&mapping), json!({"expect": {"stable": true}})).await;
    gateway.store.keep_exit(MappingId(mapping.parse().unwrap()), exit).await.unwrap();
    assert_eq!(gateway.get(&path(&mapping)).await.json()["stable_exit_ip"], "203.0.113.9");
    let accepted = gateway.patch(&path(&mapping), json!({"stable_exit_ip": null})).await;
    assert_eq!((accepted.status.as_u16(), &accepted.json()["stable_exit_ip"]), (200, &json!(null)));

    gateway.engine.asked();
    gateway.patch(&path(&mapping), json!({"exclusive": true})).await;
    assert_eq!(gateway.engine.asked(), [format!("wake {other}"), format!("settle {one}")]);
    let applied = json!({"version": 1, "clients": [
        {"name": "phone 3", "ip_cidr": "192.168.2.3", "mappings": [{"proxy": "nl1", "exclusive": false}]},
        {"name": "phone 4", "ip_cidr": "192.168.2.4", "mappings": [{"proxy": "nl1"}]}]});
    let told = gateway.post("/v1/apply", applied).await.json();
    let fields: Vec<_> = told["plan"]["change"][0]["fields"].as_array().unwrap().clone();
    assert_eq!(fields[0], json!({"field": "expect", "from": {"stable": true}, "to": {}}));
    assert_eq!(fields[1], json!({"field": "exclusive", "from": true, "to": false}));
    let asked = gateway.engine.asked();
    assert!(
        asked.contains(&format!("settle {other}")) && asked.contains(&format!("settle {one}")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_broken_contract_is_the_reason_that_is_read() {
    let gateway = Gateway::new().await;
    let mapping = gateway.make_mapping(&gateway.make_client(3).await, &gateway.make_proxy("nl1").await).await;
    let reason = "exit is 203.0.113.9 (DE), expected NL".to_owned();
    let verdict = Verdict { state: MappingState::Failed, reason: reason.clone() };
    gateway.store.record_verdict(MappingId(mapping.parse().unwrap()), &verdict).await.unwrap();
    let failed = gateway.get("/v1/mappings?state=FAILED").await.json();
    assert_eq!(failed["items"][0]["reason"], reason);
}
