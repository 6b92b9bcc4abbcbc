//! What forwarders see counts at once: a dead upstream is noticed by its use, and not at its
//! next check, which is far away here. Meanwhile the device's other upstream carries it (G11).

use std::time::Instant;

use anyhow::{Result, ensure};
use pgw_lab::gateway::log_path;
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, wan};
use pgw_lab::rest::text;
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, command};

use crate::harness::MEASURED;

crate::tests![
    an_upstream_that_dies_in_use_closes_its_device_at_once,
    while_an_upstream_that_died_is_found_out_the_other_carries_every_request,
    while_an_upstream_that_hangs_is_found_out_the_other_carries_every_request,
    destinations_that_are_dead_take_no_upstream_down,
];

/// A gateway whose own checks come much later than any test waits.
async fn gateway(lab: &Lab) -> Result<Ready> {
    lab.gateway_with(&[("PGW_HEALTH_INTERVAL", "10m")]).await
}

async fn an_upstream_that_dies_in_use_closes_its_device_at_once(mut lab: Lab) -> Result<()> {
    let ready = gateway(&lab).await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    // It asks the origin all the time.
    let vigil = Vigil::begin(C1).await?;
    lab.kill_upstream(Kind::Squid).await?;
    let killed = Instant::now();
    let reason = ready.rest.wait_state(&mapping, "FAILED").await?;
    eprintln!("{MEASURED} killed upstream to FAILED {:>10.1?}", killed.elapsed());
    ensure!(reason.contains("refused"), "{reason:?}");
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "FAILED, and the origin was reached");
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn while_an_upstream_that_died_is_found_out_the_other_carries_every_request(
    mut lab: Lab,
) -> Result<()> {
    let ready = gateway(&lab).await?;
    let mappings = lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let vigil = Vigil::begin(C1).await?;
    lab.kill_upstream(Kind::Squid).await?;
    carried_until_failed(&lab, &ready, &mappings).await?;
    vigil.end(&[Kind::Squid.ip(), Kind::Microsocks.ip()]).await
}

async fn while_an_upstream_that_hangs_is_found_out_the_other_carries_every_request(
    mut lab: Lab,
) -> Result<()> {
    let ready = gateway(&lab).await?;
    let mappings = lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let vigil = Vigil::begin(C1).await?;
    lab.freeze_upstream(Kind::Squid)?;
    carried_until_failed(&lab, &ready, &mappings).await?;
    vigil.end(&[Kind::Squid.ip(), Kind::Microsocks.ip()]).await
}

/// The first of two upstreams is of no use any more: nobody but the API may notice.
async fn carried_until_failed(
    lab: &Lab,
    Ready { rest, .. }: &Ready,
    mappings: &[pgw_lab::rest::Mapped],
) -> Result<()> {
    let [first, second] = mappings else { anyhow::bail!("{mappings:?}") };
    let (begun, mut requests) = (Instant::now(), 0);
    eventually("the first mapping is FAILED", async || {
        for url in ["http://origin/", "https://origin/"] {
            let seen = lab.seen_as(C1, url).await?;
            ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
            requests += 1;
        }
        Ok((text(&rest.mapping(first).await?, "state") == "FAILED").then_some(()))
    })
    .await?;
    eprintln!(
        "{MEASURED} first of two useless to FAILED {:>10.1?}, {requests} requests carried",
        begun.elapsed()
    );
    ensure!(text(&rest.mapping(second).await?, "state") == "APPLIED");
    Ok(())
}

async fn destinations_that_are_dead_take_no_upstream_down(mut lab: Lab) -> Result<()> {
    let ready = gateway(&lab).await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Microsocks]).await?.remove(0);
    let proxy = format!("/v1/proxies/{}", mapping.proxy);
    let checked =
        async || -> Result<_> { Ok(ready.rest.get(&proxy).await?.pointer("/health/checked_at").cloned()) };
    let vigil = Vigil::begin(C1).await?;
    // Whatever is sent there is lost without a word: the upstream looks as if it hung.
    let dead = wan(77).to_string();
    let lost = ["ip", "neigh", "add", &dead, "lladdr", "02:00:00:00:00:77", "dev", "eth0"];
    command::ok(Kind::Microsocks.name(), &lost).await?;
    let dead = format!("http://{dead}/");
    let mut last = checked().await?;
    let mut checks = 0;
    while checks < 2 {
        for _ in 0..5 {
            ensure!(lab.curl(C1.name, &["--max-time", "0.5", &dead]).await.is_err(), "{dead} answers");
        }
        let state = ready.rest.mapping(&mapping).await?;
        ensure!(text(&state, "state") == "APPLIED", "{state}");
        let now = checked().await?;
        checks += u32::from(now != last);
        last = now;
    }
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    let log = std::fs::read_to_string(log_path("pgw-api"))?;
    ensure!(!log.contains("to=Down") && !log.contains("to=FAILED"), "it was down for a moment: {log}");
    vigil.end(&[Kind::Microsocks.ip()]).await
}
