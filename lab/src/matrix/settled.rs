//! What must be true once everything runs again: the states, the kernel, the forwarders, what
//! devices meet and what `/v1/explain` says of it, all as the database has it (G3, G4).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::script::{DEVICES, ROUTES};
use super::stage::Stage;
use crate::command;
use crate::gateway::forwarders;
use crate::lab::eventually;
use crate::net::{Device, GATEWAY};
use crate::rest::text;
use crate::upstream::Kind;

/// Nobody's: the leak drill's, and always closed.
const DRILL: &str = "192.0.2.240";

/// What the database asks for, all upstreams being healthy.
struct Wanted {
    /// By the mapping's id.
    states: BTreeMap<String, &'static str>,
    /// By the device's address: the upstreams that it may use.
    ways: BTreeMap<Ipv4Addr, Vec<Kind>>,
    ports: BTreeMap<Ipv4Addr, u16>,
}

impl Stage {
    pub(super) async fn settled(&self) -> Result<()> {
        self.operator.rest().wait_ready().await?;
        let wanted = self.wanted().await?;
        self.states_are(&wanted).await?;
        eventually("the kernel redirects whom the database opens, and nobody else", async || {
            Ok((redirects().await? == wanted.ports).then_some(()))
        })
        .await?;
        let clients = self.operator.clients().await?;
        let registered: BTreeSet<&str> = clients.iter().map(|client| text(client, "ip_cidr")).collect();
        eventually("the kernel closes whom the database registers, and nobody else", async || {
            Ok(closed().await?.iter().map(String::as_str).eq(registered.iter().copied()).then_some(()))
        })
        .await?;
        eventually("every open device has one forwarder, and nobody else has any", async || {
            let running: BTreeMap<u16, usize> =
                forwarders()?.into_iter().map(|(port, pids)| (port, pids.len())).collect();
            Ok((running == wanted.ports.values().map(|port| (*port, 1)).collect()).then_some(()))
        })
        .await?;
        for device in DEVICES {
            self.meets(device, wanted.ways.get(&device.ip).map_or(&[], Vec::as_slice)).await?;
        }
        self.operator.keeps_its_word().await
    }

    async fn wanted(&self) -> Result<Wanted> {
        let proxies = self.operator.proxies().await?;
        let is_on = |thing: &Value| thing.get("enabled").and_then(Value::as_bool).unwrap_or(false);
        let on: BTreeSet<&str> =
            proxies.iter().filter(|proxy| is_on(proxy)).map(|proxy| text(proxy, "id")).collect();
        let mut wanted = Wanted { states: BTreeMap::new(), ways: BTreeMap::new(), ports: BTreeMap::new() };
        for mapping in self.operator.mappings().await? {
            let open = is_on(&mapping) && on.contains(text(&mapping, "proxy_id"));
            wanted.states.insert(text(&mapping, "id").to_owned(), if open { "APPLIED" } else { "FAILED" });
            let route = ROUTES.iter().find(|route| self.operator.is_of(&mapping, **route));
            let route = route.with_context(|| format!("nobody asked for {mapping}"))?;
            if open {
                let port = mapping.get("port").and_then(Value::as_u64).context("a mapping without a port")?;
                wanted.ports.insert(route.device.ip, u16::try_from(port)?);
                wanted.ways.entry(route.device.ip).or_default().push(route.kind);
            }
        }
        Ok(wanted)
    }

    async fn states_are(&self, wanted: &Wanted) -> Result<()> {
        let mut last = Vec::new();
        let reached = eventually("every mapping is in the state that the database asks for", async || {
            last = self.operator.mappings().await?;
            let wrong =
                |mapping: &&Value| wanted.states.get(text(mapping, "id")) != Some(&text(mapping, "state"));
            Ok((last.len() == wanted.states.len() && !last.iter().any(|mapping| wrong(&mapping)))
                .then_some(()))
        })
        .await;
        reached.with_context(|| format!("wanted {:?}; the mappings were last {last:?}", wanted.states))
    }

    /// An open device is seen as one of its upstreams, which need not be the first: one that
    /// failed in use is passed over for a while.
    async fn meets(&self, device: Device, ways: &[Kind]) -> Result<()> {
        let url = "http://origin/";
        if ways.is_empty() {
            let seen = self.lab.seen_as(device, url).await;
            ensure!(seen.is_err(), "{} is closed, and the origin sees {seen:?}", device.name);
        } else {
            let what = format!("the origin sees {} as one of {ways:?}", device.name);
            eventually(&what, async || match self.lab.seen_as(device, url).await {
                Ok(seen) if ways.iter().any(|kind| kind.ip().to_string() == seen) => Ok(Some(())),
                Ok(seen) => bail!("{} was seen as {seen}", device.name),
                Err(_not_yet) => Ok(None),
            })
            .await?;
        }
        let (mut told, verdict) = (Value::Null, if ways.is_empty() { "closed" } else { "leaves_by" });
        let explained = eventually("the explanation is what the device meets", async || {
            told = self.operator.rest().get(&format!("/v1/explain?client={}", device.name)).await?;
            Ok((text(&told, "verdict") == verdict).then_some(()))
        })
        .await;
        explained.with_context(|| format!("{} is {verdict}, and explained as {told}", device.name))
    }
}

/// Read from the kernel, by nobody's word.
async fn elements(what: &str, table: [&str; 2], name: &str) -> Result<Vec<Value>> {
    let listed = command::ok(GATEWAY, &["nft", "-j", "list", what, table[0], table[1], name]).await?;
    let listed: Value = serde_json::from_str(&listed)?;
    let objects = listed.get("nftables").and_then(Value::as_array).into_iter().flatten();
    Ok(objects.filter_map(|object| object.get(what)?.get("elem")?.as_array()).flatten().cloned().collect())
}

/// As the API writes addresses.
async fn closed() -> Result<BTreeSet<String>> {
    let elements = elements("set", ["inet", "pgw_filter"], "clients").await?;
    let devices = elements.iter().filter_map(Value::as_str).filter(|ip| *ip != DRILL);
    Ok(devices.map(|ip| format!("{ip}/32")).collect())
}

async fn redirects() -> Result<BTreeMap<Ipv4Addr, u16>> {
    let read = |pair: &Value| {
        let [ip, port] = pair.as_array()?.as_slice() else { return None };
        Some((ip.as_str()?.parse().ok()?, u16::try_from(port.as_u64()?).ok()?))
    };
    let elements = elements("map", ["ip", "pgw"], "client_port").await?;
    elements.iter().map(|pair| read(pair).with_context(|| format!("what is {pair}?"))).collect()
}
