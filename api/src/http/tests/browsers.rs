//! What other people's pages cannot have a browser do.

use super::*;

async fn asked_as(gateway: &Gateway, hosts: &[&str], path: &str) -> Answer {
    let mut request = Request::get(path);
    for host in hosts {
        request = request.header(header::HOST, *host);
    }
    gateway.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_name_that_nobody_gave_this_machine_is_not_answered_whatever_is_asked() {
    let gateway = Gateway::new().await;
    for path in ["/v1/setup", "/v1/clients", "/v1/me", "/metrics", "/docs/", "/nothing"] {
        for hosts in [vec!["evil.example"], vec!["gw.lan", "evil.example"], vec![""], vec!["gw.lan:x"]] {
            asked_as(&gateway, &hosts, path).await.refused(421, "host_not_allowed");
        }
    }
    for host in ["gw", "gw.lan:8080", "192.168.2.1:8080", "localhost", "[::1]:8080"] {
        assert_eq!(asked_as(&gateway, &[host], "/v1/setup").await.status, 200, "{host}");
    }
    let whole = asked_as(&gateway, &["gw"], "http://evil.example/v1/setup").await;
    whole.refused(421, "host_not_allowed");
}

/// Monitoring and scripts have names of their own for a machine; a page that was led here has no token.
#[tokio::test]
async fn under_any_name_the_service_tells_how_it_is_and_a_token_opens_what_it_opens() {
    let gateway = Gateway::new().await;
    for path in ["/healthz", "/readyz", "/version"] {
        assert_eq!(asked_as(&gateway, &["gw.monitoring.example"], path).await.status, 200, "{path}");
    }
    let with = async |method: Method, path: &str, sent: String| {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "gw.example");
        let request = request.header(header::AUTHORIZATION, sent);
        gateway.send(request.body(Body::empty()).unwrap()).await
    };
    let viewer = format!("Bearer {VIEWER}");
    for path in ["/v1/clients", "/v1/me", "/metrics"] {
        assert_eq!(with(Method::GET, path, viewer.clone()).await.status, 200, "{path}");
        with(Method::GET, path, "Bearer guessed".to_owned()).await.refused(401, "unauthorized");
        with(Method::GET, path, "Basic YTpi".to_owned()).await.refused(421, "host_not_allowed");
    }
    // Where nobody asks for the token, it excuses nothing.
    for (method, path) in [(Method::POST, "/v1/login"), (Method::POST, "/v1/setup"), (Method::GET, "/docs/")]
    {
        with(method, path, viewer.clone()).await.refused(421, "host_not_allowed");
    }
}

#[tokio::test]
async fn a_write_with_a_cookie_comes_from_a_page_of_ours() {
    let gateway = Gateway::new().await;
    gateway.make_user("alice", "admin").await;
    let alice = gateway.log_in("alice", LOGIN).await;
    let host = ("host", "gw.lan:8081");
    for (headers, ours) in [
        (vec![host, ("origin", "http://gw.lan:8081")], true),
        (vec![host, ("sec-fetch-site", "same-origin")], true),
        (
            vec![
                ("host", "127.0.0.1:8080"),
                ("x-forwarded-host", "gw.lan:8081"),
                ("origin", "http://gw.lan:8081"),
            ],
            true,
        ),
        (vec![host], false),
        (vec![], false),
        (vec![host, ("origin", "http://gw.lan:3000")], false),
        (vec![host, ("origin", "http://evil.example")], false),
        (vec![host, ("origin", "null")], false),
        (vec![host, ("sec-fetch-site", "same-site")], false),
        (vec![host, ("origin", "http://gw.lan:8081"), ("sec-fetch-site", "cross-site")], false),
        (
            vec![
                ("host", "127.0.0.1:8080"),
                ("x-forwarded-host", "gw.lan:8081"),
                ("origin", "http://127.0.0.1:8080"),
            ],
            false,
        ),
    ] {
        let body = json!({"name": "tv", "ip_cidr": "10.0.0.7"});
        let answer = alice.call_with(Method::POST, "/v1/clients", Some(body), &headers).await;
        if ours {
            assert_eq!(answer.status, 201, "{headers:?}: {}", answer.text);
            let path = format!("/v1/clients/{}", answer.json()["id"].as_str().unwrap());
            alice.call_with(Method::DELETE, &path, None, &[]).await.refused(403, "foreign_origin");
            assert_eq!(alice.call_with(Method::DELETE, &path, None, &headers).await.status, 204);
        } else {
            answer.refused(403, "foreign_origin");
        }
    }
    assert_eq!(alice.call_with(Method::GET, "/v1/clients", None, &[]).await.status, 200);
}

#[tokio::test]
async fn nobody_elses_page_logs_anybody_in() {
    let gateway = Gateway::new().await;
    for path in ["/v1/login", "/v1/setup"] {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::HOST, "gw.lan")
            .header(header::ORIGIN, "http://evil.example");
        let body = json!({"name": "alice", "password": LOGIN}).to_string();
        gateway.send(request.body(Body::from(body)).unwrap()).await.refused(403, "foreign_origin");
    }
}

#[tokio::test]
async fn a_token_that_is_given_counts_and_no_cookie_makes_good_for_it() {
    let gateway = Gateway::new().await;
    gateway.make_user("alice", "admin").await;
    let alice = gateway.log_in("alice", LOGIN).await;
    for wrong in ["Bearer guessed", "Basic YTpi", "nonsense", ""] {
        let answer = alice.call_with(Method::GET, "/v1/me", None, &[("authorization", wrong)]).await;
        answer.refused(401, "unauthorized");
    }
    let headers = [("authorization", format!("Bearer {VIEWER}"))];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(alice.call_with(Method::GET, "/v1/me", None, &headers).await.json()["role"], "viewer");
}

#[tokio::test]
async fn the_cookie_stays_with_tls_where_the_page_came_over_it() {
    let gateway = Gateway::new().await;
    gateway.make_user("alice", "admin").await;
    for (origin, want) in [("https://gw.lan", true), ("http://gw.lan", false)] {
        let request = Request::post("/v1/login")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::HOST, "gw.lan")
            .header(header::ORIGIN, origin);
        let body = json!({"name": "alice", "password": LOGIN}).to_string();
        let answer = gateway.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.header("set-cookie").ends_with("; Secure"), want, "{origin}");
    }
}
