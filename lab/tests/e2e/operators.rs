//! What concerns the person in charge: how long it takes, what is kept secret, and what a
//! mistake in the settings looks like (G12, G14).

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use pgw_lab::gateway::{self, Program, command_lines};
use pgw_lab::lab::{Ready, admin_token};
use pgw_lab::net::{C1, C2};
use pgw_lab::rest;
use pgw_lab::upstream::{Kind, PASSWORD, PLAIN_PASSWORD};
use pgw_lab::{Lab, command};
use reqwest::Method;

use crate::harness::MEASURED;

crate::tests![
    a_mapping_is_applied_shortly_after_it_was_asked_for,
    secrets_are_in_no_log_no_answer_and_no_process_list,
    a_setting_that_cannot_be_used_is_named_in_one_line,
    a_second_api_on_another_port_ends_with_one_line_and_touches_nothing,
];

async fn a_mapping_is_applied_shortly_after_it_was_asked_for(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    for kind in [Kind::Squid, Kind::Microsocks] {
        lab.upstream(kind).await?;
    }
    let rest = &ready.rest;
    let mut took: Vec<[Duration; 4]> = Vec::new();
    for round in 0..7 {
        let kind = if round % 2 == 0 { Kind::Squid } else { Kind::Microsocks };
        let start = Instant::now();
        let proxy = rest.add_proxy(kind).await?;
        let client = rest.add_client(C1).await?;
        let registered = start.elapsed();
        let mapping = rest.add_mapping(&client, &proxy, 1).await?;
        let answered = start.elapsed();
        rest.wait_state(&mapping, "APPLIED").await?;
        let applied = start.elapsed();
        let seen = lab.seen_as(C1, "http://origin/").await?;
        ensure!(seen == kind.ip().to_string(), "APPLIED, and seen as {seen}");
        let used = start.elapsed();
        took.push([registered, answered - registered, applied - answered, used - applied]);
        rest.delete(&format!("/v1/clients/{client}?cascade=true")).await?;
        rest.delete(&format!("/v1/proxies/{proxy}")).await?;
    }
    let names =
        ["proxy and client created", "POST mapping answered", "until APPLIED", "first request answered"];
    for (step, name) in names.iter().enumerate() {
        let mut times: Vec<Duration> = took.iter().filter_map(|one| one.get(step).copied()).collect();
        times.sort();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        eprintln!(
            "{MEASURED} {name:<26} median {median:>10.1?}   longest {:>10.1?}",
            times.last().copied().unwrap_or_default()
        );
    }
    Ok(())
}

async fn secrets_are_in_no_log_no_answer_and_no_process_list(mut lab: Lab) -> Result<()> {
    let ready = lab.gateway().await?;
    lab.mapped(&ready, C1, &[Kind::Squid, Kind::Tls]).await?;
    lab.mapped(&ready, C2, &[Kind::Microsocks]).await?;
    lab.seen_as(C1, "http://origin/").await?;
    lab.seen_as(C2, "https://origin/").await?;
    // What fails is told more about than what works.
    lab.kill_upstream(Kind::Squid).await?;
    lab.upstream_with(Kind::Squid, "another").await?;
    let Ready { rest, mut gateway } = ready;
    rest.post("/v1/tokens", serde_json::json!({ "name": "second", "role": "viewer" })).await?;
    gateway.kill(Program::Agent).await?;
    gateway.start(Program::Agent).await?;
    rest.wait_ready().await?;

    let internal = std::fs::read_to_string(format!("{}/internal.token", gateway::STATE))?;
    let encoded = ["bGFiOnA6YUBzcy93JXJk", "p%3Aa%40ss"];
    let admin = admin_token().await?;
    let secrets = [&[PASSWORD, PLAIN_PASSWORD, admin.as_str(), internal.trim()][..], &encoded].concat();
    let holds =
        |text: &str| secrets.iter().find(|secret| text.contains(**secret)).map(|secret| (*secret).to_owned());

    for entry in std::fs::read_dir(gateway::LOGS)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgw-")) {
            let log = std::fs::read_to_string(&path)?;
            ensure!(holds(&log).is_none(), "{} is in {}", holds(&log).unwrap_or_default(), path.display());
        }
    }
    // Microsocks takes its password from its command line; that is its own affair.
    for (pid, line) in command_lines()?.into_iter().filter(|(_, line)| !line.contains("microsocks")) {
        ensure!(holds(&line).is_none(), "process {pid} shows {}: {line}", holds(&line).unwrap_or_default());
    }
    for path in ["proxies", "clients", "mappings", "mappings/active", "tokens", "me"] {
        for url in [format!("{}/v1/{path}", rest::API), format!("{}/api/v1/{path}", rest::UI)] {
            let answer = rest.send(Method::GET, &url, None).await?;
            ensure!(answer.status == 200 && holds(&answer.text).is_none(), "{url}: {answer:?}");
        }
    }
    for url in ["/agent/status", "/agent/ruleset"] {
        let answer = rest.send(Method::GET, &format!("{}{url}", rest::AGENT), None).await?;
        ensure!(answer.status == 200 && holds(&answer.text).is_none(), "{url}: {answer:?}");
    }
    files_for_others(Path::new(gateway::STATE))?;
    let database = std::fs::read(format!("{}/pgw.db", gateway::STATE))?;
    let wal = std::fs::read(format!("{}/pgw.db-wal", gateway::STATE)).unwrap_or_default();
    for (file, bytes) in [("pgw.db", database), ("pgw.db-wal", wal)] {
        let found = holds(&String::from_utf8_lossy(&bytes));
        ensure!(found.is_none(), "{} stands in {file}", found.unwrap_or_default());
    }
    Ok(())
}

/// Nothing that pgw keeps may be read by everybody.
fn files_for_others(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let mode = entry.metadata()?.permissions().mode();
        if entry.file_type()?.is_dir() {
            files_for_others(&entry.path())?;
        } else {
            ensure!(mode & 0o007 == 0, "{} has mode {:o}", entry.path().display(), mode & 0o777);
        }
    }
    Ok(())
}

async fn a_setting_that_cannot_be_used_is_named_in_one_line(_lab: Lab) -> Result<()> {
    let cases: [(&str, &[&str], &str); 8] = [
        ("pgw-api", &[], "PGW_API_LISTEN=nowhere"),
        ("pgw-api", &[], "PGW_UNITS=docker"),
        ("pgw-api", &[], "PGW_HEALTH_INTERVAL=30"),
        ("pgw-agent", &[], "PGW_LAN_IF=a\" drop"),
        ("pgw-agent", &[], "PGW_CLOSED_ACTION=accept"),
        ("pgw-fwd", &["--port", "15001"], "PGW_STATE_DIR=relative"),
        ("pgw-ui", &[], "PGW_UI_LISTEN=8081"),
        ("pgw-ui", &[], "PGW_API_URL=ftp://x"),
    ];
    let mut names = BTreeSet::new();
    for (program, arguments, setting) in cases {
        names.insert(program);
        let path = gateway::path(program)?;
        let path = path.to_str().context("a path that is no text")?;
        let done = command::finish("gw", &[&["env", setting, path], arguments].concat(), "").await?;
        ensure!(done.status.code() == Some(64), "{program} with {setting} ended with {}", done.status);
        let name = setting.split('=').next().unwrap_or_default();
        let lines: Vec<&str> = done.stderr.lines().collect();
        ensure!(
            lines.len() == 1 && done.stderr.contains(name),
            "{program} with {setting} said {:?}",
            done.stderr
        );
    }
    ensure!(names.len() == 4, "not every program was tried: {names:?}");
    Ok(())
}

async fn a_second_api_on_another_port_ends_with_one_line_and_touches_nothing(mut lab: Lab) -> Result<()> {
    let mut ready = lab.gateway().await?;
    let mapping = lab.mapped(&ready, C1, &[Kind::Squid]).await?.remove(0);
    let before = gateway::forwarders()?;
    let second = async || {
        let path = gateway::path("pgw-api")?;
        let path = path.to_str().context("a path that is no text")?;
        let state = format!("PGW_STATE_DIR={}", gateway::STATE);
        let run = format!("PGW_RUN_DIR={}", gateway::RUN);
        // A second one that came up would not end by itself.
        let words = ["timeout", "5", "env", &state, &run, "PGW_API_LISTEN=127.0.0.1:8090", path];
        command::finish("gw", &words, "").await
    };
    let done = second().await?;
    ensure!(done.status.code() == Some(1), "it ended with {}: {}", done.status, done.stderr);
    let lines: Vec<&str> = done.stderr.lines().collect();
    ensure!(lines.len() == 1 && done.stderr.contains("PGW_STATE_DIR="), "it said {:?}", done.stderr);
    ensure!(gateway::forwarders()? == before, "forwarders changed");
    let seen = lab.seen_as(C1, "http://origin/").await?;
    ensure!(seen == Kind::Squid.ip().to_string(), "{seen}");
    // However the first one ends, the next may start.
    ready.gateway.kill(Program::Api).await?;
    ready.gateway.start(Program::Api).await?;
    ready.rest.wait_state(&mapping, "APPLIED").await.map(drop)
}
