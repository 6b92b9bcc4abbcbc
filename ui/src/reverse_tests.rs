//! What crosses and what does not, between real connections.

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::played::{client, echo, fetch, json_of, nobody, raw, run, saying, streaming, trap, ui, ui_before};

#[tokio::test]
async fn api_paths_lose_their_prefix_and_agent_paths_keep_it() {
    let address = ui(run(echo()).await, run(echo()).await).await;
    for (path, want) in [
        ("/api/v1/clients?limit=1&q=a%20b", "/v1/clients?limit=1&q=a%20b"),
        ("/api/readyz", "/readyz"),
        ("/api/v1/x%C3%A9", "/v1/x%C3%A9"),
        ("/api/v1/api/x", "/v1/api/x"),
        ("/agent/status", "/agent/status"),
    ] {
        assert_eq!(json_of(fetch(address, path).await).await["uri"], want, "{path}");
    }
}

#[tokio::test]
async fn every_method_is_passed_on() {
    let address = ui_before(echo()).await;
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("http://{address}/api/v1/x");
        let answer = client().request(method.clone(), url).send().await.unwrap();
        assert_eq!(json_of(answer).await["method"], method.as_str());
    }
    let head = raw(address, "HEAD /api/v1/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: "), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "no body behind the head: {head}");
}

#[tokio::test]
async fn a_service_hears_the_token_and_the_true_peer_and_nothing_of_the_connection() {
    let api = run(echo()).await;
    let address = ui(api, nobody().await).await;
    let answer = raw(
        address,
        "GET /api/v1/x HTTP/1.1\r\nHost: h:8081\r\nAuthorization: Bearer t\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Host: evil.example\r\nForwarded: for=1.2.3.4\r\nX-Private: 1\r\nConnection: close, x-private\r\nUpgrade: websocket\r\n\r\n",
    )
    .await;
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    let want = json!({
        "accept": "*/*", "authorization": "Bearer t", "host": api.to_string(), "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "h:8081",
    });
    assert_eq!(body["headers"], want);
}

#[tokio::test]
async fn an_answer_loses_what_was_said_about_its_connection() {
    let api = saying(
        "HTTP/1.1 200 OK\r\nConnection: x-private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nETag: \"7\"\r\n\
         Upgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    )
    .await;
    let answer = fetch(ui(api, nobody().await).await, "/api/v1/x").await;
    for gone in ["connection", "x-private", "keep-alive", "upgrade"] {
        assert!(!answer.headers().contains_key(gone), "{gone}");
    }
    assert_eq!(answer.headers()["etag"], "\"7\"");
    assert_eq!(answer.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let api =
        Router::new().route("/v1/old", get(async || (StatusCode::FOUND, [(header::LOCATION, "/v1/new")])));
    let answer = fetch(ui_before(api).await, "/api/v1/old").await;
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.headers()["location"], "/api/v1/new");
}

#[tokio::test]
async fn an_answer_arrives_piece_by_piece_before_it_ends() {
    for content_type in ["application/octet-stream", "text/event-stream"] {
        let (pieces, api) = streaming(content_type);
        let address = ui_before(api).await;
        pieces.send("data: 0\n\n".to_owned()).unwrap();
        let mut answer = fetch(address, "/api/v1/events").await;
        assert_eq!(answer.headers()["content-type"], content_type);
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "data: 0\n\n");
        // Each is sent only when the one before it has arrived.
        for n in 1..4 {
            let piece = format!("data: {n}\n\n");
            pieces.send(piece.clone()).unwrap();
            assert_eq!(answer.chunk().await.unwrap().unwrap(), piece);
        }
        drop(pieces);
        assert_eq!(answer.chunk().await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_stream_that_nobody_reads_any_more_ends_at_the_service_too() {
    let (pieces, api) = streaming("text/event-stream");
    let address = ui_before(api).await;
    pieces.send("one".to_owned()).unwrap();
    let mut answer = fetch(address, "/api/v1/events").await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "one");
    drop(answer);
    pieces.closed().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_handed_back_as_whole() {
    let api = saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").await;
    let answer = fetch(ui(api, nobody().await).await, "/api/v1/x").await;
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
}

#[tokio::test]
async fn a_large_upload_flows_and_is_not_collected() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 512;
    let arrived = Arc::new(Notify::new());
    let first = arrived.clone();
    let api = Router::new().route(
        "/v1/apply",
        post(async move |headers: HeaderMap, body: Body| {
            let mut body = body.into_data_stream();
            let mut bytes = 0;
            while let Some(piece) = body.next().await {
                bytes += piece.unwrap().len();
                first.notify_one();
            }
            format!("{bytes} of {}", headers["content-length"].to_str().unwrap())
        }),
    );
    let mut stream = TcpStream::connect(ui_before(api).await).await.unwrap();
    let total = PIECE * PIECES;
    let head = format!(
        "POST /api/v1/apply HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {total}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 256];
    let read = stream.read(&mut answer).await.unwrap();
    assert_eq!(&answer[..read], b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&[b'x'; PIECE]).await.unwrap();
    arrived.notified().await;
    for _ in 1..PIECES {
        stream.write_all(&[b'x'; PIECE]).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with(&format!("{total} of {total}")), "{answer}");
}

#[tokio::test]
async fn a_request_whose_end_can_be_read_in_two_ways_reaches_no_service() {
    let (api, asked) = trap();
    let address = ui(asked, asked).await;
    let smuggled = "0\r\n\r\nGET /api/v1/clients HTTP/1.1\r\nHost: h\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked\r\nContent-Length: 4",
        "Transfer-Encoding : chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Content-Length: +4",
        "Content-Length: 4\r\nTransfer-Encoding:\u{b}chunked",
    ] {
        let answer =
            raw(address, &format!("POST /api/v1/x HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{smuggled}")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{framing}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1").count(),
            1,
            "{framing}: what follows is not a request: {answer}"
        );
    }
    let old =
        raw(address, &format!("POST /api/v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{smuggled}"))
            .await;
    assert!(old.starts_with("HTTP/1.") && old.contains(" 400 "), "{old}");
    assert_eq!(api.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "no service was asked");
}

#[tokio::test]
async fn a_path_that_leaves_its_prefix_reaches_no_service() {
    let (api, asked) = trap();
    let address = ui(asked, asked).await;
    for path in [
        "/api/../agent/ruleset",
        "/api/v1/%2e%2e/%2E%2e/agent/ruleset",
        "/agent/../v1/clients",
        "/agent/..%2fv1/clients",
        "/agent/..\\v1/clients",
        "/api//v1/clients",
        "/api/http://evil.example/",
        "/api/%00",
        "http://h/api/../x",
    ] {
        let answer =
            raw(address, &format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(answer.contains("\"code\":\"path_refused\""), "{path}: {answer}");
    }
    for path in [
        "/api",
        "/agent",
        "/apix/v1",
        "/../api/v1/x",
        "//api/v1/x",
        "/%61pi/v1/x",
        "/healthz/",
        "/web/app.js",
    ] {
        let answer = raw(
            address,
            &format!(
                "GET {path} HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
            ),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    assert_eq!(api.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "no service was asked");
}

#[tokio::test]
async fn a_path_cannot_choose_the_host() {
    let upstream = Upstream::new(Service::Api, "http://127.0.0.1:8080").unwrap();
    for (path, want) in [
        ("/api/@evil.example/", "http://127.0.0.1:8080/@evil.example/"),
        ("/api/v1;x=1/y", "http://127.0.0.1:8080/v1;x=1/y"),
        ("/api/:80/", "http://127.0.0.1:8080/:80/"),
    ] {
        assert_eq!(upstream.url(path, None).as_str(), want);
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_named_with_what_to_look_at() {
    let address = ui(nobody().await, nobody().await).await;
    for (path, program, setting) in
        [("/api/v1/clients", "pgw-api", "PGW_API_URL"), ("/agent/status", "pgw-agent", "PGW_AGENT_URL")]
    {
        let answer = fetch(address, path).await;
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem = json_of(answer).await;
        assert_eq!(problem["code"], "service_unreachable");
        assert_eq!(
            problem["detail"],
            format!(
                "{program} cannot be reached: connection refused. Is it running, and is {setting} right?"
            )
        );
    }
}

#[tokio::test]
async fn a_service_that_hangs_up_or_talks_nonsense_is_a_502() {
    for nonsense in ["", "SSH-2.0-nonsense\r\n\r\n"] {
        let answer = fetch(ui(saying(nonsense).await, nobody().await).await, "/api/v1/x").await;
        assert_eq!(answer.status(), 502, "{nonsense:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_waited_for_for_ever_but_a_slow_upload_is() {
    let upload = Upload::default();
    let begun = tokio::time::Instant::now();
    let uploading = async {
        for _ in 0..10 {
            tokio::time::sleep(ANSWER_WITHIN - Duration::from_secs(1)).await;
            upload.moved.notify_one();
        }
    };
    let (outcome, ()) = tokio::join!(upload.answer(std::future::pending::<reqwest::Result<()>>()), uploading);
    assert!(matches!(outcome, Err(NoAnswer::Late)));
    assert_eq!(begun.elapsed(), ANSWER_WITHIN * 11 - Duration::from_secs(10));
}
