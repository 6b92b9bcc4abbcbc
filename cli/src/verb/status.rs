//! `pgw status`: is all well, and if not, what is not?

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field, refused};
use crate::noun::member;
use crate::table::{Column, state, text, time};
use crate::words::plain;

const CHECKS: &[Column] = &[text("PART", "/name"), state("WELL", "/ok"), text("DETAIL", "/detail")];
const DOWN: &[Column] = &[
    text("PROXY", "/name"),
    state("HEALTH", "/health/status"),
    time("CHECKED", "/health/checked_at"),
    text("ERROR", "/health/error"),
];
/// The worst are enough to begin with.
const MOST_SHOWN: usize = 10;

pub(crate) async fn run(gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
    let (status, body) = gateway.call(Method::GET, "/readyz").outcome().await?;
    let ready: Value = match serde_json::from_slice(&body) {
        Ok(ready @ Value::Object(_)) if matches!(status, 200 | 503) => ready,
        _ => return Err(refused(status, &body)),
    };
    let version = gateway.get("/version").await?;
    let gateways = gateway.whole("/v1/gateways").await?;
    let proxies = gateway.all("/v1/proxies", &[("sort", Some("health".to_owned()))], usize::MAX).await?;
    let applies = gateway.get("/v1/apply").await?;
    let is_ready = ready.get("ready") == Some(&Value::Bool(true));
    let health = counted(&proxies);
    if desk.is_script() {
        desk.value(&json!({
            "url": gateway.url(), "version": version.get("version"), "ready": is_ready,
            "checks": ready.get("checks"), "gateways": gateways, "proxies": health, "apply": applies.get("waiting"),
        }))?;
    } else {
        let word =
            desk.colour(if is_ready { "ready" } else { "not ready" }, if is_ready { "ok" } else { "bad" });
        desk.line(&format!("pgw {} at {}: {word}\n", plain(field(&version, "version")), gateway.url()))?;
        desk.list(checks(&ready), CHECKS)?;
        desk.line("")?;
        desk.list(gateways, member::LIST)?;
        desk.line(&format!("\nproxies: {}", sentence(&health)))?;
        down(desk, proxies)?;
        waiting(desk, &applies)?;
    }
    if is_ready { Ok(()) } else { Err(Error::Shown) }
}

fn checks(ready: &Value) -> Vec<Value> {
    let checks = ready.get("checks").and_then(Value::as_array).cloned().unwrap_or_default();
    let worded = checks.into_iter().map(|mut check| {
        let word = if check.get("ok") == Some(&Value::Bool(true)) { "yes" } else { "no" };
        if let Some(fields) = check.as_object_mut() {
            fields.insert("ok".to_owned(), word.into());
        }
        check
    });
    worded.collect()
}

fn counted(proxies: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for proxy in proxies {
        let is_on = proxy.get("enabled") != Some(&Value::Bool(false));
        let status = proxy.pointer("/health/status").and_then(Value::as_str).filter(|_| is_on);
        *counts.entry(status.unwrap_or("disabled").to_owned()).or_default() += 1;
    }
    counts
}

fn sentence(counts: &BTreeMap<String, usize>) -> String {
    let words: Vec<String> =
        counts.iter().map(|(status, count)| format!("{count} {}", plain(status))).collect();
    if words.is_empty() { "none yet; pgw proxy add".to_owned() } else { words.join(", ") }
}

fn down(desk: &mut Desk, proxies: Vec<Value>) -> Result<(), Error> {
    let is_bad = |proxy: &Value| {
        let status = proxy.pointer("/health/status").and_then(Value::as_str);
        proxy.get("enabled") != Some(&Value::Bool(false)) && matches!(status, Some("DOWN" | "DEGRADED"))
    };
    let bad: Vec<Value> = proxies.into_iter().filter(is_bad).take(MOST_SHOWN).collect();
    if bad.is_empty() { Ok(()) } else { desk.list(bad, DOWN) }
}

fn waiting(desk: &mut Desk, applies: &Value) -> Result<(), Error> {
    match applies.get("waiting").filter(|waiting| !waiting.is_null()) {
        Some(waiting) => {
            let until = plain(field(waiting, "confirm_by"));
            desk.line(&format!("\na document is undone at {until} unless it is confirmed: pgw confirm"))
        }
        None => Ok(()),
    }
}
