//! Somebody else changes pgw's tables: they are right again in well under a second, whoever is
//! silent, and without wearing the machine out (G1, G8).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::gateway::Program;
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, GATEWAY, ORIGIN};
use pgw_lab::rest::{AGENT, Rest};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, canary, command};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::harness::MEASURED;
use crate::rules::gateway_with;

crate::tests![
    whatever_somebody_else_changes_is_healed_in_well_under_a_second,
    two_programs_that_fight_wear_nobody_out_and_it_is_told,
    rules_are_healed_while_the_api_hangs,
];

/// Longer than any test: what is healed here is healed by the kernel's notice.
const NO_INTERVAL: (&str, &str) = ("PGW_RECONCILE_INTERVAL", "300s");
const ROUNDS: usize = 5;
/// At this pace the agent takes nobody for an enemy.
const APART: Duration = Duration::from_millis(1_050);

/// What `/agent/status` says of foreign changes.
#[derive(Debug, Deserialize)]
pub(crate) struct Drift {
    pub(crate) count: u64,
    last_by: Option<String>,
    healed_ms: Option<u64>,
    fighting: bool,
}

pub(crate) async fn status(rest: &Rest) -> Result<Value> {
    let answer = rest.send(Method::GET, &format!("{AGENT}/agent/status"), None).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body)
}

pub(crate) async fn drift(rest: &Rest) -> Result<Drift> {
    let drift = status(rest).await?.get("drift").cloned().context("the status tells of no drift")?;
    Ok(serde_json::from_value(drift)?)
}

pub(crate) async fn reconciled(rest: &Rest) -> Result<()> {
    let answer = rest.send(Method::POST, &format!("{AGENT}/agent/reconcile"), None).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

/// Waits until more has been healed than `before`.
pub(crate) async fn healed(rest: &Rest, before: u64) -> Result<Drift> {
    eventually("a foreign change is healed", async || {
        let now = drift(rest).await?;
        Ok((now.count > before && now.healed_ms.is_some()).then_some(now))
    })
    .await
}

async fn nft(text: &str) -> Result<()> {
    command::ok_with(GATEWAY, &["nft", "-f", "-"], text).await.map(drop)
}

/// Both tables, without what the counters have counted.
async fn rules() -> Result<String> {
    let mut text = String::new();
    for table in [["ip", "pgw"], ["inet", "pgw_filter"]] {
        text += &command::finish(GATEWAY, &[&["nft", "-s", "list", "table"][..], &table].concat(), "")
            .await?
            .stdout;
    }
    Ok(text)
}

/// A closed device that says something every millisecond.
async fn chatter() -> Result<JoinHandle<()>> {
    let socket = canary::datagrams(C2.name, (ORIGIN, 9999).into()).await?;
    Ok(tokio::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(1));
        loop {
            every.tick().await;
            let _refused = socket.send(b"canary").await;
        }
    }))
}

fn quantiles(mut values: Vec<u64>) -> String {
    values.sort_unstable();
    let at = |part: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index of a small list"
        )]
        let index = ((values.len() - 1) as f64 * part).round() as usize;
        values.get(index).copied().unwrap_or_default()
    };
    format!("median {}, p99 {}, largest {}", at(0.5), at(0.99), at(1.0))
}

async fn whatever_somebody_else_changes_is_healed_in_well_under_a_second(mut lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = {
        let ready = gateway_with(NO_INTERVAL).await?;
        lab.mapped(&ready, C1, &[Kind::Squid]).await?;
        ready
    };
    rest.add_client(C2).await?;
    let translation = command::ok(GATEWAY, &["nft", "list", "table", "ip", "lab"]).await?;
    let flush = format!("flush ruleset\n{translation}");
    let acts = [
        ("flush ruleset", flush.as_str()),
        ("delete table ip pgw", "delete table ip pgw\n"),
        ("delete table inet pgw_filter", "delete table inet pgw_filter\n"),
        ("delete an element", "delete element inet pgw_filter clients { 10.64.0.12 }\n"),
        (
            "change an element",
            "delete element ip pgw client_port { 10.64.0.11 }\nadd element ip pgw client_port { 10.64.0.11 : 15999 }\n",
        ),
        ("add a chain", "add chain inet pgw_filter more { type filter hook forward priority -1; }\n"),
        ("insert a rule", "insert rule inet pgw_filter forward accept\n"),
        ("flush a chain", "flush chain inet pgw_filter forward\n"),
    ];
    let (right, chatter) = (rules().await?, chatter().await?);
    let (mut healed_ms, mut seen_ms, mut leaked) = (Vec::new(), Vec::new(), Vec::new());
    for (what, act) in acts.iter().cycle().take(ROUNDS * acts.len()) {
        let (before, leaks) = (drift(&rest).await?.count, lab.leaks(C2.name).await?);
        let began = Instant::now();
        nft(act).await?;
        let after = healed(&rest, before).await.with_context(|| what.to_string())?;
        seen_ms.push(u64::try_from(began.elapsed().as_millis())?);
        ensure!(rules().await? == right, "{what}: these are not the rules from before");
        ensure!(after.count == before + 1, "{what} was counted {} times", after.count - before);
        ensure!(after.last_by.as_deref() == Some("nft") && !after.fighting, "{what}: {after:?}");
        healed_ms.push(after.healed_ms.context("no time")?);
        let left = lab.leaks(C2.name).await?;
        tokio::time::sleep(APART.saturating_sub(began.elapsed())).await;
        ensure!(lab.leaks(C2.name).await?.since(&left).total() == 0, "{what}: it leaks after the repair");
        leaked.push(left.since(&leaks).total());
    }
    chatter.abort();
    let slowest = healed_ms.iter().max().copied().unwrap_or_default();
    eprintln!("{MEASURED} drift healed, ms: {} ({} rounds)", quantiles(healed_ms), seen_ms.len());
    eprintln!("{MEASURED} from the foreign nft's start until it was told, ms: {}", quantiles(seen_ms));
    eprintln!("{MEASURED} packets of a closed device that got out, of one a ms: {}", quantiles(leaked));
    ensure!(slowest < 1_000, "a repair took {slowest} ms");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    Ok(())
}

async fn two_programs_that_fight_wear_nobody_out_and_it_is_told(lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = gateway_with(NO_INTERVAL).await?;
    rest.add_client(C1).await?;
    let enemy = tokio::spawn(async {
        loop {
            // Fails as long as there is nothing to delete.
            let _gone = nft("delete table inet pgw_filter\n").await;
        }
    });
    const LENGTH: u64 = 15;
    tokio::time::sleep(Duration::from_secs(LENGTH)).await;
    let fought = drift(&rest).await?;
    ensure!(fought.fighting && fought.last_by.as_deref() == Some("nft"), "{fought:?}");
    // Five at once, four at growing distances, then about one a second.
    ensure!((5..=9 + LENGTH).contains(&fought.count), "{} repairs in {LENGTH} s", fought.count);
    eprintln!("{MEASURED} repairs in a fight of {LENGTH} s: {}", fought.count);
    enemy.abort();
    let _aborted = enemy.await;
    eventually("the rules are back", async || Ok(rules().await?.contains("chain forward").then_some(())))
        .await?;
    let vigil = Vigil::begin(C1).await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "a closed device reached the origin");
    vigil.end(&[]).await?;
    eventually("nobody is called an enemy any more", async || {
        reconciled(&rest).await?;
        Ok((!drift(&rest).await?.fighting).then_some(()))
    })
    .await?;
    let log = std::fs::read_to_string(pgw_lab::gateway::log_path("pgw-agent"))?;
    for (words, times) in [("somebody else changed", 1), ("keeps changing", 1), ("any more", 1)] {
        let told = log.lines().filter(|line| line.contains(words)).count();
        ensure!(told == times, "{words:?} is told {told} times");
    }
    Ok(())
}

async fn rules_are_healed_while_the_api_hangs(lab: Lab) -> Result<()> {
    let Ready { rest, gateway } = lab.gateway().await?;
    rest.add_client(C1).await?;
    let api = gateway.pid(Program::Api).context("the API runs")?;
    let api = Pid::from_raw(api.cast_signed()).context("an id")?;
    let right = rules().await?;
    kill_process(api, Signal::STOP)?;
    // Several, so that some come while the agent waits for an answer.
    for _ in 0..4 {
        nft("delete table ip pgw\ndelete table inet pgw_filter\n").await?;
        let began = Instant::now();
        eventually("the rules are back", async || Ok((rules().await? == right).then_some(()))).await?;
        let took = began.elapsed();
        ensure!(took < Duration::from_secs(2), "the rules were away for {took:?}");
        tokio::time::sleep(APART).await;
    }
    let vigil = Vigil::begin(C1).await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "a closed device reached the origin");
    kill_process(api, Signal::CONT)?;
    vigil.end(&[]).await
}
