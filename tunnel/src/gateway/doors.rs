//! The open ports of tunnels. Whoever closes one knows that it is closed.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use pgw_core::ids::TunnelId;
use pgw_core::tunnel::{Protocol, TunnelSpec};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Gateway, tcp, udp};

/// By tunnel.
#[derive(Default)]
pub(super) struct Doors(BTreeMap<TunnelId, Door>);

struct Door {
    port: u16,
    protocol: Protocol,
    stop: CancellationToken,
    listeners: Vec<JoinHandle<()>>,
}

impl Doors {
    pub(super) fn ids(&self) -> Vec<TunnelId> {
        self.0.keys().copied().collect()
    }

    pub(super) fn is_open(&self, spec: &TunnelSpec) -> bool {
        let fits = |door: &Door| Some(door.port) == spec.public_port && door.protocol == spec.protocol;
        self.0.get(&spec.id).is_some_and(fits)
    }

    /// Both ports of a tunnel, or none of them. Listeners ask which tunnel theirs is, visitor by
    /// visitor: it may change while they stay.
    pub(super) fn open(&mut self, gateway: &Arc<Gateway>, spec: &TunnelSpec, port: u16) -> io::Result<()> {
        let TunnelSpec { id, protocol, .. } = *spec;
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port));
        let stop = CancellationToken::new();
        let tcp = protocol.has_tcp().then(|| tcp::bind(address)).transpose()?;
        let udp = protocol.has_udp().then(|| udp::bind(address)).transpose()?;
        let mut listeners = Vec::new();
        if let Some(listener) = tcp {
            listeners.push(tokio::spawn(tcp::listen(gateway.clone(), id, listener, stop.clone())));
        }
        if let Some(socket) = udp {
            listeners.push(tokio::spawn(udp::listen(gateway.clone(), id, socket, stop.clone())));
        }
        self.0.insert(id, Door { port, protocol, stop, listeners });
        Ok(())
    }

    /// When it returns, another can listen there.
    pub(super) async fn close(&mut self, id: TunnelId) {
        let Some(door) = self.0.remove(&id) else { return };
        door.stop.cancel();
        for listener in door.listeners {
            let _ended = listener.await;
        }
    }
}
