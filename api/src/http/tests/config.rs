//! The configuration as one document: export, apply, and what is refused.

use pgw_core::health::{Health, HealthStatus};

use super::*;
use crate::http::frame::Remark;

/// Two proxies, two clients, three mappings.
async fn shop() -> Gateway {
    let gateway = Gateway::new().await;
    for name in ["exit-de", "exit-fr"] {
        gateway.make_proxy(name).await;
    }
    let document = json!({"version": 1, "clients": [
        {"name": "phone", "ip_cidr": "192.168.2.3", "note": "two\nlines\n", "mappings": [
            {"proxy": "exit-de"}, {"proxy": "exit-fr", "priority": 200, "target": "hostname"}]},
        {"name": "tv: 'no'", "ip_cidr": "192.168.2.10", "mac": "02:00:5e:10:00:03", "mappings": [
            {"proxy": "exit-fr", "enabled": false}]},
    ]});
    let applied = gateway.post("/v1/apply", document).await;
    assert_eq!(applied.status, 200, "{}", applied.text);
    gateway.engine.asked();
    gateway
}

impl Gateway {
    async fn send_text(&self, path: &str, kind: &str, text: impl Into<Body>) -> Answer {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
            .header(header::CONTENT_TYPE, kind);
        self.send(request.body(text.into()).unwrap()).await
    }

    async fn export(&self, query: &str, accept: &str) -> String {
        let request = Request::get(format!("/v1/export{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
            .header(header::ACCEPT, accept);
        let answer = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &accept.parse().unwrap())
        );
        let remark = answer.extensions().get::<Remark>().map(|remark| remark.0);
        assert_eq!(remark.is_some(), query.contains("secrets=true"), "the access log tells of secrets");
        String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn config(&self) -> Value {
        serde_json::from_str(&self.export("", "application/json").await).unwrap()
    }

    /// Applies it and answers with the plan.
    async fn apply(&self, query: &str, document: &Value) -> Value {
        let answer = self.post(&format!("/v1/apply{query}"), document.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }
}

fn names(things: &Value) -> Vec<String> {
    let name =
        |thing: &Value| format!("{} {}", thing["what"].as_str().unwrap(), thing["name"].as_str().unwrap());
    things.as_array().unwrap().iter().map(name).collect()
}

#[tokio::test]
async fn what_is_exported_says_all_and_applying_it_again_touches_nothing() {
    let gateway = shop().await;
    let before = gateway.get("/v1/mappings").await.text;
    for kind in ["application/json", "application/yaml"] {
        for query in ["", "?secrets=true"] {
            let text = gateway.export(query, kind).await;
            assert_eq!(text.contains(PASSWORD), !query.is_empty(), "{text}");
            let answer = gateway.send_text("/v1/apply", kind, text).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            let plan = &answer.json()["plan"];
            assert_eq!(*plan, json!({"create": [], "change": [], "remove": [], "keep": 7}));
        }
    }
    assert_eq!(gateway.get("/v1/mappings").await.text, before);
    assert_eq!(gateway.engine.asked(), [""; 0]);
}

#[tokio::test]
async fn an_export_makes_another_gateway_the_same() {
    let gateway = shop().await;
    let other = Gateway::new().await;
    let text = gateway.export("?secrets=true", "application/yaml").await;
    let answer = other.send_text("/v1/apply", "application/yaml", text.clone()).await;
    assert_eq!(answer.json()["plan"]["create"].as_array().unwrap().len(), 7, "{}", answer.text);
    assert_eq!(other.export("?secrets=true", "application/yaml").await, text);
}

#[tokio::test]
async fn a_document_changes_what_it_says_and_nobody_else_notices() {
    let gateway = shop().await;
    let mut document = gateway.config().await;
    let tv = gateway.get("/v1/clients?q=tv").await.json()["items"][0].clone();
    let (de, fr) = (id_of(&gateway, "exit-de").await, id_of(&gateway, "exit-fr").await);
    for proxy in [&de, &fr] {
        gateway.found(proxy, Health { status: HealthStatus::Ok, ..Health::default() }).await;
    }
    document["clients"][0]["name"] = "telephone".into();
    document["clients"][0]["mappings"] = json!([{"proxy": "exit-fr", "priority": 300, "target": "hostname"}]);
    document["clients"].as_array_mut().unwrap().push(json!({"name": "new", "ip_cidr": "192.168.2.4"}));
    document["proxies"][0]["note"] = "noted".into();
    let changes = async || gateway.get("/v1/journal?kind=change&limit=500").await.json()["items"].clone();
    let before = changes().await.as_array().unwrap().len();
    let told = gateway.apply("?dry_run=true", &document).await;
    assert_eq!(gateway.engine.asked(), [""; 0]);
    let done = gateway.apply("", &document).await;
    assert_eq!(told["plan"], done["plan"]);
    assert_eq!((&told["dry_run"], &done["dry_run"]), (&json!(true), &json!(false)));
    let plan = &done["plan"];
    assert_eq!(names(&plan["create"]), ["client 192.168.2.4/32"]);
    assert_eq!(names(&plan["remove"]), ["mapping 192.168.2.3/32 → exit-de"]);
    assert_eq!(
        plan["change"],
        json!([
            {"what": "proxy", "name": "exit-de", "fields": [{"field": "note", "from": "", "to": "noted"}]},
            {"what": "client", "name": "192.168.2.3/32", "fields": [{"field": "name", "from": "phone", "to": "telephone"}]},
            {"what": "mapping", "name": "192.168.2.3/32 → exit-fr", "fields": [{"field": "priority", "from": 200, "to": 300}]},
        ])
    );
    assert_eq!(plan["keep"], 3);
    let written = changes().await;
    assert_eq!(
        written.as_array().unwrap().len() - before,
        6,
        "one for each step, and one for the whole: {written}"
    );
    assert_eq!(
        (&written[0]["data"]["what"], &written[0]["data"]["action"]),
        (&json!("config"), &json!("applied"))
    );
    assert_eq!(written[0]["by"], "token admin");
    let phone = gateway.get("/v1/clients?q=telephone").await.json()["items"][0]["id"].clone();
    let new = gateway.get("/v1/clients?q=new").await.json()["items"][0]["id"].clone();
    let mut asked = gateway.engine.asked();
    asked.sort();
    let mut want = vec![
        format!("settle {}", phone.as_str().unwrap()),
        format!("settle {}", new.as_str().unwrap()),
        format!("soon {fr}"),
    ];
    want.sort();
    assert_eq!(asked, want);
    assert_eq!(gateway.get(&format!("/v1/clients/{}", tv["id"].as_str().unwrap())).await.json(), tv);
    assert_eq!(gateway.config().await, gateway.config().await);
}

async fn id_of(gateway: &Gateway, proxy: &str) -> String {
    let found = gateway.get(&format!("/v1/proxies?q={proxy}")).await.json();
    found["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn whoever_is_kept_keeps_the_port_and_whoever_comes_gets_the_lowest() {
    let gateway = shop().await;
    let ports = async || {
        let items = gateway.get("/v1/mappings").await.json()["items"].clone();
        let port = |item: &Value| (item["id"].as_str().unwrap().to_owned(), item["port"].as_u64().unwrap());
        items.as_array().unwrap().iter().map(port).collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = ports().await;
    let mut document = gateway.config().await;
    let clients = document["clients"].as_array_mut().unwrap();
    clients.reverse();
    clients.insert(0, json!({"name": "first", "ip_cidr": "192.168.2.1", "mappings": [{"proxy": "exit-de"}]}));
    gateway.apply("", &document).await;
    let after = ports().await;
    assert!(before.iter().all(|(id, port)| after.get(id) == Some(port)));
    let new: Vec<u64> =
        after.iter().filter(|(id, _)| !before.contains_key(*id)).map(|(_, port)| *port).collect();
    assert_eq!(new, [15003]);
}

#[tokio::test]
async fn a_document_with_a_mistake_changes_nothing_at_all() {
    let gateway = shop().await;
    let before = gateway.config().await;
    let mut document = before.clone();
    document["proxies"][0]["note"] = "changed".into();
    document["clients"][0]["mappings"][1]["proxy"] = "nowhere".into();
    document["clients"][1]["nmae"] = 1.into();
    gateway.post("/v1/apply", document.clone()).await.invalid_at(&["/clients/1/nmae"]);
    document["clients"][1].as_object_mut().unwrap().remove("nmae");
    gateway.post("/v1/apply", document.clone()).await.invalid_at(&["/clients/0/mappings/1/proxy"]);
    gateway.post("/v1/apply?dry_run=true", document).await.invalid_at(&["/clients/0/mappings/1/proxy"]);
    let only_proxies = json!({"version": 1, "proxies": []});
    gateway.post("/v1/apply", only_proxies).await.invalid_at(&["/proxies", "/proxies"]);
    gateway.send_text("/v1/apply", "application/yaml", "version: &v 1").await.refused(400, "malformed_yaml");
    gateway.send_text("/v1/apply", "application/json", "{").await.refused(400, "malformed_json");
    gateway.send_text("/v1/apply", "text/plain", "version: 1").await.refused(415, "unsupported_media_type");
    let large = vec![b' '; 17 * 1024 * 1024];
    gateway.send_text("/v1/apply", "application/json", large).await.refused(413, "payload_too_large");
    assert_eq!(gateway.config().await, before);
    assert_eq!(gateway.engine.asked(), [""; 0]);
}

#[tokio::test]
async fn a_document_that_needs_more_ports_than_there_are_changes_nothing_and_a_dry_run_says_so() {
    let gateway = Gateway::with(PortRange::spanning(15001, 15002), PATIENCE).await;
    let client =
        |last: u8| json!({"name": "x", "ip_cidr": format!("192.168.2.{last}"), "mappings": [{"proxy": "p"}]});
    let proxy = json!({"name": "p", "scheme": "http", "host": "h.example", "port": 1});
    let document = json!({"version": 1, "proxies": [proxy], "clients": [client(1), client(2), client(3)]});
    for query in ["", "?dry_run=true"] {
        gateway.post(&format!("/v1/apply{query}"), document.clone()).await.refused(409, "ports_exhausted");
    }
    assert_eq!(
        gateway.config().await,
        json!({"version": 1, "proxies": [], "clients": [], "tunnel_clients": []})
    );
}

#[tokio::test]
async fn only_an_admin_sees_passwords_and_applies() {
    let gateway = shop().await;
    let viewer = async |method, path: &str, body| gateway.call(VIEWER, method, path, body).await;
    assert_eq!(viewer(Method::GET, "/v1/export", None).await.status, 200);
    assert_eq!(viewer(Method::GET, "/v1/export?secrets=false", None).await.status, 200);
    viewer(Method::GET, "/v1/export?secrets=true", None).await.refused(403, "forbidden");
    let nothing = Some(json!({"version": 1}));
    viewer(Method::POST, "/v1/apply?dry_run=true", nothing.clone()).await.refused(403, "forbidden");
    viewer(Method::POST, "/v1/proxies/import", nothing).await.refused(403, "forbidden");
    assert_eq!(viewer(Method::GET, "/v1/apply", None).await.status, 200);
}

#[tokio::test]
async fn an_answer_tells_what_is_not_closed_yet() {
    let gateway = shop().await;
    gateway.engine.unsettled.store(true, std::sync::atomic::Ordering::SeqCst);
    let done = gateway.apply("", &json!({"version": 1, "clients": []})).await;
    assert!(done["unfinished"].as_str().unwrap().contains("agent"), "{done}");
}
