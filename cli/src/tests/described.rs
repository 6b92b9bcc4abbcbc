//! Is a call one that the API describes? Its paths, its parameters and the fields of its bodies are
//! those of the description that pgw-api serves.

use std::sync::LazyLock;

use serde_json::Value;

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../ui/web/openapi.json")).unwrap());

/// What is wrong with it.
pub(super) fn mistake(method: &str, path: &str, query: &str, body: &Value) -> Option<String> {
    if path.starts_with("/agent/") {
        return None;
    }
    let call = DESCRIPTION["paths"].as_object().unwrap().iter().find_map(|(template, methods)| {
        // `{id}` stands for what is there, but for paths that are there by their own name.
        let fits = template.split('/').count() == path.split('/').count()
            && template.split('/').zip(path.split('/')).all(|(t, p)| t == p || t.starts_with('{'));
        methods.get(method.to_lowercase()).filter(|_| fits)
    });
    let Some(call) = call else { return Some(format!("{method} {path} is no call of the API")) };
    let known = |name: &str| {
        let parameters = call["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        parameters.iter().any(|parameter| parameter["in"] == "query" && parameter["name"] == name)
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let name = pair.split('=').next().unwrap_or_default();
        if !known(name) {
            return Some(format!("{method} {path} takes no ?{name}="));
        }
    }
    let schema =
        call.pointer("/requestBody/content/application~1json/schema/$ref").and_then(Value::as_str)?;
    let schema = DESCRIPTION.pointer(schema.trim_start_matches('#'))?;
    let unknown = |field: &&String| schema["properties"].get(field.as_str()).is_none();
    let field = body.as_object()?.keys().find(unknown)?;
    Some(format!("{method} {path} takes no field {field}"))
}

#[test]
fn a_call_that_the_api_does_not_describe_is_noticed() {
    let nothing = Value::Null;
    assert_eq!(mistake("GET", "/v1/proxies", "limit=1&q=a", &nothing), None);
    assert_eq!(mistake("GET", "/v1/proxies/1", "", &nothing), None);
    assert!(mistake("GET", "/v1/gateways", "surprise=1", &nothing).is_some());
    assert!(mistake("PUT", "/v1/proxies/1", "", &nothing).is_some());
    assert!(mistake("GET", "/v1/nothing", "", &nothing).is_some());
    let body = serde_json::json!({"name": "tv", "address": "10.0.0.1"});
    assert!(mistake("POST", "/v1/clients", "", &body).is_some_and(|told| told.contains("address")));
}
