//! What is told of a mapping: that an operator changed it, and its state.

use pgw_core::ids::{ClientId, ClientIp, MappingId, ProxyId};
use pgw_core::state::{MappingState, Verdict};
use sqlx::types::Text;
use uuid::Uuid;

use super::super::db::Connection;
use super::super::events;
use super::super::values::{Number, Word};
use crate::events::{Action, NewEvent, StateChange, Thing};
use crate::store::{By, StoreError};

/// What an event tells of a mapping beside its state.
#[derive(sqlx::FromRow)]
struct Named {
    client_id: Uuid,
    proxy_id: Uuid,
    state: Word<MappingState>,
    client: String,
    ip: Text<ClientIp>,
    proxy: String,
    port: Number<u16>,
}

async fn named(db: &mut Connection, id: MappingId) -> Result<Option<Named>, StoreError> {
    Ok(sqlx::query_as(
        "select m.client_id, m.proxy_id, m.state, c.name as client, c.ip, p.name as proxy, ports.port
         from mappings m
         join clients c on c.id = m.client_id
         join proxies p on p.id = m.proxy_id
         join ports on ports.client_id = m.client_id
         where m.id = $1 and m.removed_at is null",
    )
    .bind(id.0)
    .fetch_optional(db)
    .await?)
}

/// While it is there.
pub(super) async fn change(
    db: &mut Connection,
    own: &str,
    id: MappingId,
    action: Action,
    fields: &[&str],
) -> Result<(), StoreError> {
    let Some(named) = named(db, id).await? else { return Ok(()) };
    let name = format!("{} by {}", named.client, named.proxy);
    let told = NewEvent::change(By::current().0, Thing::Mapping, action, &name, fields);
    let told = told.of_mapping(ClientId(named.client_id), id, ProxyId(named.proxy_id));
    events::write(db, own, &told).await.map(drop)
}

/// Before it is marked.
pub(in super::super) async fn tell_removal(
    db: &mut Connection,
    own: &str,
    id: MappingId,
) -> Result<(), StoreError> {
    change(db, own, id, Action::Deleted, &[]).await
}

/// Before it is written down: whether it is another state, and what it was, is read from the row.
/// Answers whose it is, if it is there.
pub(in super::super) async fn tell_state(
    db: &mut Connection,
    own: &str,
    id: MappingId,
    verdict: &Verdict,
) -> Result<Option<ClientId>, StoreError> {
    let Some(named) = named(db, id).await? else { return Ok(None) };
    let client = ClientId(named.client_id);
    if named.state.0 != verdict.state {
        let told = NewEvent::state(&StateChange {
            client_id: client,
            mapping_id: id,
            proxy_id: ProxyId(named.proxy_id),
            from: named.state.0,
            to: verdict.state,
            reason: &verdict.reason,
            client: &named.client,
            ip: named.ip.0.addr(),
            proxy: &named.proxy,
            port: named.port.0,
        });
        events::write(db, own, &told).await?;
    }
    Ok(Some(client))
}
