//! Who else has rules: what is accepted by pgw's tables can still be dropped by theirs.

use super::machine::Machine;
use super::settings::Settings;
use super::{Finding, Findings, exists};

pub(super) fn look(settings: &Settings, machine: &Machine) -> Vec<Finding> {
    let mut findings = Findings::of("firewalls");
    let range = settings.ports.as_ref().map(|ports| format!("{}:{}", ports.base(), ports.max()));
    let (lan, range) = (&settings.lan_if, range.unwrap_or_default());
    if is_on(&machine.read("/etc/ufw/ufw.conf").unwrap_or_default()) {
        findings.warn(
            "ufw is on: it drops what devices send to their forwarders, unless it is told otherwise",
            format!(
                "ufw allow in on {lan} to any port {range} proto tcp; the same with proto udp; \
                 for devices that nobody registered: ufw route allow in on {lan}"
            ),
        );
    }
    if exists(&machine.root, "/run/firewalld") {
        findings.warn(
            "firewalld is running: it rejects what devices send to their forwarders, unless it is told otherwise",
            format!(
                "firewall-cmd --permanent --zone=trusted --change-interface={lan} && firewall-cmd --reload"
            ),
        );
    }
    if exists(&machine.root, "/run/docker.sock") || machine.interfaces.contains_key("docker0") {
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
    if findings.found.is_empty() {
        findings.ok("no ufw, firewalld or Docker");
    }
    findings.found
}

fn is_on(config: &str) -> bool {
    config.lines().any(|line| {
        let line = line.trim().to_ascii_lowercase();
        line.strip_prefix("enabled=").is_some_and(|value| value.trim_matches('"') == "yes")
    })
}
