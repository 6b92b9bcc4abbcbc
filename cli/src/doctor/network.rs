//! Interfaces, forwarding, and what the kernel throws away.

use super::machine::{Interface, Machine};
use super::settings::Settings;
use super::{Finding, Findings};

const SET_INTERFACES: &str =
    "dpkg-reconfigure pgw, or set it in /etc/pgw/pgw.env; then: systemctl restart pgw.target";
const MOST_NAMED: usize = 12;

pub(super) fn look(settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let mut found = interfaces(settings, machine);
    found.extend(forwarding(machine));
    found.extend(reverse_path(settings, machine));
    found
}

fn interfaces(settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("interfaces");
    let (lan, wan) = (&settings.lan_if, &settings.wan_if);
    let names: Vec<&str> = machine.interfaces.keys().map(String::as_str).take(MOST_NAMED).collect();
    for (setting, name) in [("PGW_LAN_IF", lan), ("PGW_WAN_IF", wan)] {
        match machine.interfaces.get(name) {
            None => {
                let there = names.join(", ");
                findings.bad(format!("{setting}={name} does not exist (there is {there})"), SET_INTERFACES);
            }
            Some(found) => there(&mut findings, setting, name, found),
        }
    }
    let routes = machine.default_routes();
    match routes.first() {
        None => findings.warn(
            "there is no default route: upstreams and the internet are not reached",
            format!("give {wan} an address and a default route"),
        ),
        Some(first) if first == lan => findings.bad(
            format!(
                "the default route leads through PGW_LAN_IF={lan}: LAN and WAN may be mistaken for each other"
            ),
            SET_INTERFACES,
        ),
        Some(first) if first != wan => findings
            .warn(format!("the default route leads through {first}, and PGW_WAN_IF={wan}"), SET_INTERFACES),
        Some(first) => findings.ok(format!("the default route leads through {first}")),
    }
    findings.found
}

fn there(findings: &mut Findings, setting: &str, name: &str, found: &Interface) {
    if !found.is_up {
        findings.bad(
            format!("{setting}={name} is down, or has no carrier"),
            format!("ip link set {name} up; look after its cable, and after what configures it"),
        );
    } else if found.addresses.is_empty() {
        findings.bad(
            format!("{setting}={name} has no IPv4 address"),
            "give it one: the devices of a LAN need it as their gateway",
        );
    } else {
        let addresses: Vec<String> = found.addresses.iter().map(ToString::to_string).collect();
        findings.ok(format!("{setting}={name} has {}", addresses.join(", ")));
    }
}

fn forwarding(machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("forwarding");
    match machine.sysctl("net/ipv4/ip_forward").as_deref() {
        Some("1") => findings.ok("IPv4 is forwarded"),
        Some(_) => findings.warn(
            "IPv4 is not forwarded: devices that nobody registered reach nothing, and no leak drill can be run",
            "echo net.ipv4.ip_forward=1 > /etc/sysctl.d/60-gateway.conf && sysctl --system",
        ),
        None => findings.unknown("whether IPv4 is forwarded", "sysctl net.ipv4.ip_forward"),
    }
    findings.found
}

/// The kernel takes the stricter of the two.
fn reverse_path(settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("rp_filter");
    let uplinks = machine.default_routes().len();
    for name in [&settings.lan_if, &settings.wan_if] {
        if !machine.interfaces.contains_key(name) {
            continue;
        }
        let value = |of: &str| machine.sysctl(&format!("net/ipv4/conf/{of}/rp_filter"))?.parse::<u8>().ok();
        match value("all").zip(value(name)).map(|(all, own)| all.max(own)) {
            Some(1) if uplinks > 1 => findings.warn(
                format!("{name} is strict (1), and there are {uplinks} default routes: answers by the other are lost"),
                format!("echo net.ipv4.conf.{name}.rp_filter=2 > /etc/sysctl.d/60-gateway.conf && sysctl --system"),
            ),
            Some(value) => findings.ok(format!("{name}: {value}")),
            None => findings.unknown(format!("{name}: not told"), format!("sysctl net.ipv4.conf.{name}.rp_filter")),
        }
    }
    findings.found
}
