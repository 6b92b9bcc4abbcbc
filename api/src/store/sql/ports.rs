//! Which port is whose, on each gateway. Every caller that changes something holds the write lock, so
//! nobody takes a port in between.

use std::collections::BTreeSet;

use pgw_core::ids::{ClientId, MappingId};
use pgw_core::ports::PortRange;
use pgw_core::state::{MappingState, Verdict};
use uuid::Uuid;

use super::db::Connection;
use super::mappings;
use super::values::Number;
use crate::store::{Conflict, StoreError};

/// Each client's port, also while its last mapping is going; otherwise the lowest that nobody has.
pub(super) async fn ensure(
    db: &mut Connection,
    gateway: &str,
    clients: &[ClientId],
    range: &PortRange,
) -> Result<(), StoreError> {
    let (mut taken, owners): (BTreeSet<u16>, BTreeSet<Uuid>) = taken(db, gateway).await?.into_iter().unzip();
    for client in clients.iter().filter(|client| !owners.contains(&client.0)) {
        let port = lowest_free(range, &taken)?;
        sqlx::query("insert into ports (gateway, port, client_id) values ($1, $2, $3)")
            .bind(gateway)
            .bind(Number(port))
            .bind(client.0)
            .execute(&mut *db)
            .await?;
        taken.insert(port);
    }
    Ok(())
}

/// Moves whoever has a port outside the range, which somebody has changed, to one inside: the
/// agent's rules guard the range and nothing else.
pub(super) async fn keep_within(
    db: &mut Connection,
    gateway: &str,
    range: &PortRange,
) -> Result<(), StoreError> {
    let (inside, outside): (Vec<_>, Vec<_>) =
        taken(db, gateway).await?.into_iter().partition(|(port, _)| range.contains(*port));
    let mut taken: BTreeSet<u16> = inside.into_iter().map(|(port, _)| port).collect();
    for (old, owner) in outside {
        let port = lowest_free(range, &taken)?;
        sqlx::query("update ports set port = $1 where port = $2 and gateway = $3")
            .bind(Number(port))
            .bind(Number(old))
            .bind(gateway)
            .execute(&mut *db)
            .await?;
        // Nobody serves the new one yet; FAILED means closed, and stays.
        let open = "select id from mappings
             where client_id = $1 and removed_at is null and state <> 'FAILED' order by id";
        let open: Vec<Uuid> = sqlx::query_scalar(open).bind(owner).fetch_all(&mut *db).await?;
        let reason =
            format!("its port was {old}, outside of the configured range, and is {port} now; opening");
        let verdict = Verdict { state: MappingState::Pending, reason };
        for mapping in open {
            mappings::record_verdict(db, gateway, MappingId(mapping), &verdict).await?;
        }
        tracing::info!(from = old, to = port, "a client's port lay outside of the configured range");
        taken.insert(port);
    }
    Ok(())
}

pub(super) async fn taken(db: &mut Connection, gateway: &str) -> Result<Vec<(u16, Uuid)>, StoreError> {
    let rows: Vec<(Number<u16>, Uuid)> =
        sqlx::query_as("select port, client_id from ports where gateway = $1 order by port")
            .bind(gateway)
            .fetch_all(db)
            .await?;
    Ok(rows.into_iter().map(|(port, owner)| (port.0, owner)).collect())
}

fn lowest_free(range: &PortRange, taken: &BTreeSet<u16>) -> Result<u16, StoreError> {
    let exhausted = || StoreError::Conflict(Conflict::PortsExhausted { range: range.to_string() });
    range.lowest_free(taken).ok_or_else(exhausted)
}
