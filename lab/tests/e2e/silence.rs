//! A program that hangs is not a program that is gone: its sockets take what is sent, and nothing
//! comes back. It must not keep a door open (G1, G4).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::gateway::{Program, flag_file, forwarders, freeze_pid, thaw_pid};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2};
use pgw_lab::rest::{self, Mapped};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use serde_json::json;

crate::tests![
    an_agent_that_hangs_keeps_no_door_open_and_all_heals_when_it_goes_on,
    what_is_removed_lets_nothing_through_and_keeps_its_port_while_an_agent_hangs,
    a_forwarder_that_hangs_is_let_be_and_not_called_closed_before_it_is,
];

/// The API waits for a silent agent much longer than for anything else.
const SOON: Duration = Duration::from_secs(5);

/// Two devices are open, and by now each of them is waited for by a look that nobody answers.
async fn frozen(lab: &mut Lab) -> Result<(Ready, Mapped, Mapped)> {
    let ready = lab.gateway().await?;
    let one = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let other = lab.mapped(&ready, C2, &[Kind::Microsocks]).await?.remove(0);
    ready.gateway.freeze(Program::Agent)?;
    // Answered although nothing settles: from here on a look at this client is under way.
    ready.rest.patch(&format!("/v1/mappings/{}", one.id), json!({ "priority": 7 })).await?;
    Ok((ready, one, other))
}

async fn seen(lab: &Lab, kind: Kind) -> Result<()> {
    let seen = lab.seen_as(C2, "http://origin/").await?;
    ensure!(seen == kind.ip().to_string(), "the other device is seen as {seen}");
    Ok(())
}

async fn an_agent_that_hangs_keeps_no_door_open_and_all_heals_when_it_goes_on(mut lab: Lab) -> Result<()> {
    let (ready, one, _other) = frozen(&mut lab).await?;
    let vigil = Vigil::begin(C1).await?;
    ensure!(lab.seen_as(C1, "http://origin/").await? == Kind::Squid.ip().to_string(), "it began closed");
    let path = format!("/v1/mappings/{}", one.id);
    let asked = Instant::now();
    let patching = ready.rest.patch(&path, json!({ "enabled": false }));
    let shut = eventually("the mapping is FAILED", async || {
        Ok((rest::text(&ready.rest.mapping(&one).await?, "state") == "FAILED").then(|| asked.elapsed()))
    });
    let (answer, shut) = tokio::try_join!(patching, shut)?;
    eprintln!(
        "{} shut without an agent after {shut:?}, answered after {:?}",
        crate::harness::MEASURED,
        asked.elapsed()
    );
    ensure!(rest::text(&answer, "state") == "FAILED", "{answer}");
    ensure!(rest::text(&answer, "reason").contains("disabled"), "{answer}");
    ensure!(asked.elapsed() < SOON, "an operator waited {:?} for an agent that hangs", asked.elapsed());
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "FAILED was said, and the origin was reached");
    seen(&lab, Kind::Microsocks).await?;

    ready.gateway.thaw(Program::Agent)?;
    eventually("flag file and forwarder are gone", async || {
        Ok((!flag_file(one.port).exists() && forwarders()?.len() == 1).then_some(()))
    })
    .await?;
    ready.rest.patch(&path, json!({ "enabled": true })).await?;
    ready.rest.wait_state(&one, "APPLIED").await?;
    ensure!(
        lab.seen_as(C1, "http://origin/").await? == Kind::Squid.ip().to_string(),
        "it did not open again"
    );
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn what_is_removed_lets_nothing_through_and_keeps_its_port_while_an_agent_hangs(
    mut lab: Lab,
) -> Result<()> {
    let (ready, one, other) = frozen(&mut lab).await?;
    let vigil = Vigil::begin(C1).await?;
    let asked = Instant::now();
    ready.rest.delete(&format!("/v1/mappings/{}", one.id)).await?;
    ensure!(asked.elapsed() < SOON, "an operator waited {:?} for an agent that hangs", asked.elapsed());
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "removed, and the origin was reached");
    let new = ready.rest.add_mapping(&one.client, &one.proxy, 1).await?;
    ready.rest.delete(&format!("/v1/clients/{}?cascade=true", one.client)).await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "removed, and the origin was reached");
    ensure!(new.port == one.port && new.port != other.port, "ports {new:?} and {other:?}");
    seen(&lab, Kind::Microsocks).await?;
    vigil.end(&[Kind::Squid.ip()]).await?;

    ready.gateway.thaw(Program::Agent)?;
    eventually("nothing is left, and the device is let alone", async || {
        let gone = !flag_file(one.port).exists() && forwarders()?.len() == 1;
        let free = lab.seen_as(C1, "http://origin/").await.is_ok_and(|seen| seen == C1.direct.to_string());
        Ok((gone && free).then_some(()))
    })
    .await?;
    seen(&lab, Kind::Microsocks).await
}

async fn a_forwarder_that_hangs_is_let_be_and_not_called_closed_before_it_is(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let path = format!("/v1/mappings/{}", mapping.id);
    let vigil = Vigil::begin(C1).await?;
    let pids = forwarders()?.remove(&mapping.port).unwrap_or_default();
    let pid = pids.iter().copied().next().context("no forwarder runs")?;
    freeze_pid(pid)?;
    let looked_at = ready.rest.patch(&path, json!({ "priority": 7 })).await?;
    ensure!(rest::text(&looked_at, "state") != "FAILED", "it could not be asked: {looked_at}");
    // What cannot be asked for long is no fact any more (G42), and is one again when it answers.
    ready.rest.wait_reason(&mapping, "PENDING", "does not answer").await?;
    thaw_pid(pid)?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await? == Kind::Squid.ip().to_string(), "it is not open");
    ensure!(forwarders()?.get(&mapping.port) == Some(&pids), "it was replaced");

    freeze_pid(pid)?;
    ready.rest.patch(&path, json!({ "enabled": false })).await?;
    ready.rest.wait_state(&mapping, "FAILED").await?;
    ensure!(forwarders()?.is_empty(), "FAILED was said, and a forwarder that may let it out is there");
    vigil.end(&[Kind::Squid.ip()]).await
}
