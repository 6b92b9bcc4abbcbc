//! What the rules mean to a packet, beyond open and closed (G1, G9, G10, G13).

use anyhow::{Result, ensure};
use pgw_lab::canary::{self, LONG, PATIENCE, answered, tcp_way, ways_out};
use pgw_lab::gateway::{self, Gateway, Program};
use pgw_lab::lab::{Ready, admin_token};
use pgw_lab::net::{C1, C2, GATEWAY_LAN, GREETER, ORIGIN, STRANGER};
use pgw_lab::rest::Rest;
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, command};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

crate::tests![
    the_gateways_own_services_stay_where_they_are,
    open_connections_survive_what_does_not_concern_them,
    open_connections_end_when_their_upstream_is_taken_away,
    without_an_agent_a_disabled_proxy_still_closes_its_device,
    rules_saved_before_a_reboot_close_before_any_daemon_runs,
    a_ruleset_that_cannot_be_read_at_boot_closes_whom_it_opened,
    a_mistyped_setting_opens_nobody_at_the_next_boot,
    at_boot_tables_that_somebody_else_loaded_are_replaced,
    with_unregistered_drop_the_stranger_is_closed_too,
    with_closed_action_reject_a_closed_device_is_told_at_once,
];

async fn the_gateways_own_services_stay_where_they_are(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    for port in [80, 443] {
        let own = tokio::net::TcpListener::bind((GATEWAY_LAN, port)).await?;
        tokio::spawn(async move {
            while let Ok((mut visitor, _)) = own.accept().await {
                visitor.write_all(b"the gateway itself").await.ok();
            }
        });
    }
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    for device in [C1, STRANGER] {
        for port in [80, 443] {
            let mut visit = canary::connect(device.name, (GATEWAY_LAN, port).into(), LONG).await?;
            let said = canary::read(&mut visit, usize::MAX).await?;
            ensure!(said == "the gateway itself", "{} on {port} heard {said:?}", device.name);
        }
    }
    Ok(())
}

/// A connection that is open, proven by an echo.
async fn talk(stream: &mut tokio::net::TcpStream, word: &str) -> Result<()> {
    stream.write_all(word.as_bytes()).await?;
    let echo = canary::read(stream, word.len()).await?;
    ensure!(echo == word, "the echo of {word:?} is {echo:?}");
    Ok(())
}

async fn open_connections_survive_what_does_not_concern_them(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let mut open = canary::connect(C1.name, (GREETER, 443).into(), LONG).await?;
    let hello = format!("hello {}\r\n", Kind::Squid.ip());
    let heard = canary::read(&mut open, hello.len()).await?;
    ensure!(heard == hello, "{heard:?}");
    talk(&mut open, "one").await?;

    // Another upstream for the same device, another device, another agent, another API.
    lab.upstream(Kind::Microsocks).await?;
    let proxy = ready.rest.add_proxy(Kind::Microsocks).await?;
    let second = ready.rest.add_mapping(&mapping.client, &proxy, 200).await?;
    ready.rest.wait_state(&second, "APPLIED").await?;
    talk(&mut open, "two").await?;
    ready.rest.add_client(C2).await?;
    talk(&mut open, "three").await?;
    for program in [Program::Agent, Program::Api] {
        ready.gateway.kill(program).await?;
        talk(&mut open, "four").await?;
        ready.gateway.start(program).await?;
        ready.rest.wait_ready().await?;
        talk(&mut open, "five").await?;
    }
    ready.rest.delete(&format!("/v1/mappings/{}", second.id)).await?;
    talk(&mut open, "six").await
}

async fn open_connections_end_when_their_upstream_is_taken_away(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    let mappings = lab.mapped(&ready, C1, &[Kind::Squid, Kind::Microsocks]).await?;
    let [first, _second] = mappings.as_slice() else { anyhow::bail!("{mappings:?}") };
    let hello = format!("hello {}\r\n", Kind::Squid.ip());
    let mut open = canary::connect(C1.name, (GREETER, 443).into(), LONG).await?;
    let heard = canary::read(&mut open, hello.len()).await?;
    ensure!(heard == hello, "{heard:?}");
    ready.rest.delete(&format!("/v1/mappings/{}", first.id)).await?;
    // It ends, by FIN or reset; only silence would mean that it lives.
    let end = tokio::time::timeout(LONG, tokio::io::AsyncReadExt::read(&mut open, &mut [0; 16])).await;
    ensure!(!matches!(end, Ok(Ok(1..)) | Err(_)), "the connection lives on: {end:?}");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Microsocks.ip().to_string(), "{seen}");
    Ok(())
}

async fn without_an_agent_a_disabled_proxy_still_closes_its_device(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let vigil = Vigil::begin(C1).await?;
    ready.gateway.kill(Program::Agent).await?;
    ready.rest.patch(&format!("/v1/proxies/{}", mapping.proxy), json!({ "enabled": false })).await?;
    ready.rest.wait_reason(&mapping, "FAILED", "disabled").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "FAILED, and the origin was reached");
    ready.gateway.start(Program::Agent).await?;
    ready.rest.wait_ready().await?;
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn rules_saved_before_a_reboot_close_before_any_daemon_runs(mut lab: Lab) -> Result<()> {
    after_a_reboot(&mut lab).await?;
    boot(&[], 0).await?;
    let (open, closed) = (Vigil::begin(C1).await?, Vigil::begin(C2).await?);
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "a closed device is open after a boot");
    open.end(&[Kind::Squid.ip()]).await?;
    closed.end(&[]).await
}

async fn a_ruleset_that_cannot_be_read_at_boot_closes_whom_it_opened(mut lab: Lab) -> Result<()> {
    after_a_reboot(&mut lab).await?;
    std::fs::write(format!("{}/agent/ruleset.nft", gateway::STATE), "not a ruleset {")?;
    boot(&[], 0).await?;
    for device in [C1, C2] {
        let vigil = Vigil::begin(device).await?;
        ensure!(lab.seen_as(device, "http://origin/").await.is_err(), "{} is open", device.name);
        vigil.end(&[]).await?;
    }
    let seen = lab.seen_as(STRANGER, "http://origin/").await?;
    ensure!(seen == STRANGER.direct.to_string(), "the stranger is seen as {seen}");
    Ok(())
}

async fn a_mistyped_setting_opens_nobody_at_the_next_boot(mut lab: Lab) -> Result<()> {
    after_a_reboot(&mut lab).await?;
    for mistake in ["PGW_RECONCILE_INTERVAL=15", "PGW_LAN_IF=not an interface"] {
        boot(&[mistake], 64).await?;
        let vigil = Vigil::begin(C2).await?;
        ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "{mistake}: a closed device is open");
        vigil.end(&[]).await?;
        empty_the_kernel().await?;
    }
    Ok(())
}

async fn at_boot_tables_that_somebody_else_loaded_are_replaced(mut lab: Lab) -> Result<()> {
    after_a_reboot(&mut lab).await?;
    // As from a dump that was made before anybody was registered.
    for table in TABLES {
        command::ok("gw", &[&["nft", "add", "table"][..], &table].concat()).await?;
    }
    boot(&[], 0).await?;
    let vigil = Vigil::begin(C2).await?;
    ensure!(lab.seen_as(C2, "http://origin/").await.is_err(), "a closed device is open after a boot");
    vigil.end(&[]).await
}

const TABLES: [[&str; 2]; 2] = [["ip", "pgw"], ["inet", "pgw_filter"]];

/// C1 was open and C2 closed; now nothing runs but the forwarder, and the kernel is empty.
async fn after_a_reboot(lab: &mut Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    ready.rest.add_client(C2).await?;
    for program in Program::ALL {
        ready.gateway.kill(program).await?;
    }
    empty_the_kernel().await
}

async fn empty_the_kernel() -> Result<()> {
    for table in TABLES {
        command::ok("gw", &[&["nft", "delete", "table"][..], &table].concat()).await?;
    }
    Ok(())
}

async fn boot(settings: &[&str], want: i32) -> Result<()> {
    let agent = gateway::path("pgw-agent")?;
    let agent = agent.to_string_lossy();
    let state = format!("PGW_STATE_DIR={}", gateway::STATE);
    let words = [&["env", &state], settings, &[&agent, "boot"]].concat();
    let done = command::finish("gw", &words, "").await?;
    ensure!(done.status.code() == Some(want), "{settings:?}: {done:?}");
    Ok(())
}

pub(crate) async fn gateway_with(setting: (&str, &str)) -> Result<Ready> {
    let mut settings = gateway::settings();
    settings.insert(setting.0.to_owned(), setting.1.to_owned());
    let mut gateway = Gateway::new(settings)?;
    for program in Program::ALL {
        gateway.start(program).await?;
    }
    let rest = Rest::new(admin_token().await?)?;
    rest.wait_ready().await?;
    Ok(Ready { gateway, rest })
}

async fn with_unregistered_drop_the_stranger_is_closed_too(mut lab: Lab) -> Result<()> {
    let ready = gateway_with(("PGW_UNREGISTERED", "drop")).await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    let vigil = Vigil::begin(STRANGER).await?;
    ensure!(lab.seen_as(STRANGER, "http://origin/").await.is_err(), "the stranger reached the origin");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    vigil.end(&[]).await
}

async fn with_closed_action_reject_a_closed_device_is_told_at_once(lab: Lab) -> Result<()> {
    let ready = gateway_with(("PGW_CLOSED_ACTION", "reject")).await?;
    ready.rest.add_client(C1).await?;
    let refused = canary::connect(C1.name, (ORIGIN, 22).into(), LONG).await;
    let told = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(told.contains("refused"), "a closed device is told {told:?}");
    let ways = [ways_out(), vec![tcp_way(ORIGIN, 80), tcp_way(ORIGIN, 443)]].concat();
    let open = answered(C1.name, &ways, PATIENCE).await?;
    ensure!(open.is_empty() && lab.leaks(C1.name).await?.total() == 0, "{open:?}");
    Ok(())
}
