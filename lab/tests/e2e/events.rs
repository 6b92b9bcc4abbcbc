//! What happens is told: as it happens, once, in order, to whoever reads along, to webhooks, and in the
//! journal long after (G21, G22, G23).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::future::try_join_all;
use pgw_lab::gateway::{Program, STATE};
use pgw_lab::lab::{admin_token, eventually};
use pgw_lab::net::{C1, GATEWAY};
use pgw_lab::rest::{AGENT, API, Rest, UI};
use pgw_lab::stream::{Stream, Told};
use pgw_lab::upstream::Kind;
use pgw_lab::{Lab, command};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::MEASURED;

crate::tests![
    what_happens_is_told_once_in_order_also_over_a_restart_and_is_in_the_journal,
    drift_and_drills_are_told_as_they_happen_also_by_an_agent_that_was_started_anew,
    a_webhook_is_told_of_a_device_that_was_closed_also_when_its_receiver_was_away,
    five_hundred_readers_are_told_at_once_and_keep_nobody_from_stopping,
];

const NO_INTERVAL: (&str, &str) = ("PGW_RECONCILE_INTERVAL", "300s");
const READERS: usize = 500;

async fn api(after: Option<i64>) -> Result<Stream> {
    Stream::open(&format!("{API}/v1/events"), &admin_token().await?, after).await
}

fn state(to: &'static str) -> impl Fn(&Told) -> bool {
    move |told| told.text("/data/to") == to
}

async fn journal(rest: &Rest, query: &str) -> Result<Vec<Value>> {
    let list = rest.get(&format!("/v1/journal?limit=500&{query}")).await?;
    Ok(list.get("items").and_then(Value::as_array).cloned().unwrap_or_default())
}

async fn exit_at(rest: &Rest, client: &str, at: &str) -> Result<Value> {
    rest.get(&format!("/v1/journal?client_id={client}&at={at}")).await
}

async fn what_happens_is_told_once_in_order_also_over_a_restart_and_is_in_the_journal(
    mut lab: Lab,
) -> Result<()> {
    let mut ready = lab.gateway().await?;
    // As a browser reads it, with the UI in between.
    let ui = format!("{UI}/api/v1/events");
    let mut stream = Stream::open(&ui, &admin_token().await?, None).await?;
    let begun = stream.last_id.context("hello has no id")?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    stream.until("mapping.state", state("APPLIED")).await?;
    let opened =
        stream.until("client.exit", |told| told.data.pointer("/data/open") == Some(&json!(true))).await?;

    let before = Instant::now();
    lab.kill_upstream(Kind::Squid).await?;
    stream.until("proxy.health", state("DOWN")).await?;
    let failed = stream.until("mapping.state", state("FAILED")).await?;
    ensure!(
        failed.text("/data/ip") == C1.ip.to_string() && failed.text("/data/reason").contains("down"),
        "{failed:?}"
    );
    let closed = stream.until("client.exit", |_| true).await?;
    eprintln!(
        "{MEASURED} {:?} from the end of an upstream until its device is told to be closed",
        before.elapsed()
    );

    let stopped = |told: &Told| told.data.pointer("/data/state") == Some(&json!("stopped"));
    stream.until("forwarder", stopped).await?;

    // While nobody watches, the upstream comes back.
    ready.gateway.kill(Program::Api).await?;
    while stream.next().await?.is_some() {}
    lab.upstream(Kind::Squid).await?;
    let (dark, last) = (jiff::Timestamp::now(), stream.last_id);
    ready.gateway.start(Program::Api).await?;
    let mut resumed = Stream::open(&ui, &admin_token().await?, last).await?;
    let reopened =
        resumed.until("client.exit", |told| told.data.pointer("/data/open") == Some(&json!(true))).await?;

    // From the hello to here: what two streams told is what the journal holds, each once.
    let rest = &ready.rest;
    let all = journal(rest, "").await?;
    let ids: Vec<i64> = all.iter().rev().filter_map(|event| event.get("id")?.as_i64()).collect();
    ensure!(ids.is_sorted() && ids.iter().collect::<BTreeSet<_>>().len() == ids.len(), "{ids:?}");
    let mut again = Stream::open(&ui, &admin_token().await?, Some(begun)).await?;
    let wanted = ids.iter().copied().filter(|id| *id > begun && *id <= reopened.id);
    for id in wanted {
        let told = again.next().await?.context("the stream ended")?;
        ensure!(told.id == id, "{id} was to come, and not {told:?}");
    }

    for (event, open) in [(&opened, true), (&closed, false), (&reopened, true)] {
        let then = exit_at(rest, &mapping.client, event.text("/at")).await?;
        ensure!(then.pointer("/because/id") == Some(&json!(event.id)), "{event:?}: {then}");
        ensure!(then.get("open") == Some(&json!(open)), "{then}");
    }
    let then = exit_at(rest, &mapping.client, &dark.to_string()).await?;
    ensure!(then.get("open") == Some(&json!(false)) && then.pointer("/unwatched/to").is_some(), "{then}");
    let answer = rest
        .send(
            Method::GET,
            &format!("{API}/v1/journal?client_id={}&at=2001-01-01T00:00:00Z", mapping.client),
            None,
        )
        .await?;
    ensure!(answer.status == 404 && answer.body.get("code") == Some(&json!("not_in_journal")), "{answer:?}");
    let forwarders = journal(rest, "kind=forwarder").await?;
    ensure!(forwarders.len() >= 3, "started, ready and stopped were to be told: {forwarders:?}");
    let audit = journal(rest, "kind=change").await?;
    ensure!(audit.iter().any(|event| event.get("by").is_some_and(Value::is_string)), "{audit:?}");
    Ok(())
}

async fn drift_and_drills_are_told_as_they_happen_also_by_an_agent_that_was_started_anew(
    lab: Lab,
) -> Result<()> {
    let mut ready = lab.gateway_with(&[NO_INTERVAL, ("PGW_DRILL_INTERVAL", "off")]).await?;
    let mut stream = api(None).await?;
    let flushed = async |stream: &mut Stream| -> Result<Duration> {
        let begun = Instant::now();
        command::ok(GATEWAY, &["nft", "flush", "chain", "inet", "pgw_filter", "forward"]).await?;
        let began = stream.until("drift", |told| told.text("/data/phase") == "began").await?;
        let told_after = begun.elapsed();
        ensure!(began.text("/data/by") == "nft", "{began:?}");
        stream.until("drift", |told| told.text("/data/phase") == "healed").await?;
        Ok(told_after)
    };
    let drilled = async |stream: &mut Stream, rest: &Rest| -> Result<Duration> {
        let begun = Instant::now();
        let answer = rest.send(Method::POST, &format!("{AGENT}/agent/drill"), None).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let found = begun.elapsed();
        let drill = stream.until("drill", |_| true).await?;
        ensure!(drill.data.pointer("/data/closed") == Some(&json!(true)), "{drill:?}");
        Ok(begun.elapsed() - found)
    };
    let (drift, drill) = (flushed(&mut stream).await?, drilled(&mut stream, &ready.rest).await?);
    eprintln!("{MEASURED} told after: drift {drift:?}, a drill {drill:?}");
    ensure!(drift < Duration::from_secs(5) && drill < Duration::from_secs(5), "{drift:?} {drill:?}");

    ready.gateway.kill(Program::Agent).await?;
    ready.gateway.start(Program::Agent).await?;
    stream.until("agent", |told| told.text("/data/detail") == "it was started anew").await?;
    drilled(&mut stream, &ready.rest).await?;

    // What happens while the API is away is told when it is back, and nothing is told twice.
    let internal = std::fs::read_to_string(format!("{STATE}/internal.token"))?;
    ready.gateway.kill(Program::Api).await?;
    let last = stream.last_id;
    let trusted = Rest::new(internal.trim().to_owned())?;
    let answer = trusted.send(Method::POST, &format!("{AGENT}/agent/drill"), None).await?;
    ensure!(answer.status == 200, "{answer:?}");
    ready.gateway.start(Program::Api).await?;
    ready.rest.wait_ready().await?;
    let mut resumed = api(last).await?;
    resumed.until("drill", |_| true).await?;
    drilled(&mut resumed, &ready.rest).await?;
    let drills = journal(&ready.rest, "kind=drill").await?;
    ensure!(drills.len() == 4, "four drills were held: {drills:?}");
    Ok(())
}

/// Answers each request with the status, and hands on the body.
async fn receiver(
    port: u16,
    status: u16,
    told: mpsc::UnboundedSender<Value>,
) -> Result<tokio::task::JoinHandle<()>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    Ok(tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = Vec::new();
            let body = loop {
                let mut piece = [0; 4096];
                let Ok(read @ 1..) = connection.read(&mut piece).await else { break None };
                request.extend_from_slice(piece.get(..read).unwrap_or_default());
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let signed = head.to_lowercase().contains("webhook-signature: v1,");
                if let Ok(event) = serde_json::from_str::<Value>(body) {
                    break signed.then_some(event);
                }
            };
            if let Some(event) = body {
                let _gone = told.send(event);
            }
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _gone = connection.write_all(answer.as_bytes()).await;
        }
    }))
}

async fn a_webhook_is_told_of_a_device_that_was_closed_also_when_its_receiver_was_away(
    mut lab: Lab,
) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let hook = json!({"name": "alarm", "url": "http://127.0.0.1:9099/hook", "kinds": ["client.exit"]});
    let hook = ready.rest.post("/v1/webhooks", hook).await?;
    let id = hook.get("id").and_then(Value::as_str).context("no id")?.to_owned();
    let status = async || -> Result<Value> {
        let hook = ready.rest.get(&format!("/v1/webhooks/{id}")).await?;
        hook.get("status").cloned().context("no status")
    };

    lab.kill_upstream(Kind::Squid).await?;
    ready.rest.wait_state(&mapping, "FAILED").await?;
    let failing = eventually("it is told that nobody is there", async || {
        let status = status().await?;
        Ok(status.get("failing_since").is_some_and(Value::is_string).then_some(status))
    })
    .await?;
    ensure!(failing.to_string().contains("refused") && !failing.to_string().contains("9099"), "{failing}");

    let (tell, mut told) = mpsc::unbounded_channel();
    let busy = receiver(9099, 500, tell.clone()).await?;
    let first = told.recv().await.context("nothing was told")?;
    busy.abort();
    let _ended = busy.await;
    let _receiver = receiver(9099, 204, tell).await?;
    let again = told.recv().await.context("nothing was told again")?;
    ensure!(first.get("id") == again.get("id"), "in order, and again until it is taken: {first} {again}");
    ensure!(again.pointer("/data/open") == Some(&json!(false)), "{again}");
    ensure!(again.get("client_id") == Some(&json!(mapping.client)), "{again}");

    lab.upstream(Kind::Squid).await?;
    loop {
        let event = told.recv().await.context("nothing more was told")?;
        if event.pointer("/data/open") == Some(&json!(true)) {
            break;
        }
    }
    eventually("it is told that all is well", async || {
        let status = status().await?;
        let well =
            status.get("failing_since") == Some(&Value::Null) && status.get("waiting") == Some(&json!(0));
        Ok(well.then_some(()))
    })
    .await
}

async fn five_hundred_readers_are_told_at_once_and_keep_nobody_from_stopping(lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let token = admin_token().await?;
    let url = format!("{API}/v1/events?kind=change");
    let mut streams = Vec::new();
    for _ in 0..READERS / 50 {
        streams.extend(try_join_all((0..50).map(|_| Stream::open(&url, &token, None))).await?);
    }
    ensure!(streams.len() == READERS);
    let begun = Instant::now();
    ready.rest.add_client(C1).await?;
    let all = streams.iter_mut().map(|stream| stream.until("change", |_| true));
    try_join_all(all).await?;
    eprintln!("{MEASURED} {:?} until {READERS} readers were told of a change", begun.elapsed());
    let pid = ready.gateway.pid(Program::Api).context("it is not running")?;
    let memory = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = memory.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    eprintln!("{MEASURED} {rss} of pgw-api with {READERS} readers");

    let begun = Instant::now();
    ready.gateway.stop(Program::Api).await?;
    ensure!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for stream in &mut streams {
        while let Some(told) = stream.next().await? {
            if told.name == "gap" {
                bail!("nobody was slow");
            }
        }
    }
    Ok(())
}
