//! The sentences that are said of more than one thing.

use super::{AskedClient, Destination, KnownRoute};
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
            Enabled::Yes => match &self.facts.health_error {
                Some(error) => format!("proxy {proxy} must work again: {error}"),
                None => format!("proxy {proxy} must pass a health check"),
            },
        }
    }
}
