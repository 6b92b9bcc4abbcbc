//! The steps that are about tunnel clients and tunnels. Their ports stand in the plan.

use pgw_core::ids::TunnelClientId;
use uuid::Uuid;

use super::super::db::Connection;
use super::super::{tunnel_clients, tunnels};
use super::Work;
use crate::credentials::{hashed, random_hex};
use crate::declarative::plan::{Deed, Plan, Step, Subject};
use crate::declarative::tunnel_plan::TunnelDeed;
use crate::declarative::tunnels::{Kept, TunnelClientEntry, TunnelEntry};
use crate::store::{NewTunnel, NewTunnelClient, StoreError};

impl Work<'_> {
    /// Two tunnels may change places: first both leave theirs.
    pub(super) async fn vacate(&self, db: &mut Connection, plan: &Plan) -> Result<(), StoreError> {
        for Step { deed, .. } in &plan.steps {
            let Deed::Tunnels(TunnelDeed::Change(id, patch, _)) = deed else { continue };
            let moves = patch.public_port.is_some() || patch.protocol.is_some();
            tunnels::vacate(db, *id, moves, patch.host.is_some()).await?;
        }
        Ok(())
    }

    pub(super) async fn tunnels(
        &mut self,
        db: &mut Connection,
        subject: &Subject,
        deed: &TunnelDeed,
    ) -> Result<(), StoreError> {
        match deed {
            TunnelDeed::Remove(id) => {
                tunnels::remove(db, self.own, *id, None).await?;
            }
            // What it has asked for itself goes with it.
            TunnelDeed::RemoveClient(id) => {
                tunnel_clients::remove(db, self.own, *id, false, None).await?;
            }
            TunnelDeed::ChangeClient(id, patch, _) => {
                tunnel_clients::update(db, self.own, *id, patch.clone()).await?;
            }
            TunnelDeed::CreateClient(entry) => {
                let (id, new) = new_client(entry)?;
                tunnel_clients::insert(db, self.own, id, new).await?;
                self.machines.insert(entry.name.clone(), id);
            }
            TunnelDeed::Change(id, patch, _) => {
                let moves = patch.public_port.is_some() || patch.protocol.is_some();
                let port = moves.then_some(patch.public_port);
                tunnels::amend(db, self.own, self.vault, *id, (**patch).clone(), port).await?;
            }
            TunnelDeed::Create(entry) => {
                let client = self.machine(subject)?;
                let client_row = tunnel_clients::live(db, client).await?;
                let new = new_tunnel(client, entry);
                tunnels::make(db, self.own, self.vault, &client_row, new, entry.public_port).await?;
            }
        }
        Ok(())
    }

    fn machine(&self, subject: &Subject) -> Result<TunnelClientId, StoreError> {
        let id = match subject {
            Subject::Tunnel(client, _) | Subject::TunnelClient(client) => self.machines.get(client),
            Subject::Proxy(_) | Subject::Client(_) | Subject::Mapping(..) => None,
        };
        id.copied().ok_or(StoreError::NotFound("tunnel client"))
    }
}

/// A document has no key: what is new has a token that nobody knows, until its machine has made one
/// by an enrolment code.
fn new_client(entry: &TunnelClientEntry) -> Result<(TunnelClientId, NewTunnelClient), StoreError> {
    let Kept { id, token } = match &entry.kept {
        Some(kept) => kept.clone(),
        None => {
            let token = random_hex::<32>().map_err(|error| StoreError::Unavailable {
                reason: error.to_string(),
                source: sqlx::Error::Encode(Box::new(error)),
            })?;
            Kept { id: TunnelClientId(Uuid::now_v7()), token: hashed(&token) }
        }
    };
    let new = NewTunnelClient {
        name: entry.name.clone(),
        // This one's: a document speaks of no other.
        gateway: None,
        note: entry.note.clone(),
        enabled: entry.enabled,
        allowed_ports: entry.spans(),
        max_tunnels: entry.max_tunnels,
        max_connections: entry.max_connections,
        bandwidth: entry.bandwidth,
        token,
    };
    Ok((id, new))
}

/// One that has to be verified waits for somebody who asks for a code.
fn new_tunnel(client: TunnelClientId, entry: &TunnelEntry) -> NewTunnel {
    NewTunnel {
        tunnel_client_id: client,
        name: entry.name.clone(),
        enabled: entry.enabled,
        verified: entry.verify == Some(false),
        code: None,
        public_port: entry.public_port.unwrap_or(0),
        wish: entry.wish(),
    }
}
