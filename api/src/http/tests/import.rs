//! `/v1/proxies/import`.

use super::*;

const LIST: &str = "# exits\n\nsocks5://bob:correct%3Ahorse%40battery@proxy.example:1080\r\n\
                    h.example:1\nh.example:1:bob:p\nbob:p@h.example:1\nhttp://h.example:2#exit\nhttp://h.example:3#exit\nh.example\n";

impl Gateway {
    async fn import(&self, query: &str, text: impl Into<Body>) -> Answer {
        let request = Request::post(format!("/v1/proxies/import{query}"))
            .header(header::AUTHORIZATION, format!("Bearer {ADMIN}"))
            .header(header::CONTENT_TYPE, "text/plain");
        self.send(request.body(text.into()).unwrap()).await
    }
}

/// Line, result and name of each.
fn told(answer: &Value) -> Vec<(u64, String, Value)> {
    let line = |line: &Value| {
        (line["line"].as_u64().unwrap(), line["result"].as_str().unwrap().to_owned(), line["name"].clone())
    };
    answer["lines"].as_array().unwrap().iter().map(line).collect()
}

#[tokio::test]
async fn every_line_is_told_of_and_a_dry_run_says_what_the_real_one_does() {
    let gateway = Gateway::new().await;
    let there = gateway.make_proxy("there").await;
    gateway.engine.asked();
    let dry = gateway.import("?dry_run=true", LIST).await.json();
    assert_eq!(gateway.engine.asked(), [""; 0]);
    let done = gateway.import("", LIST).await.json();
    let want = |new: &str| {
        [
            (3, "unchanged", json!("there")),
            (4, new, json!("h.example:1")),
            (5, new, json!("h.example:1 #2")),
            (6, "unchanged", json!("h.example:1 #2")),
            (7, new, json!("exit")),
            (8, "name_taken", json!("exit")),
            (9, "invalid", Value::Null),
        ]
        .map(|(line, result, name)| (line, result.to_owned(), name))
    };
    assert_eq!(told(&dry), want("would_create"));
    assert_eq!(told(&done), want("created"));
    for answer in [&dry, &done] {
        assert_eq!(
            (&answer["created"], &answer["unchanged"], &answer["failed"]),
            (&json!(3), &json!(2), &json!(2))
        );
        assert_eq!(answer["lines"][0]["id"], there);
        assert!(answer["lines"][6]["detail"].as_str().unwrap().contains("port"));
    }
    let asked = gateway.engine.asked();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().all(|asked| asked.starts_with("changed ")), "each new one is checked at once");
    let again = gateway.import("", LIST).await.json();
    assert_eq!(again["created"], 0);
    assert_eq!(again["unchanged"], 5);
}

#[tokio::test]
async fn bare_lines_are_of_the_scheme_that_is_asked_for() {
    let gateway = Gateway::new().await;
    gateway.import("?scheme=socks5", "h.example:1").await;
    let proxies = gateway.get("/v1/proxies").await.json();
    assert_eq!(proxies["items"][0]["scheme"], "socks5");
    gateway.import("?scheme=ftp", "h.example:1").await.invalid_at(&["/scheme"]);
}

#[tokio::test]
async fn a_list_that_is_too_long_or_no_text_is_refused_whole() {
    let gateway = Gateway::new().await;
    gateway.import("", "h.example:1\n".repeat(10_001)).await.refused(400, "validation_failed");
    gateway.import("", vec![b'#'; 6 * 1024 * 1024]).await.refused(413, "payload_too_large");
    gateway.import("", vec![0xff_u8]).await.refused(400, "validation_failed");
    gateway.post("/v1/proxies/import", json!("h.example:1")).await.refused(415, "unsupported_media_type");
    assert_eq!(gateway.get("/v1/proxies").await.json()["items"], json!([]));
}
