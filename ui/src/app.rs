//! The routes, and what is answered where there is none.

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
    let mut router = Router::new()
        .route("/api/{*path}", any(reverse::pass_on).with_state(api))
        .route("/agent/{*path}", any(reverse::pass_on).with_state(agent))
        .route("/healthz", get(healthz));
    for file in web::FILES.iter() {
        router = router.route(file.path, get(async move |request| file.answer(&request)));
    }
    let hosts = settings.allowed_hosts.clone();
    let hosts = hosts.unwrap_or_else(|| AllowedHosts::of_machine(&host_name().unwrap_or_default()));
    Ok(router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(Arc::new(hosts), known_host))
        .layer(middleware::from_fn(headers::secure)))
}

/// A name that nobody gave this machine may be led here by somebody else's page.
async fn known_host(
    State(hosts): State<Arc<AllowedHosts>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let in_headers = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or(""));
    // Whoever gives none is no browser.
    if in_target.into_iter().chain(in_headers).all(|host| hosts.allow(host)) {
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

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "There is nothing here. The page is at /, pgw-api below /api/ and pgw-agent below /agent/.",
    )
}

async fn method_not_allowed() -> Response {
    let problem =
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This can only be read.");
    ([(header::ALLOW, "GET, HEAD")], problem).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::played::{client, fetch, nobody, raw, run, trap, ui};

    #[tokio::test]
    async fn every_answer_tells_browsers_what_is_allowed() {
        let api =
            Router::new().route("/v1/x", get(async || ([("content-security-policy", "default-src *")], "x")));
        let address = ui(run(api).await, nobody().await).await;
        for (path, status, page) in [
            ("/", 200, true),
            ("/app.js", 200, true),
            ("/style.css", 200, true),
            ("/healthz", 200, true),
            ("/nothing", 404, true),
            ("/api/v1/x", 200, false),
            ("/api/v1/nothing", 404, false),
            ("/api//x", 400, true),
            ("/agent/status", 502, true),
        ] {
            let answer = fetch(address, path).await;
            assert_eq!(answer.status(), status, "{path}");
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(
                policy.starts_with("default-src 'none'; ") && policy.contains("base-uri 'none'"),
                "{path}: {policy}"
            );
            assert_eq!(policy.contains("script-src 'self'"), page, "{path}: {policy}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff", "{path}");
            assert_eq!(answer.headers()["referrer-policy"], "no-referrer", "{path}");
            let kept = if path.contains('.') { "no-cache" } else { "no-store" };
            assert_eq!(answer.headers()["cache-control"], kept, "{path}");
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_gave_this_machine_reaches_neither_the_page_nor_a_service() {
        let (api, asked) = trap();
        let address = ui(asked, asked).await;
        for path in
            ["/", "/healthz", "/api/v1/me", "/agent/status", "/nothing", "http://evil.example/api/v1/me"]
        {
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
    }

    #[tokio::test]
    async fn the_page_can_only_be_read_and_its_files_are_sent_once() {
        let address = ui(nobody().await, nobody().await).await;
        let refused = client().post(format!("http://{address}/")).send().await.unwrap();
        assert_eq!(refused.status(), 405);
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        assert_eq!(fetch(address, "/healthz").await.text().await.unwrap(), r#"{"status":"ok"}"#);

        let first = fetch(address, "/app.js").await;
        let etag = first.headers()["etag"].clone();
        let again = client().get(format!("http://{address}/app.js")).header("if-none-match", etag);
        let again = again.send().await.unwrap();
        assert_eq!(again.status(), 304);
        assert_eq!(again.text().await.unwrap(), "");
    }
}
