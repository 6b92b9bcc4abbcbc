//! Which public port, or which route, a tunnel gets. Whoever asks holds the write lock, so nobody
//! takes it in between; a program of this machine may, and then the daemon says so.

use std::collections::BTreeSet;

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::tunnel::{PortConflict, PortRules, PortSpan, Protocol};
use uuid::Uuid;

use super::super::db::Connection;
use super::super::values::{Number, Word};
use super::super::{gateways, tunnel_clients};
use crate::store::{Conflict, Ground, StoreError};

/// What one tunnel asks for.
pub(super) struct Asked {
    /// Itself, where it has a port already.
    pub(super) tunnel: Option<TunnelId>,
    pub(super) protocol: Protocol,
    /// 0: any.
    pub(super) port: u16,
    /// It has this port already, and what it listens on is its own.
    pub(super) keeps: bool,
}

type Other = (Uuid, Uuid, Word<Protocol>, Option<Number<u16>>);

pub(super) async fn give(
    db: &mut Connection,
    own: &str,
    client: &tunnel_clients::Row,
    asked: &Asked,
    ground: &Ground,
) -> Result<Option<u16>, StoreError> {
    let others: Vec<Other> =
        sqlx::query_as("select id, tunnel_client_id, protocol, public_port from tunnels where gateway = $1")
            .bind(&client.gateway)
            .fetch_all(&mut *db)
            .await?;
    let others = others.into_iter().filter(|(id, ..)| asked.tunnel != Some(TunnelId(*id)));
    let (mut held, mut taken) = (0_u32, BTreeSet::new());
    for (_, owner, protocol, port) in others {
        held += u32::from(TunnelClientId(owner) == TunnelClientId(client.id));
        taken.extend(port.map(|port| port.0).filter(|_| protocol.0.overlaps(asked.protocol)));
    }
    let is_own = client.gateway == own;
    if is_own && !asked.keeps {
        taken.extend(ground.tcp.iter().filter(|_| asked.protocol.has_tcp()));
        taken.extend(ground.udp.iter().filter(|_| asked.protocol.has_udp()));
    }
    let forwarders =
        if is_own { ground.forwarders.clone() } else { gateways::known(db, &client.gateway).await? };
    let rules = PortRules {
        range: &ground.range,
        reserved: &[PortSpan { from: forwarders.base(), to: forwarders.max() }],
        taken: &taken,
        allowed: &client.spans(),
        held,
        // Who has more than the quota of today keeps what he has.
        quota: if asked.tunnel.is_some() { u32::MAX } else { client.max_tunnels.0 },
    };
    let refused = |conflict| StoreError::Conflict(Conflict::Port(conflict));
    if asked.protocol == Protocol::Http {
        let full = rules.held >= rules.quota;
        return if full { Err(refused(PortConflict::PortQuota)) } else { Ok(None) };
    }
    rules.give(asked.port).map(Some).map_err(refused)
}
