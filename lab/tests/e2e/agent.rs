//! Without an agent nothing changes in the kernel, and everybody says so (G3, G7, G9).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use pgw_lab::gateway::{self, Gateway, Program};
use pgw_lab::lab::{Ready, admin_token, eventually};
use pgw_lab::net::{C1, C2};
use pgw_lab::rest::{self, Rest};
use pgw_lab::upstream::Kind;
use pgw_lab::vigil::Vigil;
use pgw_lab::{Lab, command};
use reqwest::Method;

crate::tests![
    without_an_agent_a_new_mapping_stays_pending_and_says_so,
    without_nft_readiness_and_reason_say_so,
    an_nft_that_is_too_old_leaves_the_rules_and_readiness_and_reason_say_so,
    a_flushed_ruleset_is_healed,
    tables_of_others_are_left_alone,
];

async fn without_an_agent_a_new_mapping_stays_pending_and_says_so(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    lab.upstream(Kind::Squid).await?;
    let client = ready.rest.add_client(C1).await?;
    let proxy = ready.rest.add_proxy(Kind::Squid).await?;
    let vigil = Vigil::begin(C1).await?;
    ready.gateway.kill(Program::Agent).await?;
    let mapping = ready.rest.add_mapping(&client, &proxy, 1).await?;
    let reason = ready.rest.wait_reason(&mapping, "PENDING", "agent").await?;
    ensure!(reason.contains("cannot be confirmed") || reason.contains("agent"), "{reason:?}");
    let readyz = ready.rest.send(Method::GET, &format!("{}/readyz", rest::API), None).await?;
    ensure!(readyz.status == 503 && readyz.text.contains("agent"), "{readyz:?}");
    ready.gateway.start(Program::Agent).await?;
    ready.rest.wait_state(&mapping, "APPLIED").await?;
    ready.rest.wait_ready().await?;
    vigil.end(&[Kind::Squid.ip()]).await
}

async fn without_nft_readiness_and_reason_say_so(mut lab: Lab) -> Result<()> {
    let mut gateway = Gateway::new(gateway::settings())?;
    gateway.start(Program::Api).await?;
    // Programs are looked for where there are none.
    gateway.start_with(Program::Agent, &[("PATH", "/run/lab")]).await?;
    let rest = Rest::new(admin_token().await?)?;
    lab.upstream(Kind::Squid).await?;
    let client = rest.add_client(C1).await?;
    let proxy = rest.add_proxy(Kind::Squid).await?;
    let mapping = rest.add_mapping(&client, &proxy, 1).await?;
    rest.wait_reason(&mapping, "PENDING", "nft is not installed").await?;
    let readyz = rest.send(Method::GET, &format!("{}/readyz", rest::API), None).await?;
    ensure!(readyz.status == 503 && readyz.text.contains("nft is not installed"), "{readyz:?}");
    gateway.kill(Program::Agent).await?;
    gateway.start(Program::Agent).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    rest.wait_ready().await
}

async fn an_nft_that_is_too_old_leaves_the_rules_and_readiness_and_reason_say_so(mut lab: Lab) -> Result<()> {
    let Ready { rest, mut gateway } = lab.gateway().await?;
    lab.upstream(Kind::Squid).await?;
    let (first, second) = (rest.add_client(C1).await?, rest.add_client(C2).await?);
    let proxy = rest.add_proxy(Kind::Squid).await?;
    let mapping = rest.add_mapping(&first, &proxy, 1).await?;
    rest.wait_state(&mapping, "APPLIED").await?;
    gateway.kill(Program::Agent).await?;
    fs::create_dir_all("/run/lab/old")?;
    let words = "/dev/stdin:5:3-9: Error: syntax error, unexpected comment";
    fs::write("/run/lab/old/nft", format!("#!/bin/sh\necho '{words}' >&2\nexit 1\n"))?;
    fs::set_permissions("/run/lab/old/nft", fs::Permissions::from_mode(0o755))?;
    gateway.start_with(Program::Agent, &[("PATH", "/run/lab/old")]).await?;
    let (open, closed) = (Vigil::begin(C1).await?, Vigil::begin(C2).await?);
    let waits = rest.add_mapping(&second, &proxy, 1).await?;
    rest.wait_reason(&waits, "PENDING", "syntax error").await?;
    let readyz = rest.send(Method::GET, &format!("{}/readyz", rest::API), None).await?;
    ensure!(readyz.status == 503 && readyz.text.contains("syntax error"), "{readyz:?}");
    open.end(&[Kind::Squid.ip()]).await?;
    closed.end(&[]).await?;
    gateway.kill(Program::Agent).await?;
    gateway.start(Program::Agent).await?;
    rest.wait_state(&waits, "APPLIED").await.map(drop)
}

async fn tables() -> Result<String> {
    command::ok("gw", &["nft", "list", "tables"]).await
}

async fn a_flushed_ruleset_is_healed(mut lab: Lab) -> Result<()> {
    let Ready { rest, gateway: _running } = {
        let ready = lab.gateway().await?;
        lab.mapped(&ready, C1, &[Kind::Squid]).await?;
        ready
    };
    rest.add_client(C2).await?;
    for table in [["ip", "pgw"], ["inet", "pgw_filter"]] {
        command::ok("gw", &[&["nft", "delete", "table"][..], &table].concat()).await?;
        eventually("both tables are back", async || {
            let now = tables().await?;
            Ok((now.contains("table ip pgw\n") && now.contains("table inet pgw_filter\n")).then_some(()))
        })
        .await?;
        let vigil = Vigil::begin(C1).await?;
        let closed = Vigil::begin(C2).await?;
        let seen = lab.seen_as(C1, "http://origin/").await?;
        ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
        vigil.end(&[Kind::Squid.ip()]).await?;
        closed.end(&[]).await?;
    }
    Ok(())
}

async fn tables_of_others_are_left_alone(mut lab: Lab) -> Result<()> {
    let others = ["list", "table", "ip", "lab"];
    let before = command::ok("gw", &[&["nft"][..], &others].concat()).await?;
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid]).await?;
    let now = tables().await?;
    let all: Vec<&str> = now.lines().collect();
    ensure!(all.len() == 3, "beside the lab's own table there are two: {all:?}");
    let after = command::ok("gw", &[&["nft"][..], &others].concat()).await?;
    ensure!(before == after, "the table of somebody else was changed:\n{after}");
    Ok(())
}
