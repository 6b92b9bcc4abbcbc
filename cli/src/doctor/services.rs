//! The programs and the upstreams, by what they say themselves.

use reqwest::Method;
use serde_json::Value;

use super::{Finding, Findings, items};
use crate::args::Global;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::installed::Installed;
use crate::place::Place;

/// More are not helpful here; `pgw proxy list` has them all.
const MOST_TOLD: usize = 10;

pub(super) async fn look(global: &Global, installed: &Installed<'_>) -> Vec<Finding> {
    let mut findings = Findings::of("services");
    match ask(global, installed, &mut findings).await {
        Ok(()) => {}
        Err(Error::Unreachable(why)) => {
            findings.bad(why, "systemctl status pgw-api; journalctl -u pgw-api -n 50");
        }
        Err(Error::NotAllowed(why)) => findings.unknown(why, "run it as root, or give a token: pgw login"),
        Err(error) => {
            findings.unknown(error.to_string(), "give a token that may read: pgw login, or run it as root")
        }
    }
    findings.found
}

async fn ask(global: &Global, installed: &Installed<'_>, findings: &mut Findings) -> Result<(), Error> {
    let gateway = Gateway::new(Place::find(global, installed)?)?;
    let (_status, body) = gateway.call(Method::GET, "/readyz").outcome().await?;
    let ready: Value = serde_json::from_slice(&body).unwrap_or_default();
    if ready.get("ready").is_none() {
        findings.bad(
            format!("{} answers, and is not pgw-api", gateway.url()),
            "another program has its port (see ports), or --url is wrong",
        );
        return Ok(());
    }
    for check in items(&ready, "checks") {
        let told = format!("{}: {}", field(check, "name"), field(check, "detail"));
        if check.get("ok") == Some(&Value::Bool(true)) {
            findings.ok(told);
        } else {
            findings.bad(told, fix(field(check, "name")));
        }
    }
    agent(&gateway, findings).await;
    upstreams(&gateway, findings).await
}

fn fix(part: &str) -> &'static str {
    match part {
        "agent" | "rules" => "systemctl status pgw-agent; journalctl -u pgw-agent -n 50",
        "tunnels" => "systemctl status pgw-tunneld; journalctl -u pgw-tunneld -n 50",
        "database" => "is the disk full, or the database server away? journalctl -u pgw-api -n 50",
        _ => "journalctl -u pgw-api -n 50",
    }
}

/// The API has told whether it answers; this is what it warns of.
async fn agent(gateway: &Gateway, findings: &mut Findings) {
    let Ok(status) = gateway.call_agent(Method::GET, "/agent/status").value().await else { return };
    for warning in items(&status, "warnings") {
        findings.warn(
            format!("the agent warns: {}", warning.as_str().unwrap_or_default()),
            "journalctl -u pgw-agent -n 50",
        );
    }
    if status.pointer("/drift/fighting") == Some(&Value::Bool(true)) {
        let who = status.pointer("/drift/last_by").and_then(Value::as_str).unwrap_or("another program");
        findings.bad(
            format!("{who} changes pgw's tables again and again"),
            "stop it, or have it leave them alone",
        );
    }
}

async fn upstreams(gateway: &Gateway, findings: &mut Findings) -> Result<(), Error> {
    let worst = [("sort", Some("health".to_owned()))];
    let proxies = gateway.all("/v1/proxies", &worst, usize::MAX).await?;
    let on: Vec<&Value> =
        proxies.iter().filter(|proxy| proxy.get("enabled") != Some(&Value::Bool(false))).collect();
    let down = |proxy: &&&Value| proxy.pointer("/health/status").and_then(Value::as_str) == Some("DOWN");
    for proxy in on.iter().filter(down).take(MOST_TOLD) {
        let name = field(proxy, "name");
        let why = proxy.pointer("/health/error").and_then(Value::as_str).unwrap_or("no reason is known");
        findings.bad(
            format!("proxy {name} is down: {why}"),
            format!("pgw check {name}; then ask whoever runs it"),
        );
    }
    let bad = on.iter().filter(down).count();
    if on.is_empty() {
        findings.warn("there is no upstream proxy", "pgw proxy add de1 socks5://proxy.example:1080");
    } else {
        findings.ok(format!("{} of {} upstream proxies are not down", on.len() - bad, on.len()));
    }
    Ok(())
}
