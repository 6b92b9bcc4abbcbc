//! `pgw` against a whole gateway: one line does what it says, and says what it did.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::command::{self, Finished};
use pgw_lab::gateway::{self, STATE, path};
use pgw_lab::net::{C1, GATEWAY};
use pgw_lab::rest::text;
use pgw_lab::upstream::{Kind, USER};
use pgw_lab::{Lab, lab::eventually};
use serde_json::Value;

crate::tests![
    one_line_lets_a_device_out_and_another_lets_it_go,
    what_was_exported_changes_nothing_when_it_is_applied_and_what_is_not_confirmed_is_undone,
    a_backup_is_made_while_the_gateway_works_and_replaces_no_file,
    doctor_finds_nothing_wrong_with_a_gateway_and_tells_a_wrong_lan_without_one,
    a_tunnel_is_made_verified_and_removed_while_its_client_is_away,
];

/// As root types it on the gateway.
async fn pgw_with(words: &[&str], environment: &[&str], input: &str) -> Result<Finished> {
    let program = path("pgw")?;
    let state = format!("PGW_STATE_DIR={STATE}");
    let usual = ["/usr/bin/env", "HOME=/run/lab", state.as_str()];
    let program = program.to_str().context("a path that is no text")?;
    command::finish(GATEWAY, &[&usual[..], environment, &[program], words].concat(), input).await
}

async fn pgw(line: &str) -> Result<Finished> {
    pgw_with(&line.split(' ').collect::<Vec<_>>(), &[], "").await
}

/// Ends well; gives what it wrote.
async fn well(line: &str) -> Result<String> {
    well_with(line, "").await
}

async fn well_with(line: &str, input: &str) -> Result<String> {
    let done = pgw_with(&line.split(' ').collect::<Vec<_>>(), &[], input).await?;
    ensure!(done.status.success(), "pgw {line} → {}\n{}{}", done.status, done.stdout, done.stderr);
    Ok(done.stdout)
}

async fn data(line: &str) -> Result<Value> {
    Ok(serde_json::from_str(&well(&format!("{line} -o json")).await?)?)
}

async fn fails(line: &str, code: i32, words: &str) -> Result<()> {
    let done = pgw(line).await?;
    let told = format!("{}{}", done.stdout, done.stderr);
    ensure!(done.status.code() == Some(code) && told.contains(words), "pgw {line} → {}\n{told}", done.status);
    Ok(())
}

async fn add_proxy(kind: Kind) -> Result<()> {
    let (name, scheme, port) = (kind.name(), kind.scheme(), kind.port());
    let line = format!("proxy add {name} {scheme}://{USER}@{name}:{port} --password");
    well_with(&line, &format!("{}\n", kind.password())).await?;
    Ok(())
}

async fn one_line_lets_a_device_out_and_another_lets_it_go(mut lab: Lab) -> Result<()> {
    let _ready = lab.gateway().await?;
    lab.upstream(Kind::Squid).await?;
    lab.upstream(Kind::Microsocks).await?;
    add_proxy(Kind::Squid).await?;
    add_proxy(Kind::Microsocks).await?;
    fails("proxy add squid http://squid:1", 4, "name_taken").await?;

    let told = well(&format!("map {} squid microsocks --name tv", C1.ip)).await?;
    ensure!(told.contains("APPLIED"), "{told}");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "seen as {seen}");
    let told = well("explain tv origin:80").await?;
    ensure!(told.contains("squid") && told.contains(&seen), "{told}");
    ensure!(text(&data(&format!("explain {}", C1.ip)).await?, "verdict") == "leaves_by", "by its address");
    well("status").await?;
    well("check").await?;
    well("drill").await?;
    let events = well("events --after 0 --kind change -n 2 -o json").await?;
    ensure!(events.lines().count() == 2, "{events}");
    let journal = well("journal --kind mapping.state --client tv").await?;
    ensure!(journal.contains("APPLIED"), "{journal}");
    well("top --once").await?;

    well("map tv microsocks --only").await?;
    eventually("it gets out by the other one", async || {
        let seen = lab.seen_as(C1, "http://origin/").await;
        Ok(seen.is_ok_and(|seen| seen == Kind::Microsocks.ip().to_string()).then_some(()))
    })
    .await?;
    fails("client rm tv", 4, "in_use").await?;
    fails("client rm telly", 3, "there is no client").await?;
    well("map rm tv").await?;
    ensure!(lab.seen_as(C1, "http://origin/").await.is_err(), "registered, and without a way out");
    well("client rm tv").await?;
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == C1.direct.to_string(), "a stranger again, and seen as {seen}");
    well("proxy rm squid microsocks").await?;
    ensure!(data("proxy list").await? == serde_json::json!([]), "some are left");
    Ok(())
}

async fn what_was_exported_changes_nothing_when_it_is_applied_and_what_is_not_confirmed_is_undone(
    mut lab: Lab,
) -> Result<()> {
    let _ready = lab.gateway().await?;
    lab.upstream(Kind::Squid).await?;
    add_proxy(Kind::Squid).await?;
    well(&format!("map {} squid --name tv", C1.ip)).await?;
    let document = well("export").await?;
    ensure!(!document.contains(Kind::Squid.password()), "a password was told unasked");
    let plan = well_with("plan -f -", &document).await?;
    ensure!(
        plan.trim() == "0 would be created, 0 would be changed, 0 would be removed, 3 as they are",
        "{plan}"
    );
    well_with("apply -f -", &document).await?;
    let other = document.replace("tv", "radio");
    let told = well_with("apply -f - --confirm-within 2s", &other).await?;
    ensure!(told.contains("tv") && told.contains("radio"), "{told}");
    eventually("it is undone", async || {
        let clients = data("client list").await?;
        Ok((clients.pointer("/0/name").and_then(Value::as_str) == Some("tv")).then_some(()))
    })
    .await?;
    fails("confirm", 3, "the last one was undone").await?;
    well_with("apply -f - --confirm-within 60s", &other).await?;
    well("confirm").await?;
    well("client show radio").await?;
    Ok(())
}

async fn a_backup_is_made_while_the_gateway_works_and_replaces_no_file(lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    well(&format!("client add tv {}", C1.ip)).await?;
    well("backup /run/lab/pgw.backup").await?;
    fails("backup /run/lab/pgw.backup", 1, "is there already").await?;
    well("client rm tv").await?;
    fails("restore /run/lab/pgw.backup", 1, "").await?;
    ready.gateway.stop(gateway::Program::Api).await?;
    well("restore /run/lab/pgw.backup").await?;
    fails("client list", 6, "does not answer").await?;
    ready.gateway.start(gateway::Program::Api).await?;
    ensure!(
        data("client list").await?.pointer("/0/name").is_some_and(|name| name == "tv"),
        "it is not restored"
    );
    let left = std::fs::read_dir(STATE)?
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().contains("pgw.backup"));
    ensure!(left.count() == 0, "a backup was left in the state directory");
    Ok(())
}

async fn doctor_finds_nothing_wrong_with_a_gateway_and_tells_a_wrong_lan_without_one(lab: Lab) -> Result<()> {
    let doctor = async |environment: &[&str]| {
        pgw_with(&["doctor", "-o", "json", "--settings", "/run/lab/none"], environment, "").await
    };
    let found = |done: &Finished| -> Result<Vec<String>> {
        let told: Value = serde_json::from_str(&done.stdout).with_context(|| done.stderr.clone())?;
        let findings = told.get("findings").and_then(Value::as_array).context("no findings")?;
        let bad = findings.iter().filter(|finding| text(finding, "verdict") == "bad");
        Ok(bad.map(|finding| format!("{} {}", text(finding, "area"), text(finding, "what"))).collect())
    };
    let alone = doctor(&["PGW_LAN_IF=lan9"]).await?;
    let bad = found(&alone)?;
    let is_told = |words: &str| bad.iter().any(|line| line.contains(words));
    ensure!(alone.status.code() == Some(1), "{bad:?}");
    ensure!(is_told("PGW_LAN_IF=lan9 does not exist (there is"), "{bad:?}");
    ensure!(is_told("does not answer") && is_told("not in the kernel"), "{bad:?}");
    let _ready = lab.gateway().await?;
    let running = doctor(&[]).await?;
    let bad = found(&running)?;
    ensure!(bad.is_empty() && running.status.success(), "{bad:?}");
    Ok(())
}

async fn a_tunnel_is_made_verified_and_removed_while_its_client_is_away(lab: Lab) -> Result<()> {
    let _ready = lab.gateway().await?;
    let daemon = path("pgw-tunneld")?;
    let mut daemon = command::program(GATEWAY, &[daemon.to_str().context("a path that is no text")?]);
    let _daemon = daemon.envs(gateway::settings()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
    let token = well("tunnel-client add nas --allow 12000 --allow 12010-12020").await?;
    ensure!(token.trim().len() == 64, "not a token alone: {token}");
    let command = eventually("the tunnel daemon is there", async || {
        let done = pgw("tunnel-client enrol nas").await?;
        ensure!(done.status.success() || done.status.code() == Some(6), "{}", done.stderr);
        Ok(done.status.success().then_some(done.stdout))
    })
    .await?;
    ensure!(command.contains("pgw-connect") && command.trim().lines().count() == 1, "{command}");
    let made = data("tunnel add web nas tcp --to 80 --port 12000").await?;
    let code = made.pointer("/verification/code").and_then(Value::as_str).context("no code")?;
    fails("tunnel add other nas tcp --to 81 --port 12000", 4, "port_in_use").await?;
    fails("tunnel add other nas tcp --to 81 --port 13000", 4, "port_not_allowed").await?;
    fails("tunnel verify web wrong", 2, "verification_wrong").await?;
    well(&format!("tunnel verify web {code}")).await?;
    let shown = data("tunnel show 12000").await?;
    ensure!(shown.get("verified") == Some(&Value::Bool(true)), "{shown}");
    well("tunnel edit web --max-connections 5").await?;
    well("tunnel edit web --max-connections none").await?;
    ensure!(well("tunnel list --client nas").await?.contains("12000"), "it is not in the list");
    fails("tunnel-client disconnect nas", 4, "tunnel_client_offline").await?;
    fails("tunnel-client rm nas", 4, "").await?;
    well("tunnel close web").await?;
    well("tunnel rm web").await?;
    well("tunnel-client rm nas").await?;
    Ok(())
}
