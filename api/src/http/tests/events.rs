//! `/v1/events` and `/v1/journal`.

use axum::body::BodyDataStream;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::events::Pump;
use crate::store::Events as _;

impl Gateway {
    /// As pgw-api does: what is committed goes to the readers.
    fn pump(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        let pump = Pump { store: self.store.clone(), bus: self.bus.clone() };
        tokio::spawn(pump.run(stop.clone()));
        stop
    }

    async fn stream(&self, token: &str, path: &str, last: Option<&str>) -> (HeaderMap, BodyDataStream) {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        };
        let answer = self.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        (answer.headers().clone(), answer.into_body().into_data_stream())
    }
}

/// Its name and what it tells.
async fn next(stream: &mut BodyDataStream) -> Option<(String, Value)> {
    let bytes = tokio::time::timeout(Duration::from_secs(30), stream.next()).await.expect("in time")?;
    let text = String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    Some((field("event: ").unwrap(), serde_json::from_str(&field("data: ").unwrap()).unwrap()))
}

#[tokio::test]
async fn changes_are_streamed_as_they_happen_with_who_wanted_them() {
    let gateway = Gateway::new().await;
    let _pumped = gateway.pump();
    let (headers, mut stream) = gateway.stream(VIEWER, "/v1/events?kind=change,client.exit", None).await;
    assert_eq!(headers["content-type"], "text/event-stream");
    assert_eq!(headers["cache-control"], "no-store");
    assert_eq!(headers["x-accel-buffering"], "no");
    let (name, hello) = next(&mut stream).await.unwrap();
    assert_eq!((name.as_str(), &hello["gateway"]), ("hello", &json!("gw1")));
    let client = gateway.make_client(3).await;
    // The tokens of the test were made before anybody pumped.
    let mut told = Vec::new();
    while told.len() < 2 {
        let (name, event) = next(&mut stream).await.unwrap();
        assert_eq!(event["kind"], json!(name));
        if event["data"]["what"] != "token" {
            told.push(event);
        }
    }
    let [change, exit] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&change["data"]["what"], &change["data"]["action"]), (&json!("client"), &json!("created")));
    assert_eq!((&change["client_id"], &exit["data"]["open"]), (&json!(client), &json!(false)));
    assert!(change["by"].as_str().is_some_and(|by| by.contains("admin")), "{change}");
    let mut fields: Vec<&String> = change.as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["at", "by", "client_id", "data", "gateway", "id", "kind", "mapping_id", "proxy_id"]);

    let before = change["id"].as_i64().unwrap() - 1;
    for (path, last) in [
        (format!("/v1/events?after={before}"), None),
        ("/v1/events?after=1".to_owned(), Some(before.to_string())),
    ] {
        let (_, mut resumed) = gateway.stream(VIEWER, &path, last.as_deref()).await;
        assert_eq!(next(&mut resumed).await.unwrap().0, "hello");
        assert_eq!(&next(&mut resumed).await.unwrap().1, change, "{path}");
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_when_the_program_stops() {
    let gateway = Gateway::new().await;
    let pumped = gateway.pump();
    let made = gateway.post("/v1/tokens", json!({"name": "wall", "role": "viewer"})).await.json();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let last = gateway.store.log_ends().await.unwrap().latest.to_string();
    let (_, mut walls) = gateway.stream(token, "/v1/events", Some(&last)).await;
    let (_, mut ours) = gateway.stream(ADMIN, "/v1/events", Some(&last)).await;
    for stream in [&mut walls, &mut ours] {
        assert_eq!(next(stream).await.unwrap().0, "hello");
    }
    assert_eq!(gateway.delete(&format!("/v1/tokens/{id}")).await.status, 204);
    assert_eq!(next(&mut ours).await.unwrap().1["data"]["action"], "revoked");
    while let Some((name, event)) = next(&mut walls).await {
        assert_eq!((name.as_str(), &event["data"]["what"]), ("change", &json!("token")));
    }
    pumped.cancel();
    assert!(next(&mut ours).await.is_none());
    assert_eq!(gateway.bus.readers(), 0);
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused() {
    let gateway = Gateway::new().await;
    gateway.get("/v1/events?kind=mapping.state,weather").await.invalid_at(&["/kind"]);
    gateway.get("/v1/events?after=-1&client_id=7&x=1").await.invalid_at(&["/after", "/client_id", "/x"]);
    gateway.call("", Method::GET, "/v1/events", None).await.refused(401, "unauthorized");
    gateway.call(INTERNAL, Method::GET, "/v1/events", None).await.refused(403, "forbidden");
    let request = Request::get("/v1/events").header(header::AUTHORIZATION, format!("Bearer {ADMIN}"));
    let request = request.header("last-event-id", "yesterday").body(Body::empty()).unwrap();
    gateway.send(request).await.invalid_at(&["/last-event-id"]);
    let seats: Vec<_> = std::iter::from_fn(|| gateway.bus.seat().ok()).collect();
    gateway.get("/v1/events").await.refused(503, "too_many_readers");
    drop(seats);
}

#[tokio::test]
async fn the_journal_says_where_a_client_got_out_and_why_or_that_it_does_not_know() {
    let gateway = Gateway::new().await;
    let (proxy, client) = (gateway.make_proxy("de1").await, gateway.make_client(3).await);
    let mapping = gateway.make_mapping(&client, &proxy).await;
    let found = Health { exit_ip: Some("203.0.113.1".into()), ..Health::default() };
    gateway.found(&proxy, found).await;
    let verdict = pgw_core::state::Verdict {
        state: pgw_core::state::MappingState::Applied,
        reason: "open through de1".into(),
    };
    let id = pgw_core::ids::MappingId(mapping.parse().unwrap());
    gateway.store.record_verdict(id, &verdict).await.unwrap();

    let now = jiff::Timestamp::now();
    let then = gateway.get(&format!("/v1/journal?client_id={client}&at={now}")).await.json();
    assert_eq!((&then["open"], &then["client_id"]), (&json!(true), &json!(client)));
    let exit = json!({"mapping_id": mapping, "proxy": "de1", "exit_ip": "203.0.113.1", "country": null});
    assert_eq!(then["exit"], exit);
    assert_eq!(then["because"]["data"]["reason"], "open through de1");
    assert_eq!((&then["since"], &then["unwatched"]), (&then["because"]["at"], &Value::Null));
    assert_eq!(then["before"]["data"]["reason"], "it is registered, and has no mapping yet");
    let registered = then["before"]["at"].as_str().unwrap();
    let early = gateway.get(&format!("/v1/journal?client_id={client}&at={registered}")).await.json();
    assert_eq!(
        (&early["open"], &early["exit"], &early["before"]),
        (&json!(false), &Value::Null, &Value::Null)
    );

    let too_early = gateway.get(&format!("/v1/journal?client_id={client}&at=2001-01-01T00:00:00Z")).await;
    too_early.refused(404, "not_in_journal");
    let from = registered.trim_end_matches('Z');
    assert!(too_early.json()["detail"].as_str().unwrap().contains(from), "{}", too_early.text);
    let nobody = gateway.get(&format!("/v1/journal?client_id={proxy}&at={now}")).await;
    nobody.refused(404, "not_in_journal");
    gateway.get(&format!("/v1/journal?at={now}")).await.invalid_at(&["/client_id"]);
    gateway
        .get(&format!("/v1/journal?client_id={client}&at=2999-01-01T00:00:00Z&kind=drift"))
        .await
        .invalid_at(&["/at", "/kind"]);
}

#[tokio::test]
async fn the_journal_is_a_list_like_any_other() {
    let gateway = Gateway::new().await;
    for last in 3..8 {
        gateway.make_client(last).await;
    }
    let mut path = "/v1/journal?kind=change,client.exit&limit=4".to_owned();
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let page = gateway.call(VIEWER, Method::GET, &path, None).await.json();
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|event| event["id"].as_i64().unwrap()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/journal?kind=change,client.exit&limit=4&cursor={cursor}");
    }
    let mut newest_first = ids.clone();
    newest_first.sort_unstable_by(|a, b| b.cmp(a));
    newest_first.dedup();
    assert_eq!((ids.len(), pages, &ids), (13, 4, &newest_first), "five clients, twice, and three tokens");
    gateway
        .get("/v1/journal?limit=0&cursor=x&from=yesterday")
        .await
        .invalid_at(&["/cursor", "/from", "/limit"]);
}

#[tokio::test]
async fn the_same_events_come_by_a_websocket_until_the_token_is_revoked() {
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

    let gateway = Gateway::new().await;
    let refused = gateway.get("/v1/ws").await;
    refused.refused(400, "validation_failed");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, stop) = (tokio_util::task::TaskTracker::new(), CancellationToken::new());
    let serving = pgw_core::serve::serve(listener, gateway.router.clone(), 10, tasks, stop.clone());
    let _serving = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(serving));
    let pump = Pump { store: gateway.store.clone(), bus: gateway.bus.clone() };
    let _pumping = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(pump.run(stop)));

    let mut request = format!("ws://{address}/v1/ws?kind=change").into_client_request().unwrap();
    let bearer = format!("Bearer {VIEWER}").parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let mut next = async || match socket.next().await {
        Some(Ok(Message::Text(text))) => serde_json::from_str::<Value>(&text).unwrap(),
        other => json!({"closed": format!("{other:?}")}),
    };
    assert_eq!(next().await["event"], "hello");
    gateway.make_client(3).await;
    // What was written before may still be on its way to the bus.
    let change = loop {
        let message = next().await;
        assert_eq!(message["event"], "change");
        if message["data"]["data"]["what"] == "client" {
            break message;
        }
    };
    assert_eq!(change["id"], change["data"]["id"]);
    let tokens = gateway.get("/v1/tokens").await.json();
    let viewer = tokens["items"].as_array().unwrap().iter().find(|token| token["name"] == "viewer").unwrap();
    gateway.delete(&format!("/v1/tokens/{}", viewer["id"].as_str().unwrap())).await;
    assert!(next().await["closed"].is_string());
}
