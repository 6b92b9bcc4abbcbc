//! The published schema, against what is exported and what is refused. The walk below knows the
//! keywords that the schema uses and fails on any other, so that none is silently not checked.

use super::*;

async fn schema() -> Value {
    let answer = Gateway::new().await.get("/v1/schema/config.json").await;
    assert_eq!(answer.header("content-type"), "application/schema+json");
    answer.json()
}

/// Where the value is not as the schema says, as pointers.
fn misfits(root: &Value, schema: &Value, value: &Value, at: &str, into: &mut Vec<String>) {
    let number = |value: &Value| value.as_f64().unwrap();
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count()) as f64;
    let types = |rule: &Value| match rule {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let is_of_type = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    for (keyword, rule) in schema.as_object().unwrap() {
        let fits = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" | "default" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                misfits(root, target, value, at, into);
                true
            }
            "type" => types(rule).iter().any(is_of_type),
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => !value.is_number() || number(value) >= number(rule),
            "maximum" => !value.is_number() || number(value) <= number(rule),
            "minLength" => !value.is_string() || length(value) >= number(rule),
            "maxLength" => !value.is_string() || length(value) <= number(rule),
            "maxItems" => value.as_array().is_none_or(|items| items.len() as f64 <= number(rule)),
            "maxProperties" => value.as_object().is_none_or(|fields| fields.len() as f64 <= number(rule)),
            "required" => value.as_object().is_none_or(|fields| {
                rule.as_array().unwrap().iter().all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    misfits(root, rule, item, &format!("{at}/{index}"), into);
                }
                true
            }
            "properties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        misfits(root, rule, field, &format!("{at}/{name}"), into);
                    }
                }
                true
            }
            "additionalProperties" => {
                for (name, field) in value.as_object().into_iter().flatten() {
                    let named = schema.get("properties").is_some_and(|named| named.get(name).is_some());
                    match rule {
                        Value::Bool(false) if !named => into.push(format!("{at}/{name}")),
                        Value::Object(_) if !named => {
                            misfits(root, rule, field, &format!("{at}/{name}"), into)
                        }
                        _ => {}
                    }
                }
                true
            }
            other => panic!("the walk does not know {other}"),
        };
        if !fits {
            into.push(at.to_owned());
        }
    }
}

fn refused_at(schema: &Value, document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    misfits(schema, schema, document, "", &mut found);
    found
}

fn whole() -> Value {
    json!({"$schema": "http://gateway/v1/schema/config.json", "version": 1,
        "proxies": [{"name": "exit", "scheme": "socks5", "host": "h.example", "port": 1, "username": "bob",
            "password": null, "enabled": false, "note": "n", "labels": {"country": "de"}}],
        "clients": [{"name": "phone", "ip_cidr": "192.168.2.3/32", "mac": "02:00:5e:10:00:03", "note": "",
            "mappings": [{"proxy": "exit", "priority": 1, "target": "hostname", "enabled": false,
                "expect": {"exit_ip": "203.0.113.0/24", "country": "NL", "stable": true}, "exclusive": true}]}],
        "tunnel_clients": [{"name": "pi", "note": "n", "enabled": false, "allowed_ports": [12000, "12010-12020"],
            "max_tunnels": 3, "max_connections": 9, "bandwidth": 1000, "tunnels": [
            {"name": "ssh", "protocol": "both", "public_port": 12000, "local_host": "127.0.0.1", "local_port": 22,
                "enabled": false, "verify": false, "bandwidth": null, "max_connections": 5, "max_per_visitor": 2,
                "visitor_allow": ["203.0.113.0/24"], "compression": true, "proxy_protocol": true, "udp_idle_s": 60},
            {"name": "shop", "protocol": "http", "host": "shop", "path": "/api",
                "header": {"name": "x-tenant", "value": "a"}, "local_host": "10.0.0.1", "local_port": 80,
                "requests_per_minute": 60, "basic_auth": [{"username": "bob", "password": "s3cret"}]}]}]})
}

#[tokio::test]
async fn what_is_exported_is_as_the_schema_says() {
    let (schema, gateway) = (schema().await, Gateway::new().await);
    for document in [json!({"version": 1, "proxies": [], "clients": [], "tunnel_clients": []}), whole()] {
        assert_eq!(refused_at(&schema, &document), [""; 0], "{document}");
        assert_eq!(gateway.post("/v1/apply", document).await.status, 200);
        let exported = gateway.get("/v1/export").await.json();
        assert_eq!(refused_at(&schema, &exported), [""; 0], "{exported}");
    }
}

/// Of each of these the editor says the same as the gateway.
#[tokio::test]
async fn what_the_schema_refuses_the_gateway_refuses_at_the_same_place() {
    let (schema, gateway) = (schema().await, Gateway::new().await);
    for (pointer, value) in [
        ("/version", json!(2)),
        ("/proxies", json!(null)),
        ("/clients", json!({})),
        ("/proxies/0/name", json!("")),
        ("/proxies/0/name", json!("x".repeat(101))),
        ("/proxies/0/scheme", json!("ftp")),
        ("/proxies/0/host", json!(7)),
        ("/proxies/0/port", json!(0)),
        ("/proxies/0/port", json!(65536)),
        ("/proxies/0/enabled", json!(null)),
        ("/proxies/0/note", json!("x".repeat(1001))),
        ("/proxies/0/labels", json!([])),
        ("/proxies/0/labels/country", json!(49)),
        ("/clients/0/name", json!(null)),
        ("/clients/0/mac", json!("02:00")),
        ("/clients/0/mappings", json!(null)),
        ("/clients/0/mappings/0/proxy", json!(null)),
        ("/clients/0/mappings/0/priority", json!(-1)),
        ("/clients/0/mappings/0/target", json!("both")),
        ("/clients/0/mappings/0/expect", json!(null)),
        ("/clients/0/mappings/0/expect/exit_ip", json!("")),
        ("/clients/0/mappings/0/expect/country", json!("NLD")),
        ("/clients/0/mappings/0/expect/stable", json!("yes")),
        ("/clients/0/mappings/0/exclusive", json!(1)),
        ("/tunnel_clients", json!(null)),
        ("/tunnel_clients/0/name", json!("")),
        ("/tunnel_clients/0/enabled", json!(null)),
        ("/tunnel_clients/0/allowed_ports", json!(12000)),
        ("/tunnel_clients/0/max_tunnels", json!(1001)),
        ("/tunnel_clients/0/max_connections", json!(0)),
        ("/tunnel_clients/0/bandwidth", json!(0)),
        ("/tunnel_clients/0/tunnels", json!(null)),
        ("/tunnel_clients/0/tunnels/0/protocol", json!("sctp")),
        ("/tunnel_clients/0/tunnels/0/public_port", json!(65536)),
        ("/tunnel_clients/0/tunnels/0/local_host", json!(7)),
        ("/tunnel_clients/0/tunnels/0/local_port", json!(0)),
        ("/tunnel_clients/0/tunnels/0/verify", json!(null)),
        ("/tunnel_clients/0/tunnels/0/max_per_visitor", json!(0)),
        ("/tunnel_clients/0/tunnels/0/visitor_allow", json!({})),
        ("/tunnel_clients/0/tunnels/0/udp_idle_s", json!(0)),
        ("/tunnel_clients/0/tunnels/1/host", json!("")),
        ("/tunnel_clients/0/tunnels/1/path", json!(7)),
        ("/tunnel_clients/0/tunnels/1/header", json!([])),
        ("/tunnel_clients/0/tunnels/1/requests_per_minute", json!("many")),
        ("/tunnel_clients/0/tunnels/1/basic_auth", json!("bob")),
    ] {
        let mut document = whole();
        *document.pointer_mut(pointer).unwrap() = value;
        assert_eq!(refused_at(&schema, &document), [pointer], "{document}");
        gateway.post("/v1/apply", document).await.invalid_at(&[pointer]);
    }
    let mut document = whole();
    document["clients"][0]["adress"] = "x".into();
    assert_eq!(refused_at(&schema, &document), ["/clients/0/adress"]);
}

/// The text that editors show.
#[tokio::test]
async fn every_section_and_field_that_is_not_plain_is_explained() {
    let schema = schema().await;
    for definition in ["proxy", "client", "mapping", "tunnel_client", "tunnel", "login"] {
        let fields = schema["$defs"][definition]["properties"].as_object().unwrap();
        for (name, rule) in fields {
            let plain = ["port", "enabled", "name", "note"].contains(&name.as_str());
            assert!(plain || rule["description"].is_string(), "{definition}.{name}");
        }
    }
}
