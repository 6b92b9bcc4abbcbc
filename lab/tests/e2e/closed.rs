//! A registered device gets out by its upstream, or not at all, in every state (G1, G2).

use anyhow::{Result, ensure};
use pgw_lab::Lab;
use pgw_lab::canary::{LONG, PATIENCE, Way, answered, tcp_way, ways_out, ways_to_gateway, ways_to_upstreams};
use pgw_lab::gateway::{self, Gateway, Program};
use pgw_lab::lab::{Ready, admin_token};
use pgw_lab::net::{C1, C2, Device, LISTENER, ORIGIN, STRANGER};
use pgw_lab::rest::{self, Rest};
use pgw_lab::upstream::Kind;
use serde_json::json;

crate::tests![
    an_applied_device_has_no_other_way_out,
    a_pending_device_has_no_way_out,
    a_failed_device_has_no_way_out,
    a_device_without_a_mapping_has_no_way_out,
    a_flow_from_before_the_registration_ends_with_it,
    forwarders_take_nobody_who_did_not_come_by_the_redirect,
];

async fn no_way(lab: &Lab, device: Device, ways: &[Way]) -> Result<()> {
    let before = lab.leaks(device.name).await?;
    let open = answered(device.name, ways, PATIENCE).await?;
    ensure!(open.is_empty(), "{} got an answer from {open:?}", device.name);
    let leaked = lab.leaks(device.name).await?.since(&before);
    ensure!(leaked.total() == 0, "packets of {} left the gateway: {leaked:?}", device.name);
    // The same must work for somebody else, or this test could not fail.
    let open = answered(STRANGER.name, &ways_out(), LONG).await?;
    let closed: Vec<_> =
        ways_out().into_iter().filter(|way| !open.contains(&way.name) && !way.is_v6()).collect();
    ensure!(closed.is_empty(), "the stranger is touched: {closed:?}");
    Ok(())
}

fn ways_beside_the_mapping() -> Vec<Way> {
    ways_out().into_iter().chain(ways_to_upstreams()).collect()
}

fn all_ways() -> Vec<Way> {
    let mapped = [80, 443].map(|port| tcp_way(ORIGIN, port));
    ways_beside_the_mapping().into_iter().chain(mapped).collect()
}

async fn an_applied_device_has_no_other_way_out(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    no_way(&lab, C1, &ways_beside_the_mapping()).await
}

async fn a_pending_device_has_no_way_out(lab: Lab) -> Result<()> {
    let mut settings = gateway::settings();
    settings.insert("PGW_HEALTH_TIMEOUT".to_owned(), "60s".to_owned());
    let mut gateway = Gateway::new(settings)?;
    for program in Program::ALL {
        gateway.start(program).await?;
    }
    let rest = Rest::new(admin_token().await?)?;
    rest.wait_ready().await?;
    // An upstream that is silent keeps its first check waiting.
    let silent = json!({ "name": "silent", "scheme": "http", "host": LISTENER, "port": 80 });
    let proxy = rest::id(&rest.post("/v1/proxies", silent).await?)?;
    let client = rest.add_client(C1).await?;
    let mapping = rest.add_mapping(&client, &proxy, 1).await?;
    rest.wait_reason(&mapping, "PENDING", "first health check").await?;
    no_way(&lab, C1, &all_ways()).await?;
    let state = rest.mapping(&mapping).await?;
    ensure!(rest::text(&state, "state") == "PENDING", "it was not PENDING to the end: {state}");
    Ok(())
}

async fn a_failed_device_has_no_way_out(lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = lab.gateway().await?;
    let client = rest.add_client(C1).await?;
    let proxy = rest.add_proxy(Kind::Squid).await?;
    let mapping = rest.add_mapping(&client, &proxy, 1).await?;
    let reason = rest.wait_state(&mapping, "FAILED").await?;
    ensure!(reason.contains("refused"), "nobody listens there, and the reason says {reason:?}");
    no_way(&lab, C1, &all_ways()).await
}

async fn a_device_without_a_mapping_has_no_way_out(lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = lab.gateway().await?;
    rest.add_client(C1).await?;
    // The answer to the registration is the promise: there is nothing to wait for.
    no_way(&lab, C1, &all_ways()).await
}

async fn a_flow_from_before_the_registration_ends_with_it(lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = lab.gateway().await?;
    let mut flow = pgw_lab::canary::connect(C1.name, (ORIGIN, 22).into(), LONG).await?;
    let hello = pgw_lab::canary::read(&mut flow, 1).await?;
    ensure!(hello.contains(&C1.direct.to_string()), "{hello:?}");
    rest.add_client(C1).await?;
    let before = lab.leaks(C1.name).await?;
    tokio::io::AsyncWriteExt::write_all(&mut flow, b"still there?").await?;
    let echo = tokio::time::timeout(PATIENCE, pgw_lab::canary::read(&mut flow, 1)).await;
    ensure!(echo.is_err(), "the old connection still carries: {echo:?}");
    let leaked = lab.leaks(C1.name).await?.since(&before);
    ensure!(leaked.total() == 0, "the old connection still sends: {leaked:?}");
    Ok(())
}

async fn forwarders_take_nobody_who_did_not_come_by_the_redirect(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let own = lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    let other = lab.mapped(&ready, C2, &[Kind::Microsocks]).await?;
    let ports: Vec<u16> = own.iter().chain(&other).map(|mapping| mapping.port).collect();
    ensure!(ports == [15001, 15002], "the lowest free ports are {ports:?}");
    for device in [C1, C2, STRANGER] {
        let open = answered(device.name, &ways_to_gateway(&ports), PATIENCE).await?;
        ensure!(open.is_empty(), "{} reaches {open:?}", device.name);
    }
    let open = answered(
        "origin",
        &ports.iter().map(|p| tcp_way(pgw_lab::net::GATEWAY_WAN, *p)).collect::<Vec<_>>(),
        PATIENCE,
    )
    .await?;
    ensure!(open.is_empty(), "from the WAN side, {open:?} are open");
    Ok(())
}
