//! What is told of tunnels, and of the clients that keep them.

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::tunnel::State;
use serde_json::json;

use super::{Kind, NewEvent};

/// `tunnel.state`.
#[derive(Debug, Clone)]
pub struct TunnelChange<'a> {
    pub tunnel_id: TunnelId,
    pub tunnel: &'a str,
    pub tunnel_client_id: TunnelClientId,
    pub client: &'a str,
    pub port: Option<u16>,
    pub from: State,
    pub to: State,
    pub reason: Option<&'a str>,
}

/// `tunnel.client`.
#[derive(Debug, Clone)]
pub struct TunnelClientChange<'a> {
    pub tunnel_client_id: TunnelClientId,
    pub client: &'a str,
    pub online: bool,
    pub address: Option<String>,
    pub version: Option<&'a str>,
    pub reason: Option<&'a str>,
}

impl NewEvent {
    pub fn tunnel(change: &TunnelChange<'_>) -> Self {
        let TunnelChange { tunnel_id, tunnel, tunnel_client_id, client, port, from, to, reason } = change;
        let data = json!({
            "tunnel_id": tunnel_id, "tunnel": tunnel, "tunnel_client_id": tunnel_client_id, "client": client,
            "port": port, "from": from, "to": to, "reason": reason,
        });
        Self::new(Kind::TunnelState, data)
    }

    pub fn tunnel_client(change: &TunnelClientChange<'_>) -> Self {
        let TunnelClientChange { tunnel_client_id, client, online, address, version, reason } = change;
        let state = if *online { "online" } else { "offline" };
        let data = json!({
            "tunnel_client_id": tunnel_client_id, "client": client, "state": state, "address": address,
            "version": version, "reason": reason,
        });
        Self::new(Kind::TunnelClient, data)
    }
}
