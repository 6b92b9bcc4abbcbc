//! `?confirm_within=`: what nobody confirms is taken back.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::declarative::deadline::Deadlines;
use crate::store::applies::{Applies, ApplyState, Terms};

fn document(notes: &[&str]) -> Value {
    let client = |(last, note): (usize, &&str)| json!({"name": "x", "ip_cidr": format!("192.168.2.{}", last + 1), "note": note});
    let clients: Vec<Value> = notes.iter().enumerate().map(client).collect();
    json!({"version": 1, "clients": clients})
}

impl Gateway {
    fn deadlines(&self) -> Deadlines {
        Deadlines {
            store: self.store.clone(),
            engine: self.engine.clone(),
            tunnels: self.tunnels.clone(),
            news: self.deadlines.clone(),
        }
    }

    /// As by the API, but with a time that is over at once.
    async fn apply_for_no_time(&self, document: Value) {
        let body = axum::body::Bytes::from(document.to_string());
        let document =
            crate::http::document::Sent::new(crate::http::media::Media::Json, body).read().unwrap();
        let terms = Terms { ground: self.tunnels.ground(), confirm_within: Some(Duration::ZERO) };
        assert!(self.store.apply(document, &terms).await.unwrap().is_ok());
    }

    async fn rolled_back(&self) {
        while self.store.last_apply().await.unwrap().unwrap().state == ApplyState::Waiting {
            tokio::task::yield_now().await;
        }
    }

    async fn notes(&self) -> Vec<String> {
        let items = self.get("/v1/clients").await.json()["items"].clone();
        items.as_array().unwrap().iter().map(|item| item["note"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn what_is_confirmed_in_time_stays_and_one_waits_at_a_time() {
    let gateway = Gateway::new().await;
    let none = json!({"waiting": null, "ended": null});
    assert_eq!(gateway.get("/v1/apply").await.json(), none);
    let applied = gateway.post("/v1/apply?confirm_within=60s", document(&["a"])).await.json();
    let id = applied["apply_id"].as_str().unwrap();
    let told = gateway.get("/v1/apply").await.json()["waiting"].clone();
    assert_eq!(
        (&told["id"], &told["by"], &told["state"]),
        (&json!(id), &json!("token admin"), &json!("waiting"))
    );
    assert_eq!(told["confirm_by"], applied["confirm_by"]);
    gateway.post("/v1/apply", document(&["b"])).await.refused(409, "apply_pending");
    assert_eq!(gateway.post("/v1/apply?dry_run=true", document(&["b"])).await.status, 200);
    for _twice in 0..2 {
        let confirmed = gateway.post(&format!("/v1/apply/{id}/confirm"), json!({})).await;
        assert_eq!((confirmed.status.as_u16(), &confirmed.json()["state"]), (200, &json!("confirmed")));
    }
    assert_eq!(gateway.get("/v1/apply").await.json()["ended"]["id"], id);
    let unknown = "0190a1b2-0000-7000-8000-000000000000";
    gateway.post(&format!("/v1/apply/{unknown}/confirm"), json!({})).await.refused(404, "not_found");
    assert_eq!(gateway.notes().await, ["a"]);
}

#[tokio::test]
async fn what_changes_nothing_needs_no_confirmation() {
    let gateway = Gateway::new().await;
    gateway.post("/v1/apply", document(&["a"])).await;
    let applied = gateway.post("/v1/apply?confirm_within=60s", document(&["a"])).await.json();
    assert_eq!(applied.get("apply_id"), None);
    assert!(gateway.get("/v1/apply").await.json()["waiting"].is_null());
    for wrong in ["0s", "60", "25h", "soon"] {
        gateway
            .post(&format!("/v1/apply?confirm_within={wrong}"), document(&[]))
            .await
            .invalid_at(&["/confirm_within"]);
    }
}

/// Also where the API that applied it is gone: nothing but the database is left of it here.
#[tokio::test]
async fn what_nobody_confirms_is_taken_back_also_after_a_restart() {
    let gateway = Gateway::new().await;
    gateway.post("/v1/apply", document(&["a", "b"])).await;
    gateway.engine.asked();
    gateway.apply_for_no_time(document(&["changed"])).await;
    assert_eq!(gateway.notes().await, ["changed"]);
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.deadlines().run(stop.clone()));
    gateway.rolled_back().await;
    assert_eq!(gateway.notes().await, ["a", "b"]);
    let ended = gateway.get("/v1/apply").await.json()["ended"].clone();
    assert_eq!(ended["state"], "rolled_back");
    let late = gateway.post(&format!("/v1/apply/{}/confirm", ended["id"].as_str().unwrap()), json!({})).await;
    late.refused(409, "rolled_back");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_deadline_that_comes_while_the_api_runs_is_kept_and_wakes_whom_it_concerns() {
    let gateway = Gateway::new().await;
    gateway.post("/v1/apply", document(&["a", "kept"])).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.deadlines().run(stop.clone()));
    tokio::task::yield_now().await;
    let mut changed = document(&["a", "kept"]);
    changed["clients"][0]["mac"] = "02:00:5e:10:00:03".into();
    gateway.engine.asked();
    gateway.apply_for_no_time(changed).await;
    gateway.deadlines.notify_one();
    gateway.rolled_back().await;
    let first = gateway.get("/v1/clients").await.json()["items"][0].clone();
    assert!(first["mac"].is_null());
    let settle = format!("settle {}", first["id"].as_str().unwrap());
    let mut asked = Vec::new();
    while asked.is_empty() {
        tokio::task::yield_now().await;
        asked = gateway.engine.asked();
    }
    assert_eq!(asked, [settle]);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn taking_back_leaves_alone_what_others_did_elsewhere_meanwhile() {
    let gateway = Gateway::new().await;
    gateway.post("/v1/apply", document(&["a", "b"])).await;
    let ids: Vec<Value> = gateway.get("/v1/clients").await.json()["items"].as_array().unwrap().clone();
    let client = |n: usize| format!("/v1/clients/{}", ids[n]["id"].as_str().unwrap());
    gateway.apply_for_no_time(document(&["changed", "b"])).await;
    gateway.patch(&client(0), json!({"note": "changed once more"})).await;
    gateway.patch(&client(1), json!({"note": "by hand"})).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(gateway.deadlines().run(stop.clone()));
    gateway.rolled_back().await;
    assert_eq!(
        gateway.notes().await,
        ["a", "by hand"],
        "the old state of what was touched, whoever changed it since"
    );
    stop.cancel();
    running.await.unwrap();
}
