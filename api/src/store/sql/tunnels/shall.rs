//! What shall be open on a gateway: the document for its tunnel daemon.

use pgw_core::tunnel::{Desired, Filter, Origin, PortSpan};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::super::db::Connection;
use super::super::tunnel_clients;
use super::of_gateway;
use crate::store::StoreError;
use crate::store::crypt::Vault;

pub(in super::super) async fn desired(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    targets: &Filter,
) -> Result<Desired, StoreError> {
    let clients = tunnel_clients::of_gateway(db, own).await?;
    let enrolments = tunnel_clients::enrolments(db, own).await?;
    let (mut tunnels, mut reserved) = (Vec::new(), Vec::new());
    for row in of_gateway(db, own).await?.into_iter().filter(|row| row.origin.0 == Origin::Operator) {
        if row.is_wanted() {
            tunnels.push(row.spec(vault)?);
        } else {
            // Nobody takes it while it is closed.
            let port = row.public_port.map(|port| port.0);
            reserved.extend(port.map(|port| PortSpan { from: port, to: port }));
        }
    }
    let desired = Desired {
        clients: clients.into_iter().map(tunnel_clients::Row::spec).collect(),
        tunnels,
        enrolments,
        reserved,
        filter: targets.clone(),
        ..Desired::nothing()
    };
    let revision = revision(&desired);
    Ok(Desired { revision, ..desired })
}

/// The same content has the same: whoever compares them knows whether the daemon has heard of it.
fn revision(desired: &Desired) -> Uuid {
    let text = zeroize::Zeroizing::new(serde_json::to_vec(desired).unwrap_or_default());
    let digest: [u8; 32] = Sha256::digest(&*text).into();
    let half = digest.first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(half).into_uuid()
}
