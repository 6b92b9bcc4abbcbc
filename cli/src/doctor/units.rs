//! The units: are they there after the next boot, and has one given up?

use std::collections::BTreeMap;

use super::machine::Machine;
use super::{Finding, Findings, exists};

/// What is lost if it is not started with the machine.
const AT_BOOT: [(&str, &str); 2] = [
    ("pgw-boot.service", "after a boot no registered device is held back until pgw-agent runs"),
    ("pgw.target", "after a boot none of the programs is started"),
];
const SHOW: &[&str] = &[
    "systemctl",
    "show",
    "--property=Id,UnitFileState,ActiveState,SubState",
    "pgw-boot.service",
    "pgw.target",
    "pgw-agent.service",
    "pgw-api.service",
    "pgw-ui.service",
    "pgw-tunneld.service",
    "pgw-fwd@*.service",
];

pub(super) fn look(machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("units");
    let places = ["/usr/lib/systemd/system/pgw.target", "/etc/systemd/system/pgw.target"];
    let is_theirs = places.into_iter().any(|place| exists(&machine.root, place));
    if !is_theirs || !exists(&machine.root, "/run/systemd/system") {
        // Somebody else starts the programs.
        return findings.found;
    }
    match (machine.run)(SHOW) {
        Ok(told) => told.split("\n\n").for_each(|unit| one(&mut findings, unit)),
        Err(why) => {
            findings.unknown(format!("systemd does not tell of them: {why}"), "systemctl status 'pgw*'")
        }
    }
    if findings.found.is_empty() {
        findings.ok("started at boot, and none has failed");
    }
    findings.found
}

fn one(findings: &mut Findings, told: &str) {
    let fields: BTreeMap<&str, &str> = told.lines().filter_map(|line| line.split_once('=')).collect();
    let field = |name: &str| fields.get(name).copied().unwrap_or_default();
    let unit = field("Id");
    let at_boot = AT_BOOT.into_iter().find(|(name, _)| *name == unit);
    if let Some((_, lost)) = at_boot.filter(|_| field("UnitFileState") != "enabled") {
        findings.bad(
            format!("{unit} is {}: {lost}", field("UnitFileState")),
            format!("systemctl unmask {unit}; systemctl enable {unit}"),
        );
    }
    let log = format!("journalctl -u {unit} -n 50");
    match (field("ActiveState"), field("SubState")) {
        ("failed", _) => findings.bad(
            format!("{unit} has failed"),
            format!("{log}; when that is mended: systemctl restart {unit}"),
        ),
        (_, "auto-restart") => {
            findings.bad(format!("{unit} ends again and again, and is started again"), log)
        }
        _ => {}
    }
}
