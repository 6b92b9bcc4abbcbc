//! The sentences that are said of more than one thing.

use super::{AskedClient, Destination, KnownRoute};
use crate::exit::Contract;
use crate::state::{Enabled, step};

impl AskedClient {
    pub(super) fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.ip_cidr.addr()),
            None => self.ip_cidr.addr().to_string(),
        }
    }
}

impl Destination {
    pub(super) fn words(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}, port {}", self.port),
            None => format!("port {} of any address beyond the gateway", self.port),
        }
    }
}

impl KnownRoute {
    /// What the facts say of it now, whatever was written down before.
    pub(super) fn reason(&self) -> String {
        let settled = step(self.mapping.state, &self.facts);
        step(settled.state, &self.facts).reason
    }

    /// What would make it usable.
    pub(super) fn remedy(&self) -> String {
        let (proxy, mapping) = (&self.facts.proxy, self.mapping.id);
        match self.facts.enabled {
            Enabled::ProxyDisabled => {
                format!(
                    "enable proxy {proxy}: PATCH /v1/proxies/{} {{\"enabled\": true}}",
                    self.mapping.proxy_id
                )
            }
            Enabled::MappingDisabled => {
                format!(
                    "enable the mapping through {proxy}: PATCH /v1/mappings/{mapping} {{\"enabled\": true}}"
                )
            }
            Enabled::Yes => match (&self.facts.health_error, &self.facts.contract) {
                (Some(error), _) if !self.facts.health.is_up() => {
                    format!("proxy {proxy} must work again: {error}")
                }
                (_, Contract::Broken(why)) if self.facts.health.is_up() => {
                    format!(
                        "proxy {proxy} must lead where the mapping expects it to ({why}), or the mapping must \
                        expect something else: PATCH /v1/mappings/{mapping}"
                    )
                }
                (_, Contract::Broken(_) | Contract::Kept) => {
                    format!("proxy {proxy} must pass a health check")
                }
            },
        }
    }
}
