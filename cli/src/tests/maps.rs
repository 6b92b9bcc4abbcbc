//! `pgw map`, which does several things in one line.

use serde_json::{Value, json};

use super::fake::{Fake, page};

fn way(id: &str, proxy: &str, priority: u16, state: &str) -> Value {
    json!({"id": id, "client_id": "c-tv", "proxy_id": format!("p-{proxy}"), "priority": priority, "port": 15001,
        "state": state, "reason": "", "enabled": true, "target": "original", "revision": 1})
}

fn tv() -> Value {
    json!({"id": "c-tv", "name": "tv", "ip_cidr": "10.0.0.3/32", "revision": 1})
}

fn proxy(name: &str) -> Value {
    json!({"id": format!("p-{name}"), "name": name, "host": name, "port": 1080})
}

/// Knows two proxies and the device.
fn fake() -> Fake {
    Fake::default()
        .on("GET /v1/proxies", 200, page(json!([proxy("de1"), proxy("nl2")])))
        .on("GET /v1/proxies/p-de1", 200, proxy("de1"))
        .on("GET /v1/proxies/p-nl2", 200, proxy("nl2"))
        .on("GET /v1/clients/c-tv", 200, tv())
        .on("POST /v1/clients", 201, tv())
}

fn known() -> Fake {
    fake().on("GET /v1/clients", 200, page(json!([tv()])))
}

fn ways(fake: Fake, ways: &[Value]) -> Fake {
    fake.on("GET /v1/mappings", 200, page(json!(ways)))
}

#[tokio::test]
async fn one_line_registers_a_device_maps_it_in_order_and_waits_until_it_is_open() {
    let fake = fake().on("GET /v1/clients", 200, page(json!([])));
    let fake = ways(fake, &[]);
    let fake = ways(fake, &[way("m-1", "de1", 100, "PENDING"), way("m-2", "nl2", 110, "PENDING")]);
    let fake = ways(fake, &[way("m-1", "de1", 100, "APPLIED"), way("m-2", "nl2", 110, "FAILED")]);
    let fake = fake.on("POST /v1/mappings", 201, way("m-1", "de1", 100, "PENDING"));
    let gateway = fake.on("POST /v1/mappings", 201, way("m-2", "nl2", 110, "PENDING")).start().await;
    let told = gateway.pgw("map 10.0.0.3 de1 nl2 --name tv --target hostname").await;
    assert_eq!((told.code, told.err.as_str()), (0, "client tv is registered\n"), "one way out is open");
    assert!(told.out.contains("de1    100       15001  APPLIED"), "{}", told.out);
    let bodies: Vec<Value> = gateway.writes().into_iter().map(|asked| asked.body).collect();
    let mapping = |proxy: &str, priority: u16| json!({"client_id": "c-tv", "proxy_id": proxy, "priority": priority, "target": "hostname"});
    assert_eq!(
        bodies,
        [json!({"name": "tv", "ip_cidr": "10.0.0.3"}), mapping("p-de1", 100), mapping("p-nl2", 110)]
    );
}

#[tokio::test]
async fn said_again_it_changes_nothing_and_more_goes_behind_what_is_there() {
    let gateway = ways(known(), &[way("m-1", "de1", 7, "APPLIED")]).start().await;
    assert_eq!(gateway.pgw("map tv de1").await.code, 0);
    assert_eq!(gateway.writes().len(), 0);
    let fake = ways(known(), &[way("m-1", "de1", 7, "APPLIED")]);
    let gateway = fake.on("POST /v1/mappings", 201, way("m-2", "nl2", 17, "PENDING")).start().await;
    gateway.pgw("map tv nl2 --wait 0s").await;
    assert_eq!(gateway.writes()[0].body["priority"], 17);
}

#[tokio::test]
async fn only_these_means_that_the_others_go_once_these_are_there() {
    let fake = ways(known(), &[way("m-1", "de1", 100, "APPLIED")]);
    let fake = fake.on("POST /v1/mappings", 201, way("m-2", "nl2", 100, "PENDING"));
    let gateway = fake.on("DELETE /v1/mappings/m-1", 204, Value::Null).start().await;
    gateway.pgw("map tv nl2 --only --wait 0s").await;
    assert_eq!(gateway.written_lines(), ["POST /v1/mappings", "DELETE /v1/mappings/m-1"]);
}

#[tokio::test]
async fn nobody_is_registered_for_a_proxy_or_under_a_name_that_is_mistyped() {
    let gateway = ways(fake(), &[]).on("GET /v1/clients", 200, page(json!([]))).start().await;
    for line in ["map 10.0.0.9 de3", "map radio de1"] {
        let told = gateway.pgw(line).await;
        assert_eq!((told.code, gateway.writes().len()), (3, 0), "{line}: {}", told.err);
    }
}

#[tokio::test]
async fn a_device_that_stays_closed_is_a_failure_and_says_where_to_look() {
    let gateway = ways(known(), &[way("m-1", "de1", 100, "FAILED")]).start().await;
    let told = gateway.pgw("map tv de1").await;
    assert_eq!((told.code, told.err.as_str()), (1, "client tv is closed; see: pgw explain tv\n"));
}

#[tokio::test]
async fn a_mapping_is_named_by_its_device_and_by_its_proxy_where_there_are_several() {
    let both = [way("m-1", "de1", 100, "APPLIED"), way("m-2", "nl2", 110, "APPLIED")];
    let fake = ways(known(), &both).on("DELETE /v1/mappings/m-2", 204, Value::Null);
    let gateway = fake.on("DELETE /v1/mappings/m-1", 204, Value::Null).start().await;
    let told = gateway.pgw("map rm tv").await;
    assert_eq!((told.code, told.err.as_str()), (2, "pgw: tv is mapped to de1, nl2; say which\n"));
    assert_eq!(gateway.pgw("map rm tv NL2").await.out, "the mapping of tv to nl2 is removed\n");
    gateway.pgw("map rm 10.0.0.3 --all").await;
    assert_eq!(gateway.written_lines().len(), 3);
    let told = gateway.pgw("map list --client tv --state applied").await;
    assert!(told.out.contains("tv      10.0.0.3  de1    100"), "{}", told.out);
    let last = gateway.asked().into_iter().rfind(|asked| asked.line.starts_with("GET /v1/mappings?"));
    assert_eq!(last.unwrap().line, "GET /v1/mappings?limit=500&state=APPLIED&client_id=c-tv");
}
