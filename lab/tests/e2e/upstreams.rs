//! Upstreams come and go; the device is open or closed, never out by itself (G2, G3, G11).

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::lab::Ready;
use pgw_lab::net::{C1, C2};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use serde_json::json;

crate::tests![
    a_dead_upstream_closes_its_device_and_its_return_opens_it_again,
    a_wrong_password_is_told_apart_and_a_right_one_opens,
    a_device_with_two_upstreams_stays_open_while_one_of_them_lives,
];

async fn a_dead_upstream_closes_its_device_and_its_return_opens_it_again(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    for _ in 0..2 {
        lab.kill_upstream(Kind::Squid).await?;
        let reason = ready.rest.wait_state(&mapping, "FAILED").await?;
        ensure!(reason.contains("refused"), "{reason:?}");
        ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "FAILED, and the origin was reached");
        lab.upstream(Kind::Squid).await?;
        ready.rest.wait_state(&mapping, "APPLIED").await?;
        let seen = lab.seen_as(C1, "https://origin/").await?;
        ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    }
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn a_wrong_password_is_told_apart_and_a_right_one_opens(mut lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = lab.gateway().await?;
    for (device, kind, word) in [(C1, Kind::Squid, "407"), (C2, Kind::Microsocks, "password")] {
        lab.upstream_with(kind, "another").await?;
        let proxy = rest.add_proxy(kind).await?;
        let client = rest.add_client(device).await?;
        let mapping = rest.add_mapping(&client, &proxy, 1).await?;
        let vigil = Vigil::begin(device).await?;
        let reason = rest.wait_state(&mapping, "FAILED").await?;
        ensure!(reason.contains(word), "{kind:?}: {reason:?} does not say {word:?}");
        rest.patch(&format!("/v1/proxies/{proxy}"), json!({ "password": "another" })).await?;
        rest.wait_state(&mapping, "APPLIED").await?;
        let seen = lab.seen_as(device, "http://origin/").await?;
        ensure!(seen == kind.ip().to_string(), "{seen}");
        vigil.end(&[kind.ip()]).await?;
    }
    Ok(())
}

async fn a_device_with_two_upstreams_stays_open_while_one_of_them_lives(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mappings = lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let [first, second] = mappings.as_slice() else { anyhow::bail!("{mappings:?}") };
    ensure!(first.port == second.port, "one client has one port: {mappings:?}");
    let vigil = Vigil::begin(C1).await?;
    lab.kill_upstream(Kind::Squid).await?;
    ready.rest.wait_state(first, "FAILED").await?;
    ready.rest.wait_state(second, "APPLIED").await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    lab.kill_upstream(Kind::Microsocks).await?;
    ready.rest.wait_state(second, "FAILED").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "both are down, and the origin was reached");
    lab.upstream(Kind::Squid).await?;
    ready.rest.wait_state(first, "APPLIED").await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    vigil.end(&[Kind::Squid.ip(), Kind::Microsocks.ip()]).await
}
