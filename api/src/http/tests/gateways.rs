//! Clients of other gateways: seen and changed from here, and brought about there.

use sqlx::{Connection, SqliteConnection};

use super::*;

/// As if another gateway had shown itself.
async fn with_a_neighbour() -> Gateway {
    let gateway = Gateway::new().await;
    let url = format!("sqlite://{}", gateway.place.path().join("pgw.db").display());
    let mut db = SqliteConnection::connect(&url).await.unwrap();
    let row = "insert into gateways values ('gw2', '1.0', 16001, 16009, '2026-11-20T10:00:00Z', '2026-11-20T10:00:00Z')";
    sqlx::query(row).execute(&mut db).await.unwrap();
    gateway
}

/// As it does while it runs.
async fn shows_itself(gateway: &Gateway) {
    let presence = crate::store::Presence {
        version: "1",
        ports: PortRange::spanning(15001, 15009),
        started_at: jiff::Timestamp::UNIX_EPOCH,
    };
    crate::store::Gateways::show_presence(&*gateway.store, &presence).await.unwrap();
}

#[tokio::test]
async fn another_gateways_client_is_written_from_here_and_the_answer_says_who_was_told() {
    let gateway = with_a_neighbour().await;
    let proxy = gateway.make_proxy("de1").await;
    let there = json!({"name": "tv", "ip_cidr": "192.168.2.3", "gateway": "gw2"});
    let client = gateway.make("/v1/clients", there.clone()).await;
    let here = gateway.make("/v1/clients", json!({"name": "tv", "ip_cidr": "192.168.2.3"})).await;
    gateway.engine.asked();
    let mapping = gateway.make_mapping(&client, &proxy).await;
    let mapping = gateway.get(&format!("/v1/mappings/{mapping}")).await.json();
    assert_eq!((&mapping["gateway"], &mapping["port"]), (&json!("gw2"), &json!(16001)));
    gateway.patch(&format!("/v1/clients/{client}"), json!({"ip_cidr": "192.168.2.9"})).await;
    gateway.get(&format!("/v1/explain?client={client}")).await.invalid_at(&["/client"]);
    for path in [format!("/v1/mappings/{}", mapping["id"].as_str().unwrap()), format!("/v1/clients/{client}")]
    {
        let told = gateway.delete(&path).await;
        assert_eq!(told.status, 202, "{}", told.text);
        assert!(told.json()["detail"].as_str().unwrap().contains("gateway gw2 was told"), "{}", told.text);
    }
    let settled = gateway.engine.asked().iter().any(|asked| asked.starts_with("settle"));
    assert!(!settled, "nobody waits for what is not done here");
    let told = gateway.delete(&format!("/v1/clients/{here}")).await;
    assert_eq!(told.status, 204);
}

#[tokio::test]
async fn lists_hold_all_gateways_rows_or_those_of_one() {
    let gateway = with_a_neighbour().await;
    for (last, name) in [(3, "gw1"), (4, "gw2"), (5, "gw2")] {
        let client = json!({"name": "tv", "ip_cidr": format!("192.168.2.{last}"), "gateway": name});
        gateway.make("/v1/clients", client).await;
    }
    for (query, want) in [("", 3), ("?gateway=gw1", 1), ("?gateway=gw2", 2), ("?gateway=gw3", 0)] {
        let list = gateway.get(&format!("/v1/clients{query}")).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), want, "{query}");
    }
    assert_eq!(gateway.get("/v1/mappings?gateway=gw2").await.json()["items"], json!([]));
    gateway.get("/v1/clients?gateway=a%20b").await.invalid_at(&["/gateway"]);
    let nowhere = json!({"name": "tv", "ip_cidr": "192.168.2.9", "gateway": "gw3"});
    gateway.post("/v1/clients", nowhere).await.invalid_at(&["/gateway"]);
}

#[tokio::test]
async fn every_gateway_is_listed_and_one_that_was_not_seen_for_long_is_not_online() {
    let gateway = with_a_neighbour().await;
    let list = gateway.get("/v1/gateways").await.json();
    let other = &list["items"][0];
    assert_eq!(
        (&other["name"], &other["online"], &other["ports_free"]),
        (&json!("gw2"), &json!(false), &json!(9))
    );
    gateway.get("/v1/gateways?limit=0&state=online").await.invalid_at(&["/limit", "/state"]);
}

#[tokio::test]
async fn a_gateway_that_will_not_come_back_is_removed_with_what_was_its_own_and_no_other() {
    let gateway = with_a_neighbour().await;
    let proxy = gateway.make_proxy("de1").await;
    let there = json!({"name": "tv", "ip_cidr": "192.168.2.3", "gateway": "gw2"});
    let (there, here) = (gateway.make("/v1/clients", there).await, gateway.make_client(4).await);
    for client in [&there, &here] {
        gateway.make_mapping(client, &proxy).await;
    }
    gateway.call(OPERATOR, Method::DELETE, "/v1/gateways/gw2", None).await.refused(403, "forbidden");
    let in_use = gateway.delete("/v1/gateways/gw2").await;
    in_use.refused(409, "in_use");
    assert!(in_use.json()["detail"].as_str().unwrap().contains("1 clients"), "{}", in_use.text);
    assert_eq!(gateway.delete("/v1/gateways/gw2?cascade=true").await.status, 204);
    for nothing in ["gw2", "gw3", "no%20name"] {
        gateway.delete(&format!("/v1/gateways/{nothing}?cascade=true")).await.refused(404, "not_found");
    }
    gateway.get(&format!("/v1/clients/{there}")).await.refused(404, "not_found");
    assert_eq!(gateway.get(&format!("/v1/clients/{here}")).await.status, 200);
    let events = gateway.get("/v1/journal?kind=change&limit=3").await.json();
    let told: Vec<String> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            format!("{} {}", event["data"]["what"].as_str().unwrap(), event["data"]["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, ["gateway gw2", "client tv", "mapping tv by de1"]);
    assert_eq!(gateway.delete(&format!("/v1/proxies/{proxy}?cascade=true")).await.status, 204);
}

#[tokio::test]
async fn a_gateway_that_runs_is_not_removed() {
    let gateway = with_a_neighbour().await;
    shows_itself(&gateway).await;
    gateway.delete("/v1/gateways/gw1?cascade=true").await.refused(409, "gateway_online");
}

#[tokio::test]
async fn gateways_are_listed_in_pages_like_everything_else() {
    let gateway = with_a_neighbour().await;
    shows_itself(&gateway).await;
    for (query, order) in
        [("", ["gw1", "gw2"]), ("sort=name&", ["gw1", "gw2"]), ("sort=-name&", ["gw2", "gw1"])]
    {
        let page = gateway.get(&format!("/v1/gateways?{query}limit=1")).await.json();
        assert_eq!(
            (page["items"].as_array().unwrap().len(), &page["items"][0]["name"]),
            (1, &json!(order[0]))
        );
        let next = page["next_cursor"].as_str().unwrap();
        let page = gateway.get(&format!("/v1/gateways?{query}limit=1&cursor={next}")).await.json();
        assert_eq!((&page["items"][0]["name"], &page["next_cursor"]), (&json!(order[1]), &Value::Null));
    }
    assert_eq!(gateway.get("/v1/gateways?q=GW2").await.json()["items"].as_array().unwrap().len(), 1);
}
