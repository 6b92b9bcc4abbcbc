//! Many things at once, by a file or from standard input.

use serde_json::{Value, json};

use super::fake::{Fake, page};

#[tokio::test]
async fn an_import_tells_each_line_and_fails_if_one_was_not_taken() {
    let answer = json!({"dry_run": true, "created": 1, "unchanged": 0, "failed": 1, "lines": [
        {"line": 1, "result": "would_create", "name": "h:1"}, {"line": 2, "result": "invalid", "detail": "has no port"}]});
    let gateway = Fake::default().on("POST /v1/proxies/import", 200, answer).start().await;
    let told = gateway.pgw_with("proxy import - --scheme socks5 --dry-run", "h:1\nx\n").await;
    assert_eq!(told.code, 1);
    assert!(told.out.contains("2     invalid       -     has no port"), "{}", told.out);
    assert_eq!(told.err, "1 would be created, 0 there already, 1 not taken\n");
    let asked = &gateway.asked()[0];
    assert_eq!(asked.line, "POST /v1/proxies/import?scheme=socks5&dry_run=true");
    assert_eq!((asked.content_type.as_str(), &asked.body), ("text/plain", &json!("h:1\nx\n")));
}

#[tokio::test]
async fn devices_are_registered_line_by_line_and_one_that_is_wrong_keeps_no_other_from_it() {
    let known = json!([{"id": "c-1", "name": "radio", "ip_cidr": "10.0.0.3/32"}]);
    let taken = json!({"type": "about:blank", "title": "t", "status": 409, "code": "name_taken", "detail": "another has it"});
    let made = json!({"id": "c-2", "name": "tv im Büro", "ip_cidr": "10.0.0.4/32"});
    let fake = || Fake::default().on("GET /v1/clients", 200, page(known.clone()));
    let list = "# name, address\ntv im Büro, 10.0.0.4, 02:00:5E:10:00:03\nradio 10.0.0.3\nphone 10.0.0.3\n\
                pc fe80::1\nlonely\ncam 10.0.0.5\ntv im Büro,10.0.0.4\n";
    let gateway = fake().on("POST /v1/clients", 201, made).on("POST /v1/clients", 409, taken).start().await;
    let told = gateway.pgw_with("client import -", list).await;
    assert_eq!(
        (told.code, told.err.as_str()),
        (1, "1 created, 2 there already, 4 not taken\n"),
        "{}",
        told.out
    );
    for words in [
        "2     created    tv im Büro  -",
        "3     unchanged  radio       -",
        "4     invalid    phone       10.0.0.3 is client radio already",
        "5     invalid    pc          fe80::1: is IPv6",
        "6     invalid    lonely      a name and an IPv4 address are needed",
        "7     invalid    cam         another has it (name_taken)",
        "8     unchanged  tv im Büro  -",
    ] {
        assert!(told.out.contains(words), "{words}: {}", told.out);
    }
    let bodies: Vec<Value> = gateway.writes().into_iter().map(|asked| asked.body).collect();
    let first = json!({"name": "tv im Büro", "ip_cidr": "10.0.0.4/32", "mac": "02:00:5e:10:00:03"});
    assert_eq!(bodies, [first, json!({"name": "cam", "ip_cidr": "10.0.0.5/32"})]);

    let gateway = fake().start().await;
    let told = gateway.pgw_with("client import - --dry-run -o json", "tv 10.0.0.4\nTV 10.0.0.4\n").await;
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&told["created"], &told["failed"], gateway.writes().len()), (&json!(1), &json!(1), 0));
    assert_eq!(told["lines"][0]["result"], "would_create");
}

#[tokio::test]
async fn devices_are_mapped_line_by_line_and_a_gateway_that_is_gone_ends_it() {
    let tv = json!({"id": "c-tv", "name": "tv", "ip_cidr": "10.0.0.3/32"});
    let de1 = json!({"id": "p-de1", "name": "de1", "host": "h", "port": 1080});
    let way =
        json!({"id": "m-1", "client_id": "c-tv", "proxy_id": "p-de1", "priority": 100, "enabled": true});
    let fake = || {
        Fake::default()
            .on("GET /v1/clients", 200, page(json!([tv])))
            .on("GET /v1/clients/c-tv", 200, tv.clone())
            .on("GET /v1/proxies", 200, page(json!([de1])))
            .on("GET /v1/proxies/p-de1", 200, de1.clone())
    };
    let list = "tv de1\ntv de9\ntv\ntv de1\n";
    let gateway = fake()
        .on("GET /v1/mappings", 200, page(json!([])))
        .on("GET /v1/mappings", 200, page(json!([way])))
        .on("POST /v1/mappings", 201, way.clone())
        .start()
        .await;
    let told = gateway.pgw_with("map import -", list).await;
    assert_eq!(
        (told.code, told.err.as_str()),
        (1, "1 created, 1 there already, 2 not taken\n"),
        "{}",
        told.out
    );
    assert!(told.out.contains("there is no proxy \"de9\""), "{}", told.out);
    assert_eq!(gateway.written_lines(), ["POST /v1/mappings"]);

    let gateway = fake().on("GET /v1/mappings", 200, page(json!([]))).start().await;
    let told = gateway.pgw_with("map import - --dry-run", "tv de1\n10.0.0.9 de1\n").await;
    assert_eq!((told.code, told.err.as_str()), (0, "2 would be created, 0 there already, 0 not taken\n"));
    assert_eq!(gateway.writes().len(), 0);

    let away = json!({"type": "about:blank", "title": "t", "status": 503, "code": "database_unavailable", "detail": "it is full"});
    let gateway =
        fake().on("GET /v1/mappings", 200, page(json!([]))).on("POST /v1/mappings", 503, away).start().await;
    let told = gateway.pgw_with("map import -", "tv de1\ntv de1\n").await;
    assert_eq!((told.code, gateway.writes().len()), (6, 1), "it was tried again: {}", told.err);
}
