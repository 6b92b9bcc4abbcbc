//! `/v1/telemetry`, `/v1/connections` and `/metrics`.

use pgw_core::control::{Carried, FwdTraffic, NameCount, Sum};
use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, MappingId};

use super::watching::{FakeForwarder, silent_forwarder};
use super::*;

struct Mapped {
    gateway: Gateway,
    client: String,
    proxy: String,
    mapping: MappingId,
}

async fn mapped() -> Mapped {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    let mapping = gateway.make_mapping(&client, &proxy).await;
    Mapped { gateway, client, proxy, mapping: MappingId(mapping.parse().unwrap()) }
}

impl Mapped {
    async fn carried(&self, bytes_down: u64) {
        let sum = Sum { connections: 1, bytes_up: 1, bytes_down };
        let told = FwdTraffic {
            port: 15001,
            run: 1,
            client_id: ClientId(self.client.parse().unwrap()),
            revision: uuid::Uuid::nil(),
            draining: false,
            last: false,
            open: 2,
            carried: vec![Carried { mapping_id: Some(self.mapping), sum }],
            names: vec![NameCount { name: "*.example.co.uk".into(), sum }],
        };
        self.gateway.watch.telemetry.heard(told).await;
    }

    async fn total(&self, query: &str) -> u64 {
        let answer = self.gateway.get(&format!("/v1/telemetry/traffic?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let points = answer.json()["points"].as_array().unwrap().clone();
        points.iter().map(|point| point["bytes_down"].as_u64().unwrap()).sum()
    }
}

#[tokio::test]
async fn what_was_carried_is_told_over_time_before_and_after_it_is_written_down() {
    let it = mapped().await;
    it.carried(1000).await;
    let nobody = uuid::Uuid::from_u128(1);
    for written in [false, true] {
        if written {
            it.gateway.watch.telemetry.write(true, true).await.unwrap();
        }
        for (query, want) in [
            (String::new(), 1000),
            ("window=15m".to_owned(), 1000),
            ("window=24h".to_owned(), 1000),
            (format!("window=30d&client_id={}", it.client), 1000),
            (format!("proxy_id={}", it.proxy), 1000),
            (format!("proxy_id={}&client_id={nobody}", it.proxy), 0),
            (format!("proxy_id={nobody}"), 0),
        ] {
            assert_eq!(it.total(&query).await, want, "{query} written: {written}");
        }
        let names = it.gateway.get(&format!("/v1/telemetry/names?client_id={}", it.client)).await.json();
        assert_eq!(names["items"][0]["name"], "*.example.co.uk", "written: {written}");
        assert_eq!(names["items"][0]["bytes_down"], 1000, "written: {written}");
        assert_eq!(it.gateway.get("/v1/telemetry/names").await.json()["items"], names["items"]);
    }
    it.carried(1500).await;
    assert_eq!(it.total("").await, 1500, "half of it is in the database");
    let hour = it.gateway.get("/v1/telemetry/traffic?window=1h").await.json();
    assert_eq!((&hour["window_s"], &hour["step_s"]), (&3600.into(), &15.into()));
    assert!((240..=242).contains(&hour["points"].as_array().unwrap().len()), "silent steps are told, too");
}

#[tokio::test]
async fn health_over_time_is_told_of_a_proxy_that_is_there() {
    let it = mapped().await;
    let id = ProxyId(it.proxy.parse().unwrap());
    for (status, latency_ms) in [(HealthStatus::Ok, Some(10)), (HealthStatus::Down, None)] {
        it.gateway.watch.telemetry.checked(id, &Health { status, latency_ms, ..Health::default() });
        it.gateway.watch.telemetry.write(false, false).await.unwrap();
    }
    let told = it.gateway.get(&format!("/v1/telemetry/health?proxy_id={}", it.proxy)).await.json();
    let points = told["points"].as_array().unwrap();
    assert!(points.iter().any(|point| point["status"] == "DOWN"), "{told}");
    assert!(points.iter().any(|point| point["latency_ms"] == 10), "{told}");
    let nobody = uuid::Uuid::from_u128(1);
    it.gateway.get(&format!("/v1/telemetry/health?proxy_id={nobody}")).await.refused(404, "not_found");
    it.gateway.get("/v1/telemetry/health").await.invalid_at(&["/proxy_id"]);
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_field_by_field() {
    let gateway = Gateway::new().await;
    for (path, pointers) in [
        (
            "/v1/telemetry/traffic?window=1y&client_id=x&proxy_id=y",
            &["/window", "/client_id", "/proxy_id"][..],
        ),
        ("/v1/telemetry/traffic?limit=1", &["/limit"]),
        ("/v1/telemetry/names?window=30d", &["/window"]),
        ("/v1/telemetry/now?window=1h", &["/window"]),
        ("/v1/connections?cursor=15001&limit=0&client_id=1", &["/cursor", "/limit", "/client_id"]),
        ("/v1/connections?cursor=99999-1", &["/cursor"]),
    ] {
        gateway.get(path).await.invalid_at(pointers);
    }
}

#[tokio::test]
async fn open_connections_of_all_forwarders_are_on_exactly_one_page_each() {
    let it = mapped().await;
    let one = FakeForwarder::start(&it.gateway, 15001, Some(it.mapping), &[5, 7, 9]);
    let two = FakeForwarder::start(&it.gateway, 15002, None, &[1, 2, 3, 4]);
    let _none = FakeForwarder::start(&it.gateway, 15003, None, &[]);
    let all = ["15001-5", "15001-7", "15001-9", "15002-1", "15002-2", "15002-3", "15002-4"];
    for limit in 1..=8 {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _page in 0..20 {
            let page = it.gateway.get(&format!("/v1/connections?limit={limit}{cursor}")).await.json();
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, all, "by {limit}");
    }
    let first = &it.gateway.get("/v1/connections").await.json()["items"][0];
    for (field, want) in [
        ("client_id", json!(it.client)),
        ("ip", json!("192.168.2.3")),
        ("proxy_id", json!(it.proxy)),
        ("proxy", json!("de1")),
        ("name", json!("*.5.example")),
        ("bytes_down", json!(2)),
    ] {
        assert_eq!(first[field], want, "{field}");
    }
    assert_eq!((one.open().len(), two.open().len()), (3, 4));
}

#[tokio::test]
async fn connections_are_found_by_client_proxy_and_part_of_a_name() {
    let it = mapped().await;
    let _one = FakeForwarder::start(&it.gateway, 15001, Some(it.mapping), &[5, 7]);
    let _two = FakeForwarder::start(&it.gateway, 15002, None, &[7, 8]);
    for (query, want) in [
        (format!("client_id={}", it.client), vec!["15001-5", "15001-7"]),
        (format!("proxy_id={}&limit=1", it.proxy), vec!["15001-5"]),
        ("q=7.EXAMPLE".to_owned(), vec!["15001-7", "15002-7"]),
        ("q=7.example&cursor=15001-7".to_owned(), vec!["15002-7"]),
        ("q=168.2.3".to_owned(), vec!["15001-5", "15001-7"]),
        ("q=de1&client_id=".to_owned() + &uuid::Uuid::nil().to_string(), vec![]),
    ] {
        let page = it.gateway.get(&format!("/v1/connections?{query}")).await.json();
        let found: Vec<_> = page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(found, want, "{query}");
    }
}

#[tokio::test]
async fn a_forwarder_that_does_not_answer_is_named_and_takes_nothing_from_the_others() {
    let it = mapped().await;
    let _one = FakeForwarder::start(&it.gateway, 15001, Some(it.mapping), &[5]);
    let _silent = silent_forwarder(&it.gateway, 15002);
    let _two = FakeForwarder::start(&it.gateway, 15003, None, &[8]);
    // Its forwarder has died meanwhile, and so have its connections.
    it.gateway.board.forwarder_ready(15004, [].into());
    let page = it.gateway.get("/v1/connections").await.json();
    assert_eq!(page["silent"], json!([15002]));
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next_cursor"]), (2, &Value::Null));
    it.gateway
        .call(ADMIN, Method::DELETE, "/v1/connections/15002-1", None)
        .await
        .refused(503, "forwarder_silent");
}

#[tokio::test]
async fn a_connection_is_ended_once_and_what_is_not_there_is_not_found() {
    let it = mapped().await;
    let forwarder = FakeForwarder::start(&it.gateway, 15001, Some(it.mapping), &[5, 7]);
    let end = async |token, id: &str| {
        it.gateway.call(token, Method::DELETE, &format!("/v1/connections/{id}"), None).await
    };
    end(VIEWER, "15001-5").await.refused(403, "forbidden");
    assert_eq!(end(ADMIN, "15001-5").await.status, 204);
    assert_eq!(forwarder.open(), [7]);
    for id in ["15001-5", "15002-7", "80-7", "15001", "15001-", "15001-x", "-7", "+15001-7", "99999-1"] {
        end(ADMIN, id).await.refused(404, "not_found");
    }
    assert_eq!(forwarder.open(), [7]);
}

#[tokio::test]
async fn now_tells_of_those_who_have_connections() {
    let it = mapped().await;
    assert_eq!(it.gateway.get("/v1/telemetry/now").await.json()["clients"], json!([]));
    it.carried(10).await;
    let now = it.gateway.get("/v1/telemetry/now").await.json();
    assert_eq!((&now["connections"], &now["clients"][0]["client_id"]), (&2.into(), &json!(it.client)));
}
