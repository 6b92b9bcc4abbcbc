//! Who else has rules: what is accepted by pgw's tables can still be dropped by theirs.

use std::collections::BTreeSet;

use super::machine::Machine;
use super::settings::Settings;
use super::{Finding, Findings, exists};

/// The ways on which somebody's chain may stand.
const INPUT: &str = "input";
const FORWARD: &str = "forward";
const OURS: [&str; 2] = ["ip pgw", "inet pgw_filter"];

/// A chain that drops what no rule of it lets through.
struct Strict {
    /// With its family.
    table: String,
    chain: String,
    hook: &'static str,
}

pub(super) fn look(settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("firewalls");
    let range = settings.ports.as_ref().map(|ports| format!("{}:{}", ports.base(), ports.max()));
    let (lan, range) = (&settings.lan_if, range.unwrap_or_default());
    // Whoever is told of by name is not told of again by its chains.
    let mut told = BTreeSet::new();
    if is_on(&machine.read("/etc/ufw/ufw.conf").unwrap_or_default()) {
        told.extend([INPUT, FORWARD]);
        findings.warn(
            "ufw is on: it drops what devices send to their forwarders, unless it is told otherwise",
            format!(
                "ufw allow in on {lan} to any port {range} proto tcp; the same with proto udp; \
                 for devices that nobody registered: ufw route allow in on {lan}"
            ),
        );
    }
    if exists(&machine.root, "/run/firewalld") {
        told.extend([INPUT, FORWARD]);
        findings.warn(
            "firewalld is running: it rejects what devices send to their forwarders, unless it is told otherwise",
            format!(
                "firewall-cmd --permanent --zone=trusted --change-interface={lan} && firewall-cmd --reload"
            ),
        );
    }
    if exists(&machine.root, "/run/docker.sock") || machine.interfaces.contains_key("docker0") {
        told.insert(FORWARD);
        findings.warn(
            "Docker is here: it drops what is forwarded, so devices that nobody registered reach nothing. \
             Mapped devices are not concerned",
            format!("iptables -I DOCKER-USER -i {lan} -j ACCEPT, and the same with -o {lan}"),
        );
    }
    let flushes = machine.read("/etc/nftables.conf").unwrap_or_default();
    let flushes = flushes.lines().any(|line| line.trim().starts_with("flush ruleset"));
    let enabled = exists(&machine.root, "/etc/systemd/system/sysinit.target.wants/nftables.service");
    if flushes && enabled {
        findings.warn(
            "nftables.service takes all tables away when it is restarted; pgw-agent puts its own back within a moment",
            "in /etc/nftables.conf, write `table inet filter` / `delete table inet filter` in place of `flush ruleset`",
        );
    }
    match (machine.run)(&["nft", "list", "chains"]) {
        Ok(chains) => {
            for strict in strict(&chains).filter(|strict| !told.contains(strict.hook)) {
                chain(&mut findings, machine, &strict, lan, &range.replace(':', "-"));
            }
        }
        Err(why) => findings.unknown(format!("what else drops is not told: {why}"), "run it as root"),
    }
    if findings.found.is_empty() {
        findings.ok("nobody else drops what comes from the LAN");
    }
    findings.found
}

/// Only what it looks like: a rule that lets something in from the LAN may be for something else.
fn chain(findings: &mut Findings, machine: &Machine, strict: &Strict, lan: &str, range: &str) {
    let Strict { table, chain, hook } = strict;
    let words: Vec<&str> =
        ["nft", "list", "chain"].into_iter().chain(table.split(' ')).chain([chain.as_str()]).collect();
    let rules = (machine.run)(&words).unwrap_or_default();
    let from_lan = |line: &str| line.contains(&format!("\"{lan}\"")) && !line.contains("dport");
    let lets = |line: &str| line.contains("accept") && (from_lan(line) || line.contains(range));
    if rules.lines().any(lets) {
        return findings.ok(format!("{table} {chain} lets the LAN in"));
    }
    let rule = format!("nft insert rule {table} {chain} iifname {lan}");
    if *hook == INPUT {
        findings.warn(
            format!(
                "{table} {chain} drops what comes in, and no rule of it seems to let devices to their forwarders"
            ),
            format!("{rule} meta l4proto '{{ tcp, udp }}' th dport {range} accept, and the same in its file"),
        );
    } else {
        findings.warn(
            format!(
                "{table} {chain} drops what is forwarded, and no rule of it seems to let the LAN out: devices that \
                 nobody registered reach nothing. Mapped devices are not concerned"
            ),
            format!("{rule} accept, the same with oifname for the answers, and both in its file"),
        );
    }
}

/// Of `nft list chains`: a line for each table, one for each chain in it, and one for where it stands.
fn strict(told: &str) -> impl Iterator<Item = Strict> {
    let (mut table, mut chain) = ("", "");
    told.lines().filter_map(move |line| {
        let line = line.trim().trim_end_matches('{').trim();
        if let Some(name) = line.strip_prefix("table ") {
            table = name;
        } else if let Some(name) = line.strip_prefix("chain ") {
            chain = name;
        }
        let hook = [INPUT, FORWARD].into_iter().find(|hook| line.contains(&format!(" hook {hook} ")))?;
        let is_strict = line.contains("policy drop") && !OURS.contains(&table);
        is_strict.then(|| Strict { table: table.to_owned(), chain: chain.to_owned(), hook })
    })
}

fn is_on(config: &str) -> bool {
    config.lines().any(|line| {
        let line = line.trim().to_ascii_lowercase();
        line.strip_prefix("enabled=").is_some_and(|value| value.trim_matches('"') == "yes")
    })
}
