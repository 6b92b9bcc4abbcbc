//! `/metrics`, as its readers rely on it.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::control::{Carried, FwdTraffic, Sum};
use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, MappingId};

use super::*;

/// A gateway of which there is something to tell of everything.
async fn busy() -> (Gateway, String) {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de \"1\" \\ é {} x").await, gateway.make_client(3).await);
    let mapping = gateway.make_mapping(&client, &proxy).await;
    let health = Health { status: HealthStatus::Ok, latency_ms: Some(120), ..Health::default() };
    gateway.board.set_health(ProxyId(proxy.parse().unwrap()), health.clone());
    gateway.board.kernel_reported(&pgw_core::active::ReconcileReport::default());
    gateway.watch.counts.check(&health);
    carry(&gateway, &client, &mapping, 1, 1000).await;
    (gateway, mapping)
}

async fn carry(gateway: &Gateway, client: &str, mapping: &str, run: u64, bytes_down: u64) {
    let mapping_id = Some(MappingId(mapping.parse().unwrap()));
    let told = FwdTraffic {
        port: 15001,
        run,
        client_id: ClientId(client.parse().unwrap()),
        revision: uuid::Uuid::nil(),
        draining: false,
        last: false,
        open: 2,
        carried: vec![Carried { mapping_id, sum: Sum { connections: 1, bytes_up: 5, bytes_down } }],
        names: vec![],
    };
    gateway.watch.telemetry.heard(told).await;
}

/// By name with labels, what stands on the page.
async fn samples(gateway: &Gateway) -> BTreeMap<String, f64> {
    let page = gateway.call(VIEWER, Method::GET, "/metrics", None).await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    let lines = page.text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[tokio::test]
async fn everything_is_told_once_with_help_and_a_type() {
    let (gateway, _) = busy().await;
    let page = gateway.get("/metrics").await.text;
    let (mut helped, mut typed) = (BTreeSet::new(), BTreeMap::new());
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(helped.insert(rest.split(' ').next().unwrap().to_owned()), "twice: {line}");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            assert!(typed.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
        } else {
            let name = line.split(['{', ' ']).next().unwrap();
            let family = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| typed.get(*family).is_some_and(|kind| kind == "histogram"));
            let family = family.unwrap_or(name);
            assert!(helped.contains(family), "{line}: no help");
            match typed[family].as_str() {
                "counter" => assert!(name.ends_with("_total"), "{line}"),
                "gauge" | "histogram" => assert!(!name.ends_with("_total"), "{line}"),
                other => panic!("{line}: {other}"),
            }
        }
    }
    assert!(typed.len() >= 20, "{typed:?}");
}

#[tokio::test]
async fn what_is_told_is_what_is_there() {
    let (gateway, _) = busy().await;
    let told = samples(&gateway).await;
    let one = |start: &str| -> f64 {
        let found: Vec<_> = told.iter().filter(|(name, _)| name.starts_with(start)).collect();
        assert_eq!(found.len(), 1, "{start}: {found:?}");
        *found[0].1
    };
    for (name, want) in [
        ("pgw_clients{state=\"closed\"}", 1.0),
        ("pgw_clients{state=\"open\"}", 0.0),
        ("pgw_mappings{state=\"pending\"}", 1.0),
        ("pgw_proxies{health=\"ok\"}", 1.0),
        ("pgw_proxy_latency_seconds", 0.12),
        ("pgw_proxy_up", 1.0),
        ("pgw_connections", 2.0),
        ("pgw_event_readers", 0.0),
        ("pgw_agent_up", 1.0),
        ("pgw_agent_drift_total", 3.0),
        ("pgw_drill_closed", 1.0),
        ("pgw_drill_last_closed_timestamp_seconds", 1_800_000_000.0),
        ("pgw_health_checks_total{result=\"answered\"}", 1.0),
        ("pgw_http_requests_total{method=\"POST\",route=\"/v1/clients\",status=\"201\"}", 1.0),
        ("pgw_http_request_duration_seconds_count{method=\"POST\",route=\"/v1/clients\"}", 1.0),
        ("pgw_build_info", 1.0),
    ] {
        assert_eq!(one(name), want, "{name}");
    }
    assert!(one("pgw_agent_last_reconcile_timestamp_seconds") > 1.7e9);
    let down = told.iter().find(|(name, _)| {
        name.starts_with("pgw_proxy_traffic_bytes_total")
            && name.contains("proxy=\"de \\\"1\\\" \\\\ é {} x\"")
            && name.contains("direction=\"down\"")
    });
    assert_eq!(down.unwrap().1, &1000.0);
}

#[tokio::test]
async fn counters_never_go_back_when_a_forwarder_begins_anew() {
    let (gateway, mapping) = busy().await;
    let client = gateway.get("/v1/clients").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let mut before = samples(&gateway).await;
    for (run, bytes) in [(1, 1500), (2, 10), (2, 20), (3, 0)] {
        carry(&gateway, &client, &mapping, run, bytes).await;
        let now = samples(&gateway).await;
        for (name, value) in before.iter().filter(|(name, _)| name.contains("_total")) {
            assert!(now[name] >= *value, "{name} was {value}");
        }
        before = now;
    }
    let bytes = |direction: &str| -> f64 {
        let of =
            |name: &&String| name.starts_with("pgw_client_traffic_bytes_total") && name.contains(direction);
        before[before.keys().find(of).unwrap()]
    };
    assert_eq!(bytes("down"), 1520.0);
}

#[tokio::test]
async fn a_caller_who_makes_up_paths_and_methods_makes_up_no_labels() {
    let gateway = Gateway::new().await;
    for n in 0..20 {
        gateway.get(&format!("/v1/made-up/{n}")).await;
        let method = Method::from_bytes(format!("MADE{n}").as_bytes()).unwrap();
        gateway.call(ADMIN, method, "/v1/clients", None).await;
        gateway.get(&format!("/v1/clients/{n}")).await;
    }
    let told = samples(&gateway).await;
    let calls: Vec<_> = told.keys().filter(|name| name.starts_with("pgw_http_requests_total")).collect();
    assert!(calls.len() <= 4, "{calls:?}");
    assert!(!calls.iter().any(|name| name.contains("MADE") || name.contains("made-up")), "{calls:?}");
}

#[tokio::test]
async fn the_dashboard_shows_only_what_is_told() {
    let (gateway, _) = busy().await;
    let told: BTreeSet<String> =
        samples(&gateway).await.into_keys().map(|name| name.split('{').next().unwrap().to_owned()).collect();
    let dashboard: Value =
        serde_json::from_str(include_str!("../../../../packaging/grafana/pgw.json")).unwrap();
    let mut asked = BTreeSet::new();
    let panels = dashboard["panels"].as_array().unwrap();
    let expressions = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let texts = expressions.map(|target| target["expr"].as_str().unwrap());
    for text in texts.chain(variables.filter_map(|variable| variable["query"]["query"].as_str())) {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        asked.extend(words.filter(|word| word.starts_with("pgw_") || word.starts_with("process_")));
    }
    assert!(asked.len() >= 15, "{asked:?}");
    for name in asked {
        assert!(told.contains(name), "{name} is on the dashboard and not on the page");
    }
    let sources: BTreeSet<&str> =
        panels.iter().map(|panel| panel["datasource"]["uid"].as_str().unwrap()).collect();
    assert_eq!(
        sources.into_iter().collect::<Vec<_>>(),
        ["${datasource}"],
        "whoever has it chooses the source"
    );
}

#[tokio::test]
async fn nobody_without_a_token_reads_it() {
    let gateway = Gateway::new().await;
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    gateway.send(request).await.refused(401, "unauthorized");
}
