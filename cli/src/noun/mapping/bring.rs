//! `pgw map 192.168.2.3 de1 nl2`: this device gets out by these, in this order. Every step may be
//! made again: who is registered or mapped already stays, so that a call which was cut short is
//! simply repeated. Until the last step the device is closed, or open as it was.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::Args;
use pgw_core::settings::parse_duration;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::{CLIENT, PATH, PROXY, WAYS, id, of_client};
use crate::desk::Desk;
use crate::error::Error;
use crate::gateway::{Gateway, field};
use crate::words::plain;

const GLANCE: Duration = Duration::from_millis(250);
/// Where the first of a list stands; the others follow one by one, with room between.
const FIRST: u16 = 100;
const STEP: u16 = 10;

#[derive(Args)]
pub(crate) struct Bring {
    /// A device: its address, name or id. An address that nobody has is registered
    #[arg(required = true)]
    client: Option<String>,
    /// By which it gets out: the first that works
    #[arg(required = true)]
    proxies: Vec<String>,
    /// What a device is to be called that is registered by this
    #[arg(long)]
    name: Option<String>,
    /// These and no others: what else it is mapped to goes
    #[arg(long)]
    only: bool,
    /// What the upstreams are asked for: original or hostname
    #[arg(long, value_parser = ["original", "hostname"])]
    target: Option<String>,
    /// Waits so long for the device to be open; 0s does not wait
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = patience)]
    wait: Duration,
}

pub(crate) fn patience(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    parse_duration(text).ok_or_else(|| "a time such as 500ms, 30s or 5m".to_owned())
}

/// Whom a word means.
pub(super) enum Device {
    Known(Value),
    /// An address that nobody has.
    New(Ipv4Addr),
}

impl Bring {
    /// As if no more were said than who and by which, and nobody waited.
    pub(super) fn of(client: &str, proxies: &[String]) -> Self {
        let (client, proxies) = (Some(client.to_owned()), proxies.to_vec());
        Self { client, proxies, name: None, only: false, target: None, wait: Duration::ZERO }
    }

    pub(super) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        // Found first: a proxy that is mistyped registers nobody.
        let proxies = self.proxies(gateway).await?;
        let client = match self.client(gateway).await? {
            Device::Known(client) => client,
            Device::New(address) => {
                let made = self.register(gateway, address).await?;
                if !desk.is_script() {
                    desk.note(&format!("{} is registered", CLIENT.called(&made)));
                }
                made
            }
        };
        let before = of_client(gateway, &client).await?;
        let wanted: Vec<String> = proxies.iter().map(id).collect();
        let meant = self.ways(gateway, &client, &before, &proxies).await?;
        let mut ways = self.settled(gateway, desk, &client, &meant).await?;
        // The others go last: until then the device has more ways out of its own.
        let is_other = |way: &&Value| !wanted.iter().any(|id| id == field(way, "proxy_id"));
        for other in before.iter().filter(|_| self.only).filter(is_other) {
            gateway.remove(PATH, other, false).await?;
            ways.retain(|way| id(way) != id(other));
        }
        tell(desk, &client, &ways, &meant, !self.wait.is_zero())
    }

    pub(super) async fn proxies(&self, gateway: &Gateway) -> Result<Vec<Value>, Error> {
        PROXY.find_all(gateway, &self.proxies).await
    }

    pub(super) async fn client(&self, gateway: &Gateway) -> Result<Device, Error> {
        let word = self.client.as_deref().unwrap_or_default();
        let missing = match CLIENT.find(gateway, word).await {
            Err(error) if error.is_not_found() => error,
            found => return found.map(Device::Known),
        };
        let address = word.strip_suffix("/32").unwrap_or(word);
        address.parse().map(Device::New).map_err(|_no_address| missing)
    }

    pub(super) async fn register(&self, gateway: &Gateway, address: Ipv4Addr) -> Result<Value, Error> {
        let name = self.name.clone().unwrap_or_else(|| address.to_string());
        gateway.post(CLIENT.path, &json!({"name": name, "ip_cidr": address})).await
    }

    /// Makes what is missing. Gives the ids of the mappings to these proxies.
    pub(super) async fn ways(
        &self,
        gateway: &Gateway,
        client: &Value,
        before: &[Value],
        proxies: &[Value],
    ) -> Result<Vec<String>, Error> {
        let mut meant = Vec::new();
        let mut priority = if self.only { FIRST } else { behind(before) };
        for proxy in proxies {
            let there = before.iter().find(|way| field(way, "proxy_id") == field(proxy, "id"));
            meant.push(id(&self.way(gateway, client, proxy, there, priority).await?));
            if self.only || there.is_none() {
                priority = priority.saturating_add(STEP);
            }
        }
        Ok(meant)
    }

    /// As it is to be: made, or changed if it is there and otherwise.
    async fn way(
        &self,
        gateway: &Gateway,
        client: &Value,
        proxy: &Value,
        there: Option<&Value>,
        priority: u16,
    ) -> Result<Value, Error> {
        let Some(there) = there else {
            let mut new = json!({"client_id": id(client), "proxy_id": id(proxy), "priority": priority});
            if let (Some(target), Some(fields)) = (&self.target, new.as_object_mut()) {
                fields.insert("target".to_owned(), json!(target));
            }
            return gateway.post(PATH, &new).await;
        };
        let mut changes = super::Fields::default();
        let is = |name: &str, value: Value| there.get(name) == Some(&value);
        changes
            .set("enabled", (!is("enabled", json!(true))).then_some(true))
            .set("priority", (self.only && !is("priority", json!(priority))).then_some(priority))
            .set("target", self.target.clone().filter(|target| !is("target", json!(target))));
        match changes.into_changes() {
            Ok(changes) => gateway.change(PATH, there, &changes).await,
            Err(_nothing_to_change) => Ok(there.clone()),
        }
    }

    /// When each of them has a state that stays, or the time is over.
    async fn settled(
        &self,
        gateway: &Gateway,
        desk: &mut Desk,
        client: &Value,
        meant: &[String],
    ) -> Result<Vec<Value>, Error> {
        let until = Instant::now() + self.wait;
        loop {
            let ways = of_client(gateway, client).await?;
            let pending: Vec<&Value> = ways
                .iter()
                .filter(|way| meant.contains(&id(way)) && field(way, "state") == "PENDING")
                .collect();
            let Some(first) = pending.first().filter(|_| Instant::now() < until) else {
                desk.progress("");
                return Ok(ways);
            };
            desk.progress(&format!("{}: {}", plain(field(first, "proxy")), plain(field(first, "reason"))));
            sleep_until(until.min(Instant::now() + GLANCE)).await;
        }
    }
}

/// Behind what is there.
fn behind(ways: &[Value]) -> u16 {
    let last = ways.iter().filter_map(|way| way.get("priority")?.as_u64()).max();
    let last = last.and_then(|last| u16::try_from(last).ok());
    last.map_or(FIRST, |last| last.saturating_add(STEP))
}

/// Open is what it was to be; it is well if the device has one way out of those that were named.
fn tell(
    desk: &mut Desk,
    client: &Value,
    ways: &[Value],
    meant: &[String],
    waited: bool,
) -> Result<(), Error> {
    if desk.is_script() {
        desk.value(&json!({"client": client, "mappings": ways}))?;
    } else {
        desk.list(ways.to_vec(), WAYS)?;
    }
    let is_open = ways.iter().any(|way| meant.contains(&id(way)) && field(way, "state") == "APPLIED");
    if is_open || !waited {
        return Ok(());
    }
    desk.note(&format!(
        "{} is closed; see: pgw explain {}",
        CLIENT.called(client),
        plain(field(client, "name"))
    ));
    Err(Error::Shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_way_goes_behind_those_that_are_there() {
        assert_eq!(behind(&[]), 100);
        assert_eq!(behind(&[json!({"priority": 5}), json!({"priority": 300}), json!({"priority": 7})]), 310);
        assert_eq!(behind(&[json!({"priority": 65535})]), 65535);
    }

    #[test]
    fn a_time_to_wait_may_be_none_at_all() {
        assert_eq!(patience("0s"), Ok(Duration::ZERO));
        assert_eq!(patience("2m"), Ok(Duration::from_secs(120)));
        assert!(patience("soon").is_err());
    }
}
