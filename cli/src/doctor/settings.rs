//! The settings: can they be used at all?

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use pgw_core::dns::DnsChoice;
use pgw_core::ports::PortRange;
use pgw_core::settings::{AgentSettings, ApiSettings, Mistakes, Source, TunnelSettings, UiSettings};

use super::{Finding, Findings};
use crate::installed::Installed;

/// What the other areas look at. Where it cannot be read it is what it is by default.
pub(super) struct Settings {
    pub(super) lan_if: String,
    pub(super) wan_if: String,
    pub(super) ports: Option<PortRange>,
    pub(super) dns: DnsChoice,
    /// Programs, and where each listens.
    pub(super) listens: Vec<(&'static str, &'static str, SocketAddr)>,
}

const FIX: &str = "write it right in /etc/pgw/pgw.env, then: systemctl restart pgw.target";

/// One that no file sets.
struct Nothing;

impl Source for Nothing {
    fn get(&self, _name: &str) -> Option<String> {
        None
    }
}

impl Settings {
    pub(super) fn read(folder: &Path, environment: &dyn Source) -> (Self, Vec<Finding>) {
        let mut findings = Findings::of("settings");
        let of = |program: &str| Installed::read(folder, program, environment);
        let all @ [agent, api, ui, tunnels] = &["pgw-agent", "pgw-api", "pgw-ui", "pgw-tunneld"].map(of);
        let unread: BTreeSet<&String> = all.iter().flat_map(|one| &one.unread).collect();
        for file in unread {
            findings.unknown(file.clone(), "run it as root: then it sees all settings");
        }
        let agent = usable(&mut findings, |source| AgentSettings::read(source), agent);
        let api = usable(&mut findings, |source| ApiSettings::read(source), api);
        let ui = usable(&mut findings, |source| UiSettings::read(source), ui);
        let tunnels = usable(&mut findings, |source| TunnelSettings::read(source), tunnels);
        let listens = [
            api.as_ref().map(|api| ("pgw-api", "PGW_API_LISTEN", api.listen)),
            agent.as_ref().map(|agent| ("pgw-agent", "PGW_AGENT_LISTEN", agent.listen)),
            ui.map(|ui| ("pgw-ui", "PGW_UI_LISTEN", ui.listen)),
            tunnels.map(|tunnels| ("pgw-tunneld", "PGW_TUNNEL_LISTEN", tunnels.listen)),
        ];
        if findings.found.is_empty() {
            findings.ok("the settings can be used");
        }
        let agent_ports = agent.as_ref().map(|agent| agent.ports.clone());
        let settings = Self {
            lan_if: agent.as_ref().map(|agent| agent.lan_if.clone()).unwrap_or_default(),
            wan_if: agent.as_ref().map(|agent| agent.wan_if.clone()).unwrap_or_default(),
            ports: agent_ports,
            dns: agent.map(|agent| agent.dns).unwrap_or_default(),
            listens: listens.into_iter().flatten().collect(),
        };
        (settings, findings.found)
    }
}

/// A mistake is told once, however many programs make it; then what they would be without any.
fn usable<T>(
    findings: &mut Findings,
    read: impl Fn(&dyn Source) -> Result<T, Mistakes>,
    installed: &Installed<'_>,
) -> Option<T> {
    match read(installed) {
        Ok(settings) => Some(settings),
        Err(Mistakes(mistakes)) => {
            for mistake in mistakes {
                let told = Mistakes(vec![mistake]).to_string();
                if !findings.found.iter().any(|finding| finding.what == told) {
                    findings.bad(told, FIX);
                }
            }
            read(&Nothing).ok()
        }
    }
}
