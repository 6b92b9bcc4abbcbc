//! Any program may be killed at any moment. What it did stays true, what it had not done is
//! done after its return, and nothing gets out meanwhile (G4, G7).

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::gateway::{Program, forwarders, kill_pid};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2, GATEWAY_LAN};
use pgw_lab::rest::Mapped;
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;

crate::tests![
    with_all_daemons_stopped_mapped_devices_open_new_connections,
    an_api_that_returns_adopts_the_forwarders_that_run,
    a_killed_forwarder_closes_its_device_and_is_started_again,
    an_api_killed_right_after_a_mapping_was_asked_for_finishes_it_later,
    an_api_killed_while_it_brings_a_device_up_finishes_it_later,
    an_agent_killed_while_devices_come_up_finishes_after_its_return,
    everything_killed_at_once_comes_back_to_what_was,
    an_api_stopped_politely_leaves_the_devices_open,
];

async fn open_through(lab: &Lab, kind: Kind) -> Result<()> {
    for url in ["http://origin/", "https://origin/"] {
        let seen = lab.seen_as(C1, url).await?;
        ensure!(seen == kind.ip().to_string(), "seen as {seen} at {url}");
    }
    Ok(())
}

/// The one forwarder on a port; that there is one, and not two, is part of every promise.
fn only_forwarder(port: u16) -> Result<u32> {
    let all = forwarders()?;
    let pids = all.get(&port).with_context(|| format!("no forwarder on port {port}: {all:?}"))?;
    ensure!(pids.len() == 1, "{} forwarders on port {port}", pids.len());
    Ok(pids.iter().copied().next().unwrap_or_default())
}

async fn with_all_daemons_stopped_mapped_devices_open_new_connections(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    lab.mapped(&ready, C2, &[Kind::Microsocks]).await?;
    let vigil = Vigil::begin(C1).await?;
    for program in Program::ALL {
        ready.gateway.kill(program).await?;
    }
    for _ in 0..3 {
        open_through(&lab, Kind::Squid).await?;
        let seen = lab.seen_as(C2, "https://origin/").await?;
        ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    }
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn an_api_stopped_politely_leaves_the_devices_open(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let before = only_forwarder(mapping.port)?;
    for program in Program::ALL {
        let status = ready.gateway.stop(program).await?;
        ensure!(status.success(), "{} stopped with {status}", program.name());
    }
    open_through(&lab, Kind::Squid).await?;
    ensure!(only_forwarder(mapping.port)? == before, "the forwarder did not outlive the daemons");
    Ok(())
}

async fn an_api_that_returns_adopts_the_forwarders_that_run(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let before = only_forwarder(mapping.port)?;
    let vigil = Vigil::begin(C1).await?;
    for _ in 0..2 {
        ready.gateway.kill(Program::Api).await?;
        ready.gateway.start(Program::Api).await?;
        ready.rest.wait_ready().await?;
        ready.rest.wait_state(&mapping, "APPLIED").await?;
        open_through(&lab, Kind::Squid).await?;
        ensure!(only_forwarder(mapping.port)? == before, "the forwarder was replaced, not adopted");
    }
    // Adopted means looked after, too.
    kill_pid(before)?;
    back_with_another_forwarder(&ready, &mapping, before).await?;
    open_through(&lab, Kind::Squid).await?;
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn back_with_another_forwarder(ready: &Ready, mapping: &Mapped, before: u32) -> Result<u32> {
    let what = format!("another forwarder listens on port {}", mapping.port);
    let pid = eventually(&what, async || Ok(only_forwarder(mapping.port).ok().filter(|pid| *pid != before)))
        .await?;
    // The state may be read before anybody has noticed the death: ask until it serves.
    eventually("the mapping is APPLIED and its forwarder answers", async || {
        let state = ready.rest.mapping(mapping).await?;
        let applied = pgw_lab::rest::text(&state, "state") == "APPLIED";
        let alive = pgw_lab::command::finish(
            "gw",
            &["curl", "-s", "--max-time", "1", &format!("http://{GATEWAY_LAN}:{}", mapping.port)],
            "",
        )
        .await?;
        // Curl's 7 is "nobody listens"; a direct visitor is let in by nobody, so he is cut off.
        Ok((applied && alive.status.code() != Some(7)).then_some(()))
    })
    .await?;
    Ok(pid)
}

async fn a_killed_forwarder_closes_its_device_and_is_started_again(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let other = lab.mapped(&ready, C2, &[Kind::Microsocks]).await?.remove(0);
    let untouched = only_forwarder(other.port)?;
    let vigil = Vigil::begin(C1).await?;
    let mut pid = only_forwarder(mapping.port)?;
    for _ in 0..3 {
        kill_pid(pid)?;
        pid = back_with_another_forwarder(&ready, &mapping, pid).await?;
        open_through(&lab, Kind::Squid).await?;
    }
    ensure!(only_forwarder(other.port)? == untouched, "another device's forwarder was touched");
    vigil.end(&[Kind::Squid.ip()]).await
}

/// Registered first, so that the watch begins with a closed door.
async fn registered(lab: &mut Lab, kind: Kind) -> Result<(Ready, String, String, Vigil)> {
    let ready = lab.gateway().await?;
    lab.upstream(kind).await?;
    let client = ready.rest.add_client(C1).await?;
    let proxy = ready.rest.add_proxy(kind).await?;
    let vigil = Vigil::begin(C1).await?;
    Ok((ready, client, proxy, vigil))
}

async fn an_api_killed_right_after_a_mapping_was_asked_for_finishes_it_later(mut lab: Lab) -> Result<()> {
    let (mut ready, client, proxy, vigil) = registered(&mut lab, Kind::Microsocks).await?;
    let mapping = ready.rest.add_mapping(&client, &proxy, 1).await?;
    ready.gateway.kill(Program::Api).await?;
    ready.gateway.start(Program::Api).await?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    open_through(&lab, Kind::Microsocks).await?;
    only_forwarder(mapping.port)?;
    vigil.end(&[Kind::Microsocks.ip()]).await
}

async fn an_api_killed_while_it_brings_a_device_up_finishes_it_later(mut lab: Lab) -> Result<()> {
    let (mut ready, client, proxy, vigil) = registered(&mut lab, Kind::Microsocks).await?;
    // Deaths at different steps: each a little later than the one before.
    let mut mapping = ready.rest.add_mapping(&client, &proxy, 1).await?;
    for step in 0..6_u64 {
        tokio::time::sleep(std::time::Duration::from_millis(step * 15)).await;
        ready.gateway.kill(Program::Api).await?;
        ready.gateway.start(Program::Api).await?;
        ready.rest.wait_state(&mapping, "APPLIED").await?;
        open_through(&lab, Kind::Microsocks).await?;
        only_forwarder(mapping.port)?;
        ready.rest.delete(&format!("/v1/mappings/{}", mapping.id)).await?;
        mapping = ready.rest.add_mapping(&client, &proxy, 1).await?;
    }
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    vigil.end(&[Kind::Microsocks.ip()]).await
}

async fn an_agent_killed_while_devices_come_up_finishes_after_its_return(mut lab: Lab) -> Result<()> {
    let (mut ready, client, proxy, vigil) = registered(&mut lab, Kind::Microsocks).await?;
    for step in 0..4_u64 {
        let mapping = ready.rest.add_mapping(&client, &proxy, 1).await?;
        tokio::time::sleep(std::time::Duration::from_millis(step * 15)).await;
        ready.gateway.kill(Program::Agent).await?;
        ready.gateway.start(Program::Agent).await?;
        ready.rest.wait_state(&mapping, "APPLIED").await?;
        open_through(&lab, Kind::Microsocks).await?;
        ready.rest.delete(&format!("/v1/mappings/{}", mapping.id)).await?;
    }
    vigil.end(&[Kind::Microsocks.ip()]).await
}

async fn everything_killed_at_once_comes_back_to_what_was(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    for program in Program::ALL {
        ready.gateway.kill(program).await?;
    }
    kill_pid(only_forwarder(mapping.port)?)?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "without a forwarder the origin was reached");
    for program in Program::ALL {
        ready.gateway.start(program).await?;
    }
    ready.rest.wait_ready().await?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    open_through(&lab, Kind::Squid).await?;
    only_forwarder(mapping.port)?;
    vigil.end(&[Kind::Squid.ip()]).await
}
