//! Events, which are followed over breaks.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::get;
use serde_json::{Value, json};

use super::fake::{Fake, pgw, serve};

type Seen = Arc<Mutex<Vec<String>>>;

/// Every connection brings one event, and breaks off.
async fn one_event(State(seen): State<Seen>, headers: HeaderMap) -> String {
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned()).unwrap_or_default();
    let mut seen = seen.lock().unwrap();
    seen.push(last);
    let id = seen.len();
    let event = json!({"id": id, "at": "2026-11-21T14:03:00.123Z", "kind": "drift", "data": {"n": id}});
    format!("event: hello\nid: 0\ndata: {{}}\n\nevent: drift\nid: {id}\ndata: {event}\n\n")
}

#[tokio::test]
async fn after_a_break_events_go_on_behind_the_last_one_that_was_seen() {
    let seen = Seen::default();
    let url = serve(Router::new().route("/v1/events", get(one_event)).with_state(seen.clone())).await;
    let told = pgw(&url, "events -o json --count 3 --after 41", "").await;
    assert_eq!(told.code, 0, "{}", told.err);
    let numbers: Vec<Value> = told
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["data"]["n"].clone())
        .collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(*seen.lock().unwrap(), ["41", "1", "2"]);
    assert_eq!(told.err.matches("it is tried again").count(), 2, "{}", told.err);
    let told = pgw(&url, "events -n 1", "").await;
    assert_eq!(told.out, "2026-11-21T14:03:00.123Z  drift          {\"n\":4}\n");
}

#[tokio::test]
async fn a_gateway_that_cannot_answer_for_a_while_is_waited_for_once_it_has_answered() {
    let event = "event: drift\nid: 1\ndata: {\"id\": 1, \"kind\": \"drift\"}\n\n";
    let away = json!({"status": 503, "code": "database_unavailable", "detail": "the database is away"});
    let answers = |first: (u16, String)| {
        let all = Arc::new(Mutex::new(vec![(200, event.to_owned()), (502, String::new()), first]));
        let next = move || {
            let (status, text) = all.lock().unwrap().pop().unwrap();
            std::future::ready((axum::http::StatusCode::from_u16(status).unwrap(), text))
        };
        Router::new().route("/v1/events", get(next))
    };
    let url = serve(answers((503, away.to_string()))).await;
    assert_eq!(pgw(&url, "events -n 1", "").await.code, 6, "who never answered is not waited for");
    let hello = "event: hello\nid: 0\ndata: {}\n\n".to_owned();
    let url = serve(answers((200, hello))).await;
    let told = pgw(&url, "events -n 1", "").await;
    assert_eq!((told.code, told.out.matches("drift").count()), (0, 1), "{}{}", told.out, told.err);
}

#[tokio::test]
async fn a_stream_that_is_refused_is_not_tried_again() {
    let refusal =
        json!({"status": 403, "title": "t", "code": "forbidden", "detail": "this needs the role viewer"});
    let gateway = Fake::default().on("GET /v1/events", 403, refusal).start().await;
    let told = gateway.pgw("events --kind drift --kind change").await;
    assert_eq!(told.code, 5);
    assert_eq!(gateway.asked()[0].line, "GET /v1/events?kind=drift%2Cchange");
}
