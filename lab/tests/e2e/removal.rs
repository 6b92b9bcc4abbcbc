//! What is taken away is gone, in the order that leaks nothing (G5, G6).

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::canary::{LONG, answered, ways_out};
use pgw_lab::gateway::{Program, flag_file, forwarders};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, C2};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use reqwest::Method;
use serde_json::json;

crate::tests![
    a_deleted_mapping_closes_the_device_and_takes_forwarder_and_flag_file_along,
    a_deleted_client_is_left_alone_again,
    a_port_that_changes_hands_carries_the_new_device_only,
    a_disabled_proxy_closes_its_device_and_enabled_opens_it,
    without_an_agent_a_freed_port_is_given_to_nobody,
    a_client_that_changes_its_address_takes_its_upstream_along,
    an_api_killed_while_it_removes_a_mapping_finishes_the_removal,
];

async fn a_deleted_mapping_closes_the_device_and_takes_forwarder_and_flag_file_along(
    mut lab: Lab,
) -> Result<()> {
    let ready = lab.gateway().await?;
    let mappings = lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let [first, second] = mappings.as_slice() else { anyhow::bail!("{mappings:?}") };
    let vigil = Vigil::begin(C1).await?;
    ready.rest.delete(&format!("/v1/mappings/{}", first.id)).await?;
    ensure!(flag_file(second.port).exists(), "the other mapping still needs its flag file");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    // 204 says that it is done: nothing to wait for.
    ready.rest.delete(&format!("/v1/mappings/{}", second.id)).await?;
    ensure!(!flag_file(second.port).exists(), "the flag file is still there");
    ensure!(forwarders()?.is_empty(), "a forwarder still runs: {:?}", forwarders()?);
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "no mapping, and the origin was reached");
    vigil.end(&[Kind::Squid.ip(), Kind::Microsocks.ip()]).await
}

async fn a_deleted_client_is_left_alone_again(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let path = format!("{}/v1/clients/{}", pgw_lab::rest::API, mapping.client);
    let refused = ready.rest.send(Method::DELETE, &path, None).await?;
    ensure!(refused.status == 409, "it still has a mapping: {refused:?}");
    ready.rest.delete(&format!("/v1/clients/{}?cascade=true", mapping.client)).await?;
    ensure!(!flag_file(mapping.port).exists() && forwarders()?.is_empty(), "something was left behind");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == C1.direct.to_string(), "unregistered, and seen as {seen}");
    let ways: Vec<_> = ways_out().into_iter().filter(|way| !way.is_v6()).collect();
    let open = answered(C1.name, &ways, LONG).await?;
    ensure!(open.len() == ways.len(), "only {open:?} are open");
    Ok(())
}

async fn a_port_that_changes_hands_carries_the_new_device_only(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let old = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    ready.rest.delete(&format!("/v1/mappings/{}", old.id)).await?;
    let new = lab.mapped(&ready, C2, &[Kind::Microsocks]).await?.remove(0);
    ensure!(new.port == old.port, "the lowest free port is {}, not {}", old.port, new.port);
    for _ in 0..3 {
        ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "the former device was served");
        let seen = lab.seen_as(C2, "http://origin/").await?;
        ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    }
    // Its own former upstream is fine until it was deleted; the new device's never is.
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn a_disabled_proxy_closes_its_device_and_enabled_opens_it(mut lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = &lab.gateway().await?;
    lab.upstream(Kind::Squid).await?;
    let client = rest.add_client(C1).await?;
    let proxy = rest.add_proxy(Kind::Squid).await?;
    let mapping = rest.add_mapping(&client, &proxy, 1).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    let vigil = Vigil::begin(C1).await?;
    rest.patch(&format!("/v1/proxies/{proxy}"), json!({ "enabled": false })).await?;
    rest.wait_reason(&mapping, "FAILED", "disabled").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "disabled, and the origin was reached");
    rest.patch(&format!("/v1/proxies/{proxy}"), json!({ "enabled": true })).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn without_an_agent_a_freed_port_is_given_to_nobody(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let old = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    ready.gateway.kill(Program::Agent).await?;
    // The rule that leads c1 to this port is still in the kernel, and nobody can take it out.
    let missing = ready.rest.delete_unfinished(&format!("/v1/mappings/{}", old.id)).await?;
    ensure!(missing.contains("agent"), "{missing}");
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "deleted, and the origin was reached");
    lab.upstream(Kind::Microsocks).await?;
    let client = ready.rest.add_client(C2).await?;
    let proxy = ready.rest.add_proxy(Kind::Microsocks).await?;
    let new = ready.rest.add_mapping(&client, &proxy, 1).await?;
    ensure!(new.port != old.port, "port {} was given away while a rule still led to it", old.port);
    ready.gateway.start(Program::Agent).await?;
    ready.rest.wait_state(&new, "APPLIED").await?;
    let seen = lab.seen_as(C2, "http://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "deleted, and the origin was reached");
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn a_client_that_changes_its_address_takes_its_upstream_along(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let before = lab.leaks(C2.name).await?;
    let path = format!("/v1/clients/{}", mapping.client);
    ready.rest.patch(&path, json!({ "ip_cidr": C2.ip })).await?;
    // The answer says that the new address is closed, if it is not open already.
    let vigil = Vigil::begin(C2).await?;
    eventually("the new address is open", async || {
        Ok(lab.seen_as(C2, "http://origin/").await.ok().filter(|seen| *seen == Kind::Squid.ip().to_string()))
    })
    .await?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    let former = lab.seen_as(C1, "http://origin/").await?;
    ensure!(former == C1.direct.to_string(), "the former address is nobody's, and is seen as {former}");
    let leaked = lab.leaks(C2.name).await?.since(&before);
    ensure!(leaked.total() == 0, "the new address went directly: {leaked:?}");
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn an_api_killed_while_it_removes_a_mapping_finishes_the_removal(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mut mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    for step in 1..5_u64 {
        let path = format!("/v1/mappings/{}", mapping.id);
        let asked = {
            let (rest, path) = (ready.rest.clone(), path.clone());
            tokio::spawn(async move { rest.delete(&path).await })
        };
        tokio::time::sleep(std::time::Duration::from_millis(step * 10)).await;
        ready.gateway.kill(Program::Api).await?;
        let answered = asked.await?.is_ok();
        ready.gateway.start(Program::Api).await?;
        ready.rest.wait_ready().await?;
        // Cut off before it was written down, it was never asked for; and else it is finished.
        let url = format!("{}{path}", pgw_lab::rest::API);
        let there = ready.rest.send(Method::GET, &url, None).await?.status == 200;
        ensure!(!(answered && there), "204 was said, and after a restart the mapping is back");
        if there {
            ready.rest.delete(&path).await?;
        }
        eventually("flag file and forwarder are gone", async || {
            Ok((!flag_file(mapping.port).exists() && forwarders()?.is_empty()).then_some(()))
        })
        .await?;
        ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "removed, and the origin was reached");
        mapping = ready.rest.add_mapping(&mapping.client, &mapping.proxy, 1).await?;
        ensure!(mapping.port == 15001, "port 15001 was lost, and {} is used", mapping.port);
        ready.rest.wait_state(&mapping, "APPLIED").await?;
    }
    vigil.end(&[Kind::Squid.ip()]).await
}
