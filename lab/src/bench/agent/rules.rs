//! What is loaded: the active set, from which pgw-agent itself writes its rules, and the same in
//! the other style, a rule for each client.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::samples::Style;
use crate::bench::ground::DEVICE;
use crate::gateway::{self, FIRST_PORT};
use crate::{command, net::GATEWAY};

const LAST_PORT: u16 = 15_999;
/// The one that comes and goes has the last port.
const PORTS: usize = (LAST_PORT - FIRST_PORT) as usize;
pub(super) const SETTINGS: [&str; 2] = ["PGW_LAN_IF=lan", "PGW_WAN_IF=wan"];

/// A registered client; closed if it has no port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    ip: Ipv4Addr,
    port: Option<u16>,
}

/// How a script finds the rules that it is to remove.
pub(super) const LISTING: [&str; 5] = ["-a", "list", "table", "ip", "peer"];

/// Comes and goes.
pub(super) const GUEST: Client = Client { ip: Ipv4Addr::new(10, 200, 0, 1), port: Some(LAST_PORT) };

/// So many, open as long as there are ports; the device that is measured stands in the middle of
/// the open ones.
pub(super) fn clients(count: usize) -> Vec<Client> {
    let open = count.min(PORTS);
    let ports = (FIRST_PORT..LAST_PORT).map(Some).chain(std::iter::repeat(None));
    let mut clients: Vec<Client> = (0x0a80_0000_u32..)
        .map(Ipv4Addr::from)
        .zip(ports)
        .map(|(ip, port)| Client { ip, port })
        .take(count)
        .collect();
    if let Some(middle) = clients.get_mut(open / 2) {
        middle.ip = DEVICE;
    }
    clients
}

/// The port at which the measured device is awaited.
pub(super) fn port_of_device(clients: &[Client]) -> Option<u16> {
    clients.iter().find(|client| client.ip == DEVICE)?.port
}

/// As the API says it.
pub(super) fn active_set(generation: u64, clients: &[Client]) -> Value {
    let id = |ip: Ipv4Addr| format!("01935000-0000-7000-8000-{:012}", ip.to_bits());
    let (mut items, mut closed) = (Vec::new(), Vec::new());
    for Client { ip, port } in clients {
        let (id, ip_cidr) = (id(*ip), format!("{ip}/32"));
        match port {
            None => closed.push(json!({ "client_id": id, "ip_cidr": ip_cidr })),
            Some(port) => items.push(json!({
                "id": id, "client_id": id, "proxy_id": id, "ip_cidr": ip_cidr, "port": port, "priority": 100,
            })),
        }
    }
    let count = clients.len();
    json!({ "version": 1, "generation": generation, "count": count, "items": items, "closed": closed })
}

/// Everything, as one batch.
pub(super) async fn full(style: Style, clients: &[Client]) -> Result<String> {
    match style {
        Style::Rules => Ok(rule_per_client(clients)),
        Style::Sets => {
            let agent = gateway::path("pgw-agent")?;
            let agent = agent.to_str().context("a path that is no text")?;
            let words = [&["/usr/bin/env"], &SETTINGS[..], &[agent, "render"]].concat();
            command::ok_with(GATEWAY, &words, &active_set(1, clients).to_string()).await
        }
    }
}

pub(super) fn gone(style: Style) -> &'static str {
    match style {
        Style::Sets => "delete table ip pgw\ndelete table inet pgw_filter\n",
        Style::Rules => "delete table ip peer\n",
    }
}

pub(super) fn guest_comes(style: Style) -> String {
    match style {
        Style::Sets => guest_elements("add"),
        Style::Rules => sentences(GUEST).fold(String::new(), |batch, (chain, rule)| {
            batch + &format!("add rule ip peer {chain} {rule}\n")
        }),
    }
}

/// `listed` is what `LISTING` says of rules: they go by their handles.
pub(super) fn guest_goes(style: Style, listed: &str) -> Result<String> {
    if style == Style::Sets {
        return Ok(guest_elements("delete"));
    }
    let mut batch = String::new();
    let (mut chain, own) = ("", format!(" saddr {} ", GUEST.ip));
    for line in listed.lines().map(str::trim) {
        chain = line.strip_prefix("chain ").and_then(|line| line.split(' ').next()).unwrap_or(chain);
        if line.contains(&own) {
            let (_, handle) = line.rsplit_once("# handle ").with_context(|| format!("no handle: {line}"))?;
            writeln!(batch, "delete rule ip peer {chain} handle {handle}")?;
        }
    }
    ensure!(!batch.is_empty(), "who was added is not there");
    Ok(batch)
}

/// As the agent writes it.
fn guest_elements(verb: &str) -> String {
    let Client { ip, port } = GUEST;
    let port = port.unwrap_or(LAST_PORT);
    let entry = if verb == "add" { format!("{ip} : {port}") } else { ip.to_string() };
    format!(
        "{verb} element ip pgw client_port {{ {entry} }}\n\
         {verb} element inet pgw_filter client_ports {{ {ip} . {port} }}\n\
         {verb} element inet pgw_filter clients {{ {ip} }}\n{verb} element inet pgw_filter open {{ {ip} }}\n"
    )
}

fn rule_per_client(clients: &[Client]) -> String {
    let chains = ["prerouting", "input", "forward"].map(|name| {
        let hook = match name {
            "prerouting" => "type nat hook prerouting priority dstnat;",
            "input" => "type filter hook input priority filter;",
            _ => "type filter hook forward priority filter;",
        };
        let rules: String = clients
            .iter()
            .flat_map(|client| sentences(*client))
            .filter(|(chain, _)| *chain == name)
            .map(|(_, rule)| format!("  {rule}\n"))
            .collect();
        format!(" chain {name} {{\n  {hook}\n{rules} }}\n")
    });
    format!("add table ip peer\ndelete table ip peer\ntable ip peer {{\n{}}}\n", chains.concat())
}

/// What such a client needs, by chain.
fn sentences(Client { ip, port }: Client) -> impl Iterator<Item = (&'static str, String)> {
    let open = port.map(|port| {
        [
            (
                "prerouting",
                format!("iifname \"lan\" ip saddr {ip} tcp dport {{ 80, 443 }} redirect to :{port}"),
            ),
            ("input", format!("iifname \"lan\" ip saddr {ip} tcp dport {port} ct status dnat accept")),
        ]
    });
    let closed = ("forward", format!("iifname \"lan\" oifname != \"lan\" ip saddr {ip} drop"));
    open.into_iter().flatten().chain([closed])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measured_device_is_open_among_any_number_of_clients_and_nobody_is_there_twice() {
        for count in [1, 100, 1_000, 10_000] {
            let clients = clients(count);
            let mut addresses: Vec<Ipv4Addr> = clients.iter().map(|client| client.ip).collect();
            addresses.sort_unstable();
            addresses.dedup();
            assert_eq!(addresses.len(), count);
            assert!(port_of_device(&clients).is_some(), "{count}");
            let said = active_set(1, &clients);
            let told = |list: &str| said[list].as_array().unwrap().len();
            assert_eq!((told("items"), told("items") + told("closed")), (count.min(PORTS), count));
        }
    }

    #[test]
    fn what_was_added_by_rules_is_removed_by_its_handles() {
        let listed = "table ip peer { # handle 1\n\tchain input { # handle 2\n\t\tip saddr 10.200.0.10 drop # handle 6\n\
                      \t\tip saddr 10.200.0.1 drop # handle 7\n\t}\n}\n";
        assert_eq!(guest_goes(Style::Rules, listed).unwrap(), "delete rule ip peer input handle 7\n");
        assert!(guest_goes(Style::Rules, "").is_err());
    }
}
