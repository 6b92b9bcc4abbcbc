//! The configuration as one document: devices open by it, nobody else notices (G9), and what
//! nobody confirms is taken back, whatever dies meanwhile (G4).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::gateway::{Program, forwarders};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2};
use pgw_lab::rest::{API, text};
use pgw_lab::upstream::{Kind, USER};
use pgw_lab::vigil::Vigil;
use reqwest::Method;
use serde_json::{Value, json};

crate::tests![
    a_document_opens_devices_and_one_that_changes_one_leaves_the_others_alone,
    what_nobody_confirms_is_taken_back_also_by_an_api_that_was_dead_at_the_time,
];

fn document(ways: &[(pgw_lab::net::Device, &[Kind])]) -> Value {
    let proxies = [Kind::Squid, Kind::Microsocks].map(|kind| {
        json!({"name": kind.name(), "scheme": kind.scheme(), "host": kind.name(), "port": kind.port(),
            "username": USER, "password": kind.password()})
    });
    let clients = ways.iter().map(|(device, kinds)| {
        let mappings: Vec<Value> = kinds.iter().map(|kind| json!({"proxy": kind.name()})).collect();
        json!({"name": device.name, "ip_cidr": device.ip, "mappings": mappings})
    });
    json!({"version": 1, "proxies": proxies, "clients": clients.collect::<Vec<_>>()})
}

async fn apply(ready: &Ready, query: &str, document: &Value) -> Result<Value> {
    let answer = ready.rest.send(Method::POST, &format!("{API}/v1/apply{query}"), Some(document)).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body)
}

async fn seen(lab: &Lab, device: pgw_lab::net::Device, kind: Kind) -> Result<()> {
    let what = format!("{} gets out through {}", device.name, kind.name());
    eventually(&what, async || {
        let seen = lab.seen_as(device, "https://origin/").await;
        Ok(seen.is_ok_and(|seen| seen == kind.ip().to_string()).then_some(()))
    })
    .await
}

async fn a_document_opens_devices_and_one_that_changes_one_leaves_the_others_alone(
    mut lab: Lab,
) -> Result<()> {
    let ready = lab.gateway().await?;
    for kind in [Kind::Squid, Kind::Microsocks] {
        lab.upstream(kind).await?;
    }
    apply(&ready, "", &document(&[(C1, &[Kind::Squid]), (C2, &[Kind::Squid])])).await?;
    seen(&lab, C1, Kind::Squid).await?;
    seen(&lab, C2, Kind::Squid).await?;
    let (c1, c2) = (Vigil::begin(C1).await?, Vigil::begin(C2).await?);
    let before = forwarders()?;
    let mappings = ready.rest.get("/v1/mappings?sort=port").await?;
    let of_c2 = mappings.pointer("/items/1").context("two mappings")?.clone();
    let done = apply(&ready, "", &document(&[(C2, &[Kind::Squid]), (C1, &[Kind::Microsocks])])).await?;
    ensure!(done.pointer("/plan/keep") == Some(&json!(5)) && done.get("unfinished").is_none(), "{done}");
    // Closed by now, so that the first answer is the new way's.
    seen(&lab, C1, Kind::Microsocks).await?;
    ensure!(forwarders()? == before, "a forwarder was started anew");
    let now = ready.rest.get(&format!("/v1/mappings/{}", text(&of_c2, "id"))).await?;
    ensure!(now == of_c2, "{now} was {of_c2}");
    c1.end(&[Kind::Squid.ip(), Kind::Microsocks.ip()]).await?;
    c2.end(&[Kind::Squid.ip()]).await
}

async fn what_nobody_confirms_is_taken_back_also_by_an_api_that_was_dead_at_the_time(
    mut lab: Lab,
) -> Result<()> {
    let mut ready = lab.gateway().await?;
    for kind in [Kind::Squid, Kind::Microsocks] {
        lab.upstream(kind).await?;
    }
    let open = document(&[(C1, &[Kind::Squid])]);
    apply(&ready, "", &open).await?;
    seen(&lab, C1, Kind::Squid).await?;
    let vigil = Vigil::begin(C1).await?;
    for dies in [false, true] {
        let start = Instant::now();
        apply(&ready, "?confirm_within=6s", &document(&[(C1, &[])])).await?;
        ensure!(lab.seen_as(C1, "https://origin/").await.is_err(), "closed, the answer said");
        if dies {
            ready.gateway.kill(Program::Api).await?;
            eventually("the time to confirm it is over", async || {
                Ok((start.elapsed() > Duration::from_secs(6)).then_some(()))
            })
            .await?;
            ready.gateway.start(Program::Api).await?;
        }
        seen(&lab, C1, Kind::Squid).await?;
        let state = ready.rest.get("/v1/apply").await?;
        ensure!(state.pointer("/ended/state") == Some(&json!("rolled_back")), "{state}");
        let plan = apply(&ready, "?dry_run=true", &open).await?;
        ensure!(plan.pointer("/plan/keep") == Some(&json!(4)), "not as it was: {plan}");
    }
    vigil.end(&[Kind::Squid.ip()]).await
}
