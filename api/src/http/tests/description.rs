//! The OpenAPI document, and the page that shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::*;

const METHODS: [&str; 4] = ["get", "post", "patch", "delete"];

async fn document() -> Value {
    let gateway = Gateway::new().await;
    let answer = gateway.call(VIEWER, Method::GET, "/openapi.json", None).await;
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test]
async fn every_call_is_described() {
    let document = document().await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut found: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        found.extend(METHODS.iter().filter(|m| item.get(**m).is_some()).map(|m| format!("{m} {path}")));
    }
    found.sort();
    let mut want: Vec<String> = Vec::new();
    for list in [
        "/v1/proxies",
        "/v1/clients",
        "/v1/mappings",
        "/v1/users",
        "/v1/webhooks",
        "/v1/tunnel-clients",
        "/v1/tunnels",
    ] {
        want.extend(["get", "post"].map(|method| format!("{method} {list}")));
        want.extend(["get", "patch", "delete"].map(|method| format!("{method} {list}/{{id}}")));
    }
    want.extend(
        [
            "post /v1/proxies/{id}/check",
            "post /v1/proxies/import",
            "get /v1/export",
            "get /v1/schema/config.json",
            "get /v1/apply",
            "post /v1/apply",
            "post /v1/apply/{id}/confirm",
            "get /v1/mappings/active",
            "get /v1/me",
            "post /v1/me/password",
            "get /v1/setup",
            "post /v1/setup",
            "post /v1/login",
            "post /v1/logout",
            "get /v1/explain",
            "get /v1/gateways",
            "delete /v1/gateways/{name}",
            "get /v1/events",
            "get /v1/ws",
            "get /v1/journal",
            "post /v1/webhooks/{id}/test",
            "post /v1/tunnel-clients/{id}/token",
            "post /v1/tunnel-clients/{id}/disconnect",
            "get /v1/tunnel-clients/{id}/sessions",
            "post /v1/tunnels/{id}/close",
            "post /v1/tunnels/{id}/verify",
            "get /v1/tunnels/{id}/stats",
            "get /v1/tunnels/{id}/sessions",
            "get /v1/tunnels/{id}/client-file",
            "post /v1/tunnel-clients/{id}/enrolment",
            "get /v1/verify/{code}",
            "post /v1/verify/{code}",
            "get /v1/tokens",
            "post /v1/tokens",
            "get /v1/tokens/{id}",
            "delete /v1/tokens/{id}",
            "get /v1/telemetry/traffic",
            "get /v1/telemetry/now",
            "get /v1/telemetry/health",
            "get /v1/telemetry/names",
            "get /v1/connections",
            "delete /v1/connections/{id}",
            "get /metrics",
            "get /healthz",
            "get /readyz",
            "get /version",
        ]
        .map(str::to_owned),
    );
    want.sort();
    assert_eq!(found, want);
}

/// The pages of pgw-ui are built against this file, without an API that runs.
#[tokio::test]
async fn the_golden_description_that_the_pages_are_built_with_is_this_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/web/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&document().await).unwrap());
    if std::env::var("PGW_GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "ui/web/openapi.json is not what is served; run `cargo xtask golden`");
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_every_operation_has_an_id_of_its_own() {
    let document = document().await;
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in METHODS.iter().filter_map(|method| item.get(*method)) {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice, at {path}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{path} {status}"
                );
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                let failed = status.starts_with(['4', '5'])
                    && (status, path.as_str()) != (&"503".to_owned(), "/readyz");
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(problem == "#/components/schemas/Problem", failed, "{path} {status}");
            }
            for always in ["400", "421", "500", "503"] {
                assert!(operation["responses"].get(always).is_some(), "{path} {always}");
            }
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let declared = operation["parameters"].as_array().unwrap();
                assert!(
                    declared.iter().any(|p| p["name"] == name && p["in"] == "path" && p["required"] == true)
                );
            }
        }
    }
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}

/// A field that is documented is never refused as unknown, and an undocumented one always is.
#[tokio::test]
async fn the_documented_fields_are_the_ones_that_are_taken() {
    let document = document().await;
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    let mapping = gateway.make_mapping(&client, &proxy).await;
    let user = gateway.make_user("alice", "viewer").await;
    let tunnel_client = gateway.make_tunnel_client("pi").await;
    let tunnel = gateway.make_tunnel(&tunnel_client, json!({})).await;
    for (schema, method, path) in [
        ("ProxyCreate", Method::POST, "/v1/proxies".to_owned()),
        ("ProxyUpdate", Method::PATCH, format!("/v1/proxies/{proxy}")),
        ("ClientCreate", Method::POST, "/v1/clients".to_owned()),
        ("ClientUpdate", Method::PATCH, format!("/v1/clients/{client}")),
        ("MappingCreate", Method::POST, "/v1/mappings".to_owned()),
        ("MappingUpdate", Method::PATCH, format!("/v1/mappings/{mapping}")),
        ("TunnelClientCreate", Method::POST, "/v1/tunnel-clients".to_owned()),
        ("TunnelClientUpdate", Method::PATCH, format!("/v1/tunnel-clients/{tunnel_client}")),
        ("TunnelCreate", Method::POST, "/v1/tunnels".to_owned()),
        ("TunnelUpdate", Method::PATCH, format!("/v1/tunnels/{tunnel}")),
        ("TokenCreate", Method::POST, "/v1/tokens".to_owned()),
        ("UserCreate", Method::POST, "/v1/users".to_owned()),
        ("UserUpdate", Method::PATCH, format!("/v1/users/{user}")),
        ("Setup", Method::POST, "/v1/setup".to_owned()),
        ("Login", Method::POST, "/v1/login".to_owned()),
    ] {
        let schema_of = &document["components"]["schemas"][schema];
        assert_eq!(schema_of["additionalProperties"], false, "{schema}");
        let body: serde_json::Map<String, Value> = schema_of["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(|field| (field.clone(), json!([])))
            .collect();
        assert!(!body.is_empty(), "{schema}");
        let answer = gateway.call(ADMIN, method, &path, Some(Value::Object(body))).await;
        answer.refused(400, "validation_failed");
        assert!(!answer.text.contains("can be given here"), "{schema}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_page_needs_no_internet_and_takes_a_token_as_a_browser_sends_it() {
    let gateway = Gateway::new().await;
    let typed = format!("Basic {}", BASE64.encode(format!("me:{VIEWER}")));
    let ask = async |path: &str| {
        let request = Request::get(path).header(header::AUTHORIZATION, &typed);
        gateway.send(request.body(Body::empty()).unwrap()).await
    };
    let redirect = ask("/docs").await;
    assert_eq!((redirect.status.as_u16(), redirect.header("location")), (303, "/docs/"));
    let page = ask("/docs/").await;
    assert_eq!(page.status, 200);
    let setup = ask("/docs/swagger-initializer.js").await;
    assert!(setup.text.contains("/openapi.json"), "{}", setup.text);
    assert!(page.text.contains("swagger-ui-bundle.js"), "{}", page.text);
    for text in [&page.text, &setup.text] {
        assert!(!text.contains("src=\"http") && !text.contains("href=\"http"), "{text}");
    }
}

#[tokio::test]
async fn without_a_token_the_description_is_not_told_and_browsers_are_made_to_ask_for_one() {
    let gateway = Gateway::new().await;
    let guessed = format!("Basic {}", BASE64.encode("admin:admin"));
    for path in ["/openapi.json", "/docs", "/docs/", "/docs/swagger-initializer.js", "/docs/nothing.js"] {
        for sent in [None, Some(guessed.as_str()), Some("Bearer guessed")] {
            let mut request = Request::get(path);
            if let Some(sent) = sent {
                request = request.header(header::AUTHORIZATION, sent);
            }
            let answer = gateway.send(request.body(Body::empty()).unwrap()).await;
            answer.refused(401, "unauthorized");
            assert!(answer.header("www-authenticate").starts_with("Basic realm="), "{path}");
        }
    }
    gateway.call(INTERNAL, Method::GET, "/openapi.json", None).await.refused(403, "forbidden");
    // A browser sends what was typed by itself: it must open nothing that changes anything.
    let typed = format!("Basic {}", BASE64.encode(format!("me:{ADMIN}")));
    let call = Request::get("/v1/me").header(header::AUTHORIZATION, typed);
    gateway.send(call.body(Body::empty()).unwrap()).await.refused(401, "unauthorized");
}
