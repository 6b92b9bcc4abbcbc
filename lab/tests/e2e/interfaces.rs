//! What the machine lacks is told in plain words, keeps nobody open, and is right again when it
//! is there (G1, G13).

use anyhow::{Result, ensure};
use pgw_lab::gateway::{self, log_path};
use pgw_lab::lab::{Ready, eventually};
use pgw_lab::net::{C1, GATEWAY};
use pgw_lab::rest::{API, Rest};
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, command};
use reqwest::Method;

crate::tests![
    a_lan_interface_that_is_missing_is_told_until_it_is_there,
    a_state_directory_that_is_read_only_keeps_nobody_open_and_is_told_once,
];

async fn readiness(rest: &Rest, status: u16, words: &str) -> Result<()> {
    eventually(&format!("/readyz is {status} and says {words:?}"), async || {
        let answer = rest.send(Method::GET, &format!("{API}/readyz"), None).await?;
        Ok((answer.status == status && answer.text.contains(words)).then_some(()))
    })
    .await
}

/// Its addresses stay with it.
async fn rename(from: &str, to: &str) -> Result<()> {
    for words in [["set", from, "down"].as_slice(), &["set", from, "name", to], &["set", to, "up"]] {
        command::ok(GATEWAY, &[&["ip", "link"], words].concat()).await?;
    }
    Ok(())
}

async fn a_lan_interface_that_is_missing_is_told_until_it_is_there(lab: Lab) -> Result<()> {
    rename("ens19", "lan9").await?;
    // Not `ready`: it waits for a gateway that is.
    let mut gateway = gateway::Gateway::new(gateway::settings())?;
    for program in gateway::Program::ALL {
        gateway.start(program).await?;
    }
    let rest = Rest::new(pgw_lab::lab::admin_token().await?)?;
    readiness(&rest, 503, "PGW_LAN_IF=ens19 does not exist (there is eth0, lan9, lo)").await?;
    let status = crate::drift::status(&rest).await?;
    let told = status.pointer("/warnings/0").and_then(|told| told.as_str());
    ensure!(told.is_some_and(|told| told.contains("ens19")), "{status}");
    rest.add_client(C1).await?;
    let seen = lab.seen_as(C1, "http://origin/").await;
    ensure!(seen.is_err(), "a closed device got out by the interface that nobody named: {seen:?}");
    rename("lan9", "ens19").await?;
    let vigil = Vigil::begin(C1).await?;
    readiness(&rest, 200, "").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "a closed device reached the origin");
    vigil.end(&[]).await?;
    rename("ens19", "lan9").await?;
    readiness(&rest, 503, "PGW_LAN_IF=ens19 does not exist").await
}

async fn a_state_directory_that_is_read_only_keeps_nobody_open_and_is_told_once(lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = lab.gateway().await?;
    let folder = format!("{}/agent", gateway::STATE);
    command::ok(GATEWAY, &["mount", "--bind", &folder, &folder]).await?;
    command::ok(GATEWAY, &["mount", "-o", "remount,ro,bind", &folder]).await?;
    rest.add_client(C1).await?;
    let vigil = Vigil::begin(C1).await?;
    readiness(&rest, 503, "not saved for the next boot").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "a closed device reached the origin");
    for _ in 0..3 {
        crate::drift::reconciled(&rest).await?;
    }
    vigil.end(&[]).await?;
    let log = std::fs::read_to_string(log_path("pgw-agent"))?;
    let told = log.lines().filter(|line| line.contains("not saved for the next boot")).count();
    ensure!(told == 1, "it is told {told} times");
    command::ok(GATEWAY, &["umount", &folder]).await?;
    readiness(&rest, 200, "").await
}
