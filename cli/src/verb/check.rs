//! `pgw check`: proxies, now.

use clap::Args;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::noun::proxy::PROXY;
use crate::table::{Column, millis, state, text};

const LIST: &[Column] = &[
    text("PROXY", "/proxy"),
    state("HEALTH", "/status"),
    millis("LATENCY", "/latency_ms"),
    text("EXIT", "/exit_ip"),
    text("ERROR", "/error"),
];
const AT_ONCE: usize = 8;

#[derive(Args)]
pub(crate) struct Check {
    /// Without any, all that are switched on
    proxies: Vec<String>,
}

impl Check {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let proxies = if self.proxies.is_empty() {
            let all = gateway.all(PROXY.path, &[("sort", Some("name".to_owned()))], usize::MAX).await?;
            all.into_iter().filter(|proxy| proxy.get("enabled") != Some(&Value::Bool(false))).collect()
        } else {
            PROXY.find_all(gateway, &self.proxies).await?
        };
        let count = proxies.len();
        let mut checks = stream::iter(&proxies).map(|proxy| checked(gateway, proxy)).buffered(AT_ONCE);
        let mut found = Vec::new();
        desk.progress(&format!("0 of {count} checked"));
        while let Some(health) = checks.next().await {
            found.push(health);
            desk.progress(&format!("{} of {count} checked", found.len()));
        }
        desk.progress("");
        let found: Vec<Value> = found.into_iter().collect::<Result<_, _>>()?;
        let is_well = found.iter().all(|health| matches!(field(health, "status"), "OK" | "DEGRADED"));
        desk.list(found, LIST)?;
        if is_well { Ok(()) } else { Err(Error::Shown) }
    }
}

async fn checked(gateway: &Gateway, proxy: &Value) -> Result<Value, Error> {
    let mut health = gateway.call(Method::POST, &PROXY.at(proxy, "check")).value().await?;
    if let Some(fields) = health.as_object_mut() {
        fields.insert("proxy".to_owned(), json!(field(proxy, "name")));
        fields.insert("proxy_id".to_owned(), json!(field(proxy, "id")));
    }
    Ok(health)
}
