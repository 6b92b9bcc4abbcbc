//! Lists, and what is shown of them.

use serde_json::{Value, json};

use super::fake::{Fake, page};

fn proxy(name: &str, status: &str, error: Option<&str>) -> Value {
    json!({"id": format!("id-{name}"), "name": name, "scheme": "socks5", "host": "h", "port": 1080, "enabled": true,
        "revision": 3, "health": {"status": status, "latency_ms": 31, "exit_ip": null, "error": error}})
}

#[tokio::test]
async fn a_list_is_a_table_for_people_and_an_array_for_scripts() {
    let list = page(json!([proxy("de1", "OK", None), proxy("nl2", "DOWN", Some("refused"))]));
    let gateway = Fake::default().on("GET /v1/proxies", 200, list).start().await;
    let told = gateway.pgw("proxy list").await;
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["NAME", "SCHEME", "HOST", "PORT", "ON", "HEALTH", "LATENCY", "EXIT", "CHECKED", "ERROR"]
    );
    assert!(
        lines[2].starts_with("nl2   socks5  h     1080  yes  DOWN    31 ms") && lines[2].ends_with("refused"),
        "{}",
        told.out
    );
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    let json: Value = serde_json::from_str(&gateway.pgw("proxy list -o json").await.out).unwrap();
    assert_eq!(json[1]["health"]["error"], "refused");
    let yaml = gateway.pgw("-o yaml proxy ls").await.out;
    assert!(yaml.contains("name: de1") && yaml.starts_with("- "), "{yaml}");
    assert!(gateway.asked().iter().all(|asked| asked.token == "Bearer t0ken"));
}

#[tokio::test]
async fn all_pages_are_read_and_no_more_than_were_asked_for() {
    let first = json!({"items": [proxy("a", "OK", None), proxy("b", "OK", None)], "next_cursor": "x y"});
    let fake = || {
        Fake::default().on("GET /v1/proxies", 200, first.clone()).on(
            "GET /v1/proxies",
            200,
            page(json!([proxy("c", "OK", None)])),
        )
    };
    let gateway = fake().start().await;
    assert_eq!(gateway.pgw("proxy list --sort -name --search de").await.out.lines().count(), 4);
    let lines: Vec<String> = gateway.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(
        lines,
        [
            "GET /v1/proxies?limit=500&q=de&sort=-name",
            "GET /v1/proxies?limit=500&q=de&sort=-name&cursor=x%20y"
        ]
    );
    let gateway = fake().start().await;
    assert_eq!(gateway.pgw("proxy list -n 2").await.out.lines().count(), 3);
    assert_eq!(gateway.asked().len(), 1);
}

#[tokio::test]
async fn what_is_changed_is_what_was_read_and_nothing_goes_while_a_name_is_wrong() {
    let list = page(json!([proxy("de1", "OK", None), proxy("nl2", "OK", None)]));
    let gateway = Fake::default()
        .on("GET /v1/proxies", 200, list)
        .on("PATCH /v1/proxies/id-de1", 200, proxy("de1", "OK", None))
        .on("DELETE /v1/proxies/id-de1", 204, Value::Null)
        .on("DELETE /v1/proxies/id-nl2", 202, json!({"detail": "another gateway removes it"}))
        .start()
        .await;
    let told = gateway.pgw("proxy edit de1 --port 1081 --no-login --label country=de --disable").await;
    assert_eq!((told.code, told.out.as_str()), (0, "proxy de1 is changed\n"));
    assert_eq!(gateway.writes()[0].if_match, "\"3\"");
    assert_eq!(
        gateway.writes()[0].body,
        json!({"port": 1081, "username": null, "password": null, "labels": {"country": "de"}, "enabled": false})
    );
    let told = gateway.pgw("proxy rm de1 nl3").await;
    assert_eq!((told.code, gateway.writes().len()), (3, 1), "{}", told.err);
    let told = gateway.pgw("proxy rm de1 nl2 --cascade").await;
    assert_eq!(told.out, "proxy de1 is removed\nproxy nl2: another gateway removes it\n");
    assert_eq!(gateway.written_lines()[1], "DELETE /v1/proxies/id-de1?cascade=true");
    let told = gateway.pgw("proxy edit de1").await;
    assert_eq!(told.code, 2, "nothing to change: {}", told.err);
}

#[tokio::test]
async fn checks_are_told_together_and_one_that_is_down_fails_them() {
    let list = page(json!([proxy("de1", "OK", None), proxy("nl2", "OK", None)]));
    let gateway = Fake::default()
        .on("GET /v1/proxies", 200, list)
        .on("POST /v1/proxies/id-de1/check", 200, json!({"status": "OK", "latency_ms": 20}))
        .on("POST /v1/proxies/id-nl2/check", 200, json!({"status": "DOWN", "error": "the password is wrong"}))
        .start()
        .await;
    assert_eq!(gateway.pgw("check de1").await.code, 0);
    let told = gateway.pgw("check").await;
    assert_eq!(told.code, 1);
    assert!(told.out.contains("nl2    DOWN    -        -     the password is wrong"), "{}", told.out);
}

#[tokio::test]
async fn a_plan_reads_like_a_diff_and_an_apply_says_how_long_it_can_be_kept() {
    let plan = json!({"create": [{"what": "proxy", "name": "de1"}], "remove": [{"what": "client", "name": "10.0.0.1/32"}],
        "change": [{"what": "proxy", "name": "nl2", "fields": [{"field": "port", "from": 1, "to": 2}]}], "keep": 3});
    let waiting = json!({"waiting": {"id": "a-1"}, "ended": null});
    let gateway = Fake::default()
        .on("POST /v1/apply", 200, json!({"dry_run": true, "plan": plan}))
        .on(
            "POST /v1/apply",
            200,
            json!({"dry_run": false, "plan": plan, "confirm_by": "T", "unfinished": "an agent is silent"}),
        )
        .on("GET /v1/apply", 200, waiting)
        .on("POST /v1/apply/a-1/confirm", 200, json!({"state": "confirmed"}))
        .start()
        .await;
    let told = gateway.pgw_with("plan -f -", "version: 1\n").await;
    let want = "+ proxy de1\n~ proxy nl2\n    port: 1 → 2\n- client 10.0.0.1/32\n1 would be created, 1 would be changed, 1 would be removed, 3 as they are\n";
    assert_eq!((told.code, told.out.as_str()), (0, want));
    let told = gateway.pgw_with("apply -f - --confirm-within 60s", "{\"version\": 1}").await;
    assert_eq!(
        told.err,
        "it goes on by itself: an agent is silent\nall of it is undone at T unless: pgw confirm\n"
    );
    assert_eq!(gateway.pgw("confirm").await.out, "what was applied stays\n");
    let kinds: Vec<String> = gateway.writes().into_iter().map(|asked| asked.content_type).collect();
    assert_eq!(kinds, ["application/yaml", "application/json", ""]);
    assert_eq!(gateway.written_lines()[1], "POST /v1/apply?confirm_within=60s");
}

#[tokio::test]
async fn labels_and_kinds_can_be_taken_away_again() {
    let hook = json!({"id": "h-1", "name": "chat", "url": "https://h", "enabled": true, "revision": 1});
    let gateway = Fake::default()
        .on("GET /v1/proxies", 200, page(json!([proxy("de1", "OK", None)])))
        .on("PATCH /v1/proxies/id-de1", 200, proxy("de1", "OK", None))
        .on("GET /v1/webhooks", 200, page(json!([hook])))
        .on("PATCH /v1/webhooks/h-1", 200, hook)
        .start()
        .await;
    for (line, want) in [
        ("proxy edit de1 --label none", json!({"labels": {}})),
        ("webhook edit chat --kind all", json!({"kinds": []})),
    ] {
        let told = gateway.pgw(line).await;
        assert_eq!(told.code, 0, "{line}: {}", told.err);
        assert_eq!(gateway.writes().pop().unwrap().body, want, "{line}");
    }
}

#[tokio::test]
async fn a_gateway_is_forgotten_by_its_name_and_with_what_it_has_only_if_that_is_said() {
    let detail = "old has 2 clients; give ?cascade=true to remove them as well";
    let refused = json!({"status": 409, "title": "t", "code": "gateway_has_clients", "detail": detail});
    let gateway = Fake::default()
        .on("GET /v1/gateways", 200, page(json!([{"name": "old.gw", "online": false, "clients": 2}])))
        .on("DELETE /v1/gateways/old.gw", 409, refused)
        .on("DELETE /v1/gateways/old.gw", 204, Value::Null)
        .start()
        .await;
    assert_eq!(gateway.pgw("gateway rm other").await.code, 3);
    assert_eq!(gateway.written_lines(), Vec::<String>::new());
    let told = gateway.pgw("gateway rm old.gw").await;
    assert_eq!((told.code, told.err.contains("2 clients")), (4, true), "{}", told.err);
    let told = gateway.pgw("gateway rm old.gw --cascade").await;
    assert_eq!((told.code, told.out.as_str()), (0, "gateway old.gw is removed\n"), "{}", told.err);
    assert_eq!(
        gateway.written_lines(),
        ["DELETE /v1/gateways/old.gw", "DELETE /v1/gateways/old.gw?cascade=true"]
    );
}
