//! Which role may make which call: all of it, in one table. What is not in it is for admins.

use axum::http::Method;

use crate::store::Role::{self, Admin, Operator, Viewer};

/// The least role that a call needs.
static RULES: &[(Method, &str, Role)] = &[
    (Method::GET, "/v1/proxies", Viewer),
    (Method::POST, "/v1/proxies", Admin),
    (Method::GET, "/v1/proxies/{id}", Viewer),
    (Method::PATCH, "/v1/proxies/{id}", Admin),
    (Method::DELETE, "/v1/proxies/{id}", Admin),
    (Method::POST, "/v1/proxies/{id}/check", Operator),
    (Method::POST, "/v1/proxies/import", Admin),
    (Method::GET, "/v1/clients", Viewer),
    (Method::POST, "/v1/clients", Operator),
    (Method::GET, "/v1/clients/{id}", Viewer),
    (Method::PATCH, "/v1/clients/{id}", Operator),
    (Method::DELETE, "/v1/clients/{id}", Operator),
    (Method::GET, "/v1/mappings", Viewer),
    (Method::POST, "/v1/mappings", Operator),
    (Method::GET, "/v1/mappings/active", Viewer),
    (Method::GET, "/v1/mappings/{id}", Viewer),
    (Method::PATCH, "/v1/mappings/{id}", Operator),
    (Method::DELETE, "/v1/mappings/{id}", Operator),
    (Method::GET, "/v1/gateways", Viewer),
    (Method::DELETE, "/v1/gateways/{name}", Admin),
    (Method::GET, "/v1/explain", Viewer),
    // With ?secrets=true for admins only: the handler asks for that.
    (Method::GET, "/v1/export", Viewer),
    (Method::GET, "/v1/schema/config.json", Viewer),
    (Method::GET, "/v1/apply", Viewer),
    (Method::POST, "/v1/apply", Admin),
    (Method::POST, "/v1/apply/{id}/confirm", Admin),
    (Method::GET, "/v1/events", Viewer),
    (Method::GET, "/v1/ws", Viewer),
    (Method::GET, "/v1/journal", Viewer),
    (Method::GET, "/v1/tunnel-clients", Viewer),
    (Method::POST, "/v1/tunnel-clients", Operator),
    (Method::GET, "/v1/tunnel-clients/{id}", Viewer),
    (Method::PATCH, "/v1/tunnel-clients/{id}", Operator),
    (Method::DELETE, "/v1/tunnel-clients/{id}", Operator),
    (Method::POST, "/v1/tunnel-clients/{id}/token", Operator),
    (Method::POST, "/v1/tunnel-clients/{id}/enrolment", Operator),
    (Method::POST, "/v1/tunnel-clients/{id}/disconnect", Operator),
    (Method::GET, "/v1/tunnel-clients/{id}/sessions", Viewer),
    (Method::GET, "/v1/tunnels", Viewer),
    // With verify: false for admins only: the handler asks for that.
    (Method::POST, "/v1/tunnels", Operator),
    (Method::GET, "/v1/tunnels/{id}", Viewer),
    (Method::PATCH, "/v1/tunnels/{id}", Operator),
    (Method::DELETE, "/v1/tunnels/{id}", Operator),
    (Method::POST, "/v1/tunnels/{id}/close", Operator),
    (Method::POST, "/v1/tunnels/{id}/verify", Operator),
    (Method::GET, "/v1/tunnels/{id}/stats", Viewer),
    (Method::GET, "/v1/tunnels/{id}/sessions", Viewer),
    // A code that makes a machine known is in it.
    (Method::GET, "/v1/tunnels/{id}/client-file", Operator),
    (Method::GET, "/v1/webhooks", Admin),
    (Method::POST, "/v1/webhooks", Admin),
    (Method::GET, "/v1/webhooks/{id}", Admin),
    (Method::PATCH, "/v1/webhooks/{id}", Admin),
    (Method::DELETE, "/v1/webhooks/{id}", Admin),
    (Method::POST, "/v1/webhooks/{id}/test", Admin),
    (Method::GET, "/v1/telemetry/traffic", Viewer),
    (Method::GET, "/v1/telemetry/now", Viewer),
    (Method::GET, "/v1/telemetry/health", Viewer),
    (Method::GET, "/v1/telemetry/names", Viewer),
    (Method::GET, "/v1/connections", Viewer),
    (Method::DELETE, "/v1/connections/{id}", Operator),
    (Method::GET, "/metrics", Viewer),
    (Method::GET, "/v1/tokens", Admin),
    (Method::POST, "/v1/tokens", Admin),
    (Method::GET, "/v1/tokens/{id}", Admin),
    (Method::DELETE, "/v1/tokens/{id}", Admin),
    (Method::GET, "/v1/users", Admin),
    (Method::POST, "/v1/users", Admin),
    (Method::GET, "/v1/users/{id}", Admin),
    (Method::PATCH, "/v1/users/{id}", Admin),
    (Method::DELETE, "/v1/users/{id}", Admin),
];

/// What everybody may ask or say about themselves.
static OWN: &[(Method, &str)] =
    &[(Method::GET, "/v1/me"), (Method::POST, "/v1/me/password"), (Method::POST, "/v1/logout")];

/// All that the agent's token opens.
static AGENTS: &[(Method, &str)] = &[(Method::GET, "/v1/mappings/active"), (Method::GET, "/v1/me")];

/// `path` as the router knows it.
pub(super) fn least(method: &Method, path: &str) -> Role {
    decided(method, path).unwrap_or(Admin)
}

pub(super) fn is_agents(method: &Method, path: &str) -> bool {
    let method = reading(method);
    AGENTS.iter().any(|(m, p)| (m, *p) == (method, path))
}

/// Only whoever comes with something that opens it gets an answer.
pub(super) fn is_guarded(method: &Method, path: &str) -> bool {
    decided(method, path).is_some()
}

fn decided(method: &Method, path: &str) -> Option<Role> {
    let method = reading(method);
    if OWN.iter().any(|(m, p)| (m, *p) == (method, path)) {
        return Some(Viewer);
    }
    RULES.iter().find(|(m, p, _)| (m, *p) == (method, path)).map(|(_, _, role)| *role)
}

/// A HEAD is a GET.
pub(super) fn reading(method: &Method) -> &Method {
    if *method == Method::HEAD { &Method::GET } else { method }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::guarded;
    use crate::http::openapi::operations;

    #[test]
    fn every_call_has_a_rule_and_every_rule_a_call() {
        let mut document = guarded().into_openapi();
        let calls: BTreeSet<String> =
            operations(&mut document).map(|(path, method, _)| format!("{method} {path}")).collect();
        assert!(!calls.is_empty());
        let rules = RULES.iter().map(|(m, p, _)| (m, *p)).chain(OWN.iter().map(|(m, p)| (m, *p)));
        let rules: Vec<String> = rules.map(|(method, path)| format!("{method} {path}")).collect();
        assert_eq!(rules.len(), rules.iter().collect::<BTreeSet<_>>().len(), "two rules for one call");
        let forgotten: Vec<_> = calls.iter().filter(|call| !rules.contains(call)).collect();
        assert!(forgotten.is_empty(), "who may make these calls? decide it in access.rs: {forgotten:?}");
        let idle: Vec<_> = rules.iter().filter(|rule| !calls.contains(*rule)).collect();
        assert!(idle.is_empty(), "rules for calls that are not there: {idle:?}");
    }

    #[test]
    fn what_nobody_thought_of_is_for_admins() {
        assert_eq!(least(&Method::GET, "/v1/nothing"), Admin);
        assert_eq!(least(&Method::PUT, "/v1/clients"), Admin);
        assert_eq!(least(&Method::HEAD, "/v1/clients"), Viewer);
    }

    /// So that nobody has to read the table to be sure of what the roles promise.
    #[test]
    fn a_viewer_writes_nothing_and_an_operator_neither_proxies_nor_accounts() {
        for (method, path, role) in RULES {
            let reads = *method == Method::GET;
            assert!(reads || *role > Viewer, "{method} {path}");
            let sensitive =
                ["/v1/tokens", "/v1/users", "/v1/webhooks"].iter().any(|start| path.starts_with(start));
            assert!(!sensitive || *role == Admin, "{method} {path}");
            let changes_proxies = !reads && path.starts_with("/v1/proxies") && !path.ends_with("/check");
            assert!(!changes_proxies || *role == Admin, "{method} {path}");
        }
    }
}
