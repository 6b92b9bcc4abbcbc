//! What shall be open on a gateway: the document for its tunnel daemon.

use pgw_core::tunnel::{Desired, Filter, Origin, PortSpan};

use super::super::db::Connection;
use super::super::tunnel_clients;
use super::of_gateway;
use crate::store::StoreError;
use crate::store::crypt::Vault;
use crate::tunnels::wish::numbered;

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
    Ok(numbered(desired))
}
