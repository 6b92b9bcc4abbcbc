//! The counter that must stay at zero. It stands on the WAN's switch, where every frame that
//! leaves the gateway passes, wherever it goes and whatever it carries.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use crate::command;
use crate::net::{DEVICES, Device, ELSEWHERE, GATEWAY_WAN, ORIGIN};

/// Packets so far, by what they carried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaks(pub BTreeMap<String, u64>);

impl Leaks {
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What came since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let news = self.0.iter().map(|(kind, count)| {
            let then = before.0.get(kind).copied().unwrap_or(0);
            (kind.clone(), count.saturating_sub(then))
        });
        Self(news.filter(|(_, count)| *count > 0).collect())
    }
}

pub async fn install() -> Result<()> {
    let mut counters = String::new();
    let mut rules = String::new();
    for Device { name, ip, ip6, direct } in DEVICES {
        // What still arrives for a flow that was ended is refused by the gateway's own stack,
        // from the address that it arrived at. A packet of a device would have lost a hop.
        let own = format!("ip saddr {direct} ip ttl 64");
        writeln!(rules, "  {own} tcp flags & rst == rst return")?;
        writeln!(rules, "  {own} icmp type destination-unreachable return")?;
        for kind in ["tcp", "udp", "icmp", "other"] {
            writeln!(counters, " counter {name}-{kind} {{ }}")?;
            // A packet that left without source NAT would be a leak as well.
            let which = match kind {
                "other" => "ip protocol != { tcp, udp, icmp }".to_owned(),
                proto => format!("ip protocol {proto}"),
            };
            writeln!(rules, "  ip saddr {{ {ip}, {direct} }} {which} counter name \"{name}-{kind}\"")?;
        }
        writeln!(counters, " counter {name}-v6 {{ }}")?;
        writeln!(rules, "  ip6 saddr {ip6} counter name \"{name}-v6\"")?;
    }
    // The gateway itself speaks to upstreams only: what a forwarder or a check would dial
    // directly shows here.
    writeln!(counters, " counter gw-direct {{ }}")?;
    writeln!(
        rules,
        "  ip saddr {GATEWAY_WAN} ip daddr {{ {ORIGIN}, {ELSEWHERE} }} ip protocol {{ tcp, udp }} counter name \"gw-direct\""
    )?;
    let text = format!(
        "table bridge lab {{\n{counters} chain passing {{\n  type filter hook prerouting priority -300;\n  iifname != \"gw\" return\n{rules} }}\n}}\n"
    );
    command::ok_with("wan", &["nft", "-f", "-"], &text).await?;
    Ok(())
}

/// What left the gateway under the name of `who`: a device, or `gw`.
pub async fn count(who: &str) -> Result<Leaks> {
    let text = command::ok("wan", &["nft", "-j", "list", "counters", "table", "bridge", "lab"]).await?;
    let listing: Value = serde_json::from_str(&text)?;
    let counters = listing.get("nftables").and_then(Value::as_array).into_iter().flatten();
    let of_who = counters.filter_map(|entry| {
        let counter = entry.get("counter")?;
        let kind = counter.get("name")?.as_str()?.strip_prefix(who)?.strip_prefix('-')?;
        Some((kind.to_owned(), counter.get("packets")?.as_u64()?))
    });
    let leaks = Leaks(of_who.collect());
    anyhow::ensure!(!leaks.0.is_empty(), "nobody counts {who}");
    Ok(leaks)
}
