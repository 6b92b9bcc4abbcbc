//! This gateway's tunnels as a document says them.

use std::collections::BTreeMap;

use pgw_core::ids::TunnelId;
use pgw_core::tunnel::Origin;
use uuid::Uuid;

use super::super::db::Connection;
use super::of_gateway;
use super::row::Row;
use crate::declarative::snapshot::{KnownTunnel, KnownTunnelClient};
use crate::declarative::tunnels::{Named, TunnelEntry};
use crate::store::crypt::Vault;
use crate::store::{NewLogin, StoreError};

/// Each at its client.
pub(in super::super) async fn enter(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    clients: &mut BTreeMap<Uuid, KnownTunnelClient>,
) -> Result<(), StoreError> {
    for row in of_gateway(db, own).await? {
        let Some(client) = clients.get_mut(&row.tunnel_client_id) else { continue };
        match row.origin.0 {
            Origin::Client => {
                client.asked.push((row.protocol.0, row.public_port.map(|port| port.0)));
            }
            Origin::Operator => {
                let id = TunnelId(row.id);
                let entry = entry(&row, vault);
                client.tunnels.insert(row.name, KnownTunnel { id, entry });
            }
        }
    }
    Ok(())
}

/// Of passwords that cannot be opened nothing is said.
fn entry(row: &Row, vault: &Vault) -> TunnelEntry {
    let mut wish = row.wish();
    if let Ok(passwords) = row.passwords(vault) {
        let logins = row.users().into_iter().zip(passwords);
        let logins = logins.map(|(username, password)| NewLogin { username, password: Some(password) });
        wish.basic_auth = logins.collect();
    }
    let named = Named {
        name: row.name.clone(),
        enabled: row.enabled,
        public_port: row.public_port.map_or(0, |port| port.0),
        verify: Some(!row.verified),
    };
    TunnelEntry::new(named, wish)
}
