//! Ports: who has those that pgw needs, and who answers names.

use std::collections::BTreeSet;

use pgw_core::dns::DnsChoice;

use super::machine::{Listener, Machine};
use super::settings::Settings;
use super::{Finding, Findings};

const DNS: u16 = 53;
/// As /proc tells a program's name.
const LONGEST_NAME: usize = 15;

pub(super) fn look(settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let listeners = machine.listeners();
    let mut findings = Findings::of("ports");
    for (program, setting, listen) in &settings.listens {
        service(&mut findings, &listeners, program, setting, listen.port());
    }
    forwarders(&mut findings, settings, &listeners);
    names(&mut findings, settings.dns, &listeners);
    web(&mut findings, &listeners);
    findings.found
}

fn on<'a>(listeners: &'a [Listener], protocol: &str, port: u16) -> Option<&'a Listener> {
    listeners.iter().find(|one| one.protocol == protocol && one.port == port)
}

fn called(one: &Listener) -> &str {
    one.program.as_deref().unwrap_or("a program that only root may see")
}

fn service(findings: &mut Findings, listeners: &[Listener], program: &str, setting: &str, port: u16) {
    let is_it = |name: &str| name == program.get(..LONGEST_NAME.min(program.len())).unwrap_or(program);
    match on(listeners, "tcp", port) {
        Some(one) if one.program.as_deref().is_none_or(is_it) => {
            findings.ok(format!("{port}: {}", one.program.as_deref().unwrap_or(program)));
        }
        Some(one) => findings.bad(
            format!("{port} is taken by {}, and {program} needs it", called(one)),
            format!(
                "stop that program, or set {setting} in /etc/pgw/pgw.env; then: systemctl restart {program}"
            ),
        ),
        // Tunnels are no part of every gateway.
        None if program == "pgw-tunneld" => {}
        None => findings.warn(
            format!("{program} does not listen on {port}"),
            format!("systemctl status {program}; journalctl -u {program}"),
        ),
    }
}

/// The range is for forwarders alone: one that finds its port taken leaves its device closed.
fn forwarders(findings: &mut Findings, settings: &Settings, listeners: &[Listener]) {
    let Some(ports) = &settings.ports else { return };
    let others: BTreeSet<String> = listeners
        .iter()
        .filter(|one| {
            ports.contains(one.port) && one.program.as_deref().is_some_and(|name| name != "pgw-fwd")
        })
        .map(|one| format!("{} ({})", one.port, called(one)))
        .collect();
    if others.is_empty() {
        findings.ok("nobody else listens in the forwarders' range");
    } else {
        let told: Vec<String> = others.into_iter().collect();
        findings.bad(
            format!("others listen in the forwarders' range: {}", told.join(", ")),
            "move them, or set PGW_FWD_BASE_PORT and PGW_FWD_MAX_PORT",
        );
    }
}

fn names(findings: &mut Findings, choice: DnsChoice, listeners: &[Listener]) {
    let resolver = on(listeners, "udp", DNS);
    match (choice, resolver) {
        (DnsChoice::Upstream, None) => {
            findings.ok("53: nobody, and mapped devices' questions go to their forwarders");
        }
        (DnsChoice::Upstream, Some(one)) => {
            findings.ok(format!(
                "53: {}; mapped devices' questions go to their forwarders, not to it",
                called(one)
            ));
        }
        (DnsChoice::Gateway, Some(one)) => findings.ok(format!("53: {} answers mapped devices", called(one))),
        (DnsChoice::Gateway, None) => findings.bad(
            "53: PGW_DNS=gateway, and nobody answers names here: mapped devices find nothing",
            "apt install dnsmasq or unbound, or set PGW_DNS=upstream",
        ),
    }
}

/// Of the gateway's own addresses they are never redirected, so there is no conflict, but a surprise.
fn web(findings: &mut Findings, listeners: &[Listener]) {
    for port in [80, 443] {
        if let Some(one) = on(listeners, "tcp", port) {
            findings.ok(format!(
                "{port}: {} stays reachable from the LAN; only what leads elsewhere is redirected",
                called(one)
            ));
        }
    }
}
