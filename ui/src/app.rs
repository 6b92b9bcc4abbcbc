//! The routes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router, middleware};
use pgw_core::hosts::AllowedHosts;
use pgw_core::resources::host_name;
use pgw_core::settings::UiSettings;
use serde_json::json;

use crate::problem::Problem;
use crate::reverse::{self, BuildError, Service, Upstream};
use crate::{headers, web};

pub(crate) fn router(settings: &UiSettings) -> Result<Router, BuildError> {
    let api = Arc::new(Upstream::new(Service::Api, &settings.api_url)?);
    let agent = Arc::new(Upstream::new(Service::Agent, &settings.agent_url)?);
    let hosts = settings.allowed_hosts.clone();
    let hosts = hosts.unwrap_or_else(|| AllowedHosts::of_machine(&host_name().unwrap_or_default()));
    Ok(Router::new()
        .route("/api/{*path}", any(reverse::pass_on).with_state(api))
        .route("/agent/{*path}", any(reverse::pass_on).with_state(agent))
        .route("/healthz", get(healthz))
        .fallback(web::answer)
        .method_not_allowed_fallback(web::answer)
        .layer(middleware::from_fn_with_state(Arc::new(hosts), known_host))
        .layer(middleware::from_fn(headers::secure)))
}

/// A name that nobody gave this machine may be led here by somebody else's page. Whoever only asks whether
/// this program answers has a name of his own for it.
async fn known_host(
    State(hosts): State<Arc<AllowedHosts>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let in_headers = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or(""));
    // Whoever gives none is no browser.
    let watches = request.uri().path() == "/healthz";
    if watches || in_target.into_iter().chain(in_headers).all(|host| hosts.allow(host)) {
        return Ok(next.run(request).await);
    }
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "host_not_allowed",
        "pgw-ui is not asked under this name. Use its address, or add the name to PGW_ALLOWED_HOSTS.",
    ))
}

async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::{client, fetch, nobody, raw, run, trap, ui};

    fn a_script() -> &'static str {
        web::PAGES
            .iter()
            .find(|page| page.path.starts_with("/assets/") && page.path.ends_with(".js"))
            .unwrap()
            .path
    }

    #[tokio::test]
    async fn every_answer_tells_browsers_what_is_allowed_and_how_long_it_may_be_kept() {
        const ALWAYS: &str = "public, max-age=31536000, immutable";
        let api =
            Router::new().route("/v1/x", get(async || ([("content-security-policy", "default-src *")], "x")));
        let address = ui(run(api).await, nobody().await).await;
        for (path, status, page, kept) in [
            ("/", 200, true, "no-cache"),
            (a_script(), 200, true, ALWAYS),
            ("/icon.svg", 200, true, "no-cache"),
            ("/healthz", 200, true, "no-store"),
            ("/index.html", 200, true, "no-cache"),
            ("/nothing", 200, true, "no-cache"),
            ("/assets/of-an-older-page.js", 404, true, "no-store"),
            ("/api/v1/x", 200, false, "no-store"),
            ("/api/v1/nothing", 404, false, "no-store"),
            ("/api//x", 400, true, "no-store"),
            ("/agent/status", 502, true, "no-store"),
        ] {
            let answer = fetch(address, path).await;
            assert_eq!(answer.status(), status, "{path}");
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; ") && policy.contains("base-uri 'none'"),
                "{path}: {policy}"
            );
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(policy.contains("script-src 'self'"), page, "{path}: {policy}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.headers()["referrer-policy"], "no-referrer", "{path}");
            assert_eq!(answer.headers()["cache-control"], kept, "{path}");
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_gave_this_machine_reaches_neither_the_page_nor_a_service() {
        let (api, asked) = trap();
        let address = ui(asked, asked).await;
        for path in ["/", "/api/v1/me", "/agent/status", "/nothing", "http://evil.example/api/v1/me"] {
            for host in ["evil.example", "h.evil.example", "h\r\nHost: evil.example"] {
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                let answer = raw(address, &request).await;
                assert!(answer.starts_with("HTTP/1.1 421"), "{path} {host}: {answer}");
                assert!(answer.contains("\"code\":\"host_not_allowed\""), "{path} {host}: {answer}");
            }
        }
        assert_eq!(api.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "no service was asked");
        let own = raw(address, "GET / HTTP/1.1\r\nHost: h:8081\r\nConnection: close\r\n\r\n").await;
        assert!(own.starts_with("HTTP/1.1 200"), "{own}");
        let watched =
            raw(address, "GET /healthz HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n").await;
        assert!(watched.starts_with("HTTP/1.1 200"), "{watched}");
    }

    #[tokio::test]
    async fn whoever_opens_a_place_of_the_app_gets_the_app_and_a_service_is_never_taken_for_one() {
        let address = ui(nobody().await, nobody().await).await;
        let open = async |path: &str| {
            let request = client().get(format!("http://{address}{path}"));
            request.header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").send().await.unwrap()
        };
        for path in ["/", "/devices", "/devices/0199?q=state:closed", "/settings/users"] {
            let answer = open(path).await;
            assert_eq!((answer.status().as_u16(), path), (200, path));
            assert_eq!(answer.headers()["cache-control"], "no-cache", "{path}");
            assert!(answer.text().await.unwrap().contains("<div id=\"app\""), "{path}");
        }
        for path in ["/api", "/agent", "/healthz/", "/assets/of-an-older-page.js", "/a//b"] {
            assert_eq!(open(path).await.status(), 404, "{path}");
        }
        assert_eq!(fetch(address, "/devices").await.status(), 200, "who says nothing takes everything");
        let program = client().get(format!("http://{address}/devices")).header("accept", "application/json");
        assert_eq!(program.send().await.unwrap().status(), 404, "a program takes no pages");
    }

    #[tokio::test]
    async fn the_pages_can_only_be_read_and_are_sent_once_and_packed() {
        let address = ui(nobody().await, nobody().await).await;
        for path in ["/", "/devices", a_script(), "/healthz"] {
            let refused = client().post(format!("http://{address}{path}")).send().await.unwrap();
            assert_eq!(refused.status(), 405, "{path}");
            assert_eq!(refused.headers()["content-type"], "application/problem+json", "{path}");
        }
        assert_eq!(fetch(address, "/healthz").await.text().await.unwrap(), r#"{"status":"ok"}"#);

        for path in ["/", a_script()] {
            let first = fetch(address, path).await;
            let (etag, kind) = (first.headers()["etag"].clone(), first.headers()["content-type"].clone());
            assert!(!first.headers().contains_key("content-encoding"), "{path}");
            let plain = first.bytes().await.unwrap();
            let packed = client().get(format!("http://{address}{path}")).header("accept-encoding", "gzip");
            let packed = packed.send().await.unwrap();
            assert_eq!(packed.headers()["content-encoding"], "gzip", "{path}");
            assert_eq!(packed.headers()["content-type"], kind, "{path}");
            assert!(packed.bytes().await.unwrap().len() < plain.len(), "{path}");
            let again = client().get(format!("http://{address}{path}")).header("if-none-match", etag);
            let again = again.send().await.unwrap();
            assert_eq!(again.status(), 304, "{path}");
            assert_eq!(again.text().await.unwrap(), "", "{path}");
        }
    }
}
