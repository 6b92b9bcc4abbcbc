//! What the page for Prometheus tells of reverse tunnels.

use std::fmt;

use pgw_core::tunnel::State;
use prometheus_client::encoding::DescriptorEncoder;

use super::metrics::{Labels, count, counter, gauge, label, number};
use crate::store::{CountedTunnel, TunnelCensus};

impl TunnelCensus {
    pub(super) fn encode(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let clients = [("online", self.online), ("offline", self.offline)];
        let clients = clients.map(|(status, many)| (label("status", status), number(many)));
        gauge(to, "pgw_tunnel_clients", "Machines that keep tunnels, by whether they are there", clients)?;
        let of =
            |wanted| self.states.iter().filter(move |(state, _)| *state == wanted).map(|(_, many)| *many);
        let states = [
            ("pending", State::Pending),
            ("active", State::Active),
            ("offline", State::Offline),
            ("failed", State::Failed),
        ];
        let states = states.map(|(word, state)| (label("state", word), number(of(state).sum())));
        gauge(to, "pgw_tunnels", "Reverse tunnels, by state", states)?;
        let help = "What a tunnel has carried, from its visitors (in) and to them (out)";
        counter(to, "pgw_tunnel_bytes", help, self.tunnels.iter().flat_map(both_ways))?;
        let begun = self.tunnels.iter().map(|tunnel| (name(tunnel), count(tunnel.connections)));
        counter(to, "pgw_tunnel_connections", "Visitors' connections that a tunnel has taken", begun)?;
        let now = self.tunnels.iter().map(|tunnel| (name(tunnel), f64::from(tunnel.active)));
        gauge(to, "pgw_tunnel_active", "Visitors' connections that are open on a tunnel", now)
    }
}

/// Two clients may each have one of the same name.
fn name(tunnel: &CountedTunnel) -> Labels {
    vec![("tunnel_id", tunnel.id.to_string()), ("tunnel", tunnel.name.clone())]
}

fn both_ways(tunnel: &CountedTunnel) -> [(Labels, f64); 2] {
    [("in", tunnel.bytes_in), ("out", tunnel.bytes_out)].map(|(direction, bytes)| {
        let mut labels = name(tunnel);
        labels.push(("direction", direction.to_owned()));
        (labels, count(bytes))
    })
}
