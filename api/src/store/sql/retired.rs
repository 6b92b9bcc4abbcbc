//! A gateway that will not come back, and what nobody else would ever tidy up for it.

use pgw_core::ids::{ClientId, TunnelClientId};
use uuid::Uuid;

use super::db::Connection;
use super::{clients, events, gateways, plans, proxies, tunnel_clients};
use crate::events::{Action, Thing};
use crate::store::{Conflict, StoreError};

pub(super) async fn remove(
    db: &mut Connection,
    own: &str,
    name: &str,
    cascade: bool,
) -> Result<(), StoreError> {
    let known = gateways::list(db).await?.into_iter().find(|gateway| gateway.name == name);
    let gateway = known.ok_or(StoreError::NotFound("gateway"))?;
    if gateway.online || name == own {
        return Err(StoreError::Conflict(Conflict::Online { name: name.to_owned() }));
    }
    let tunnels = tunnel_clients::of_gateway(db, name).await?;
    let clients = gateway.clients.saturating_add(u32::try_from(tunnels.len()).unwrap_or(u32::MAX));
    if clients > 0 && !cascade {
        return Err(StoreError::Conflict(Conflict::HasClients { name: name.to_owned(), clients }));
    }
    let live: Vec<Uuid> =
        sqlx::query_scalar("select id from clients where gateway = $1 and removed_at is null order by id")
            .bind(name)
            .fetch_all(&mut *db)
            .await?;
    for client in live {
        clients::remove(db, own, ClientId(client), true, None).await?;
    }
    for client in tunnels {
        tunnel_clients::remove(db, own, TunnelClientId(client.id), true, None).await?;
    }
    finish(db, name).await?;
    for rows in [
        "delete from proxy_health where gateway = $1",
        "delete from agent_news where gateway = $1",
        "delete from deliveries where gateway = $1",
        "delete from applies where gateway = $1",
        "delete from traffic_counted where gateway = $1",
        "delete from gateways where name = $1",
    ] {
        sqlx::query(rows).bind(name).execute(&mut *db).await?;
    }
    proxies::sweep(db).await?;
    events::changed(db, own, Thing::Gateway, Action::Deleted, name, &[]).await.map(drop)
}

/// What is going is gone: there is no rule and no forwarder any more that somebody would have to
/// take away first.
async fn finish(db: &mut Connection, gateway: &str) -> Result<(), StoreError> {
    let going: Vec<Uuid> = sqlx::query_scalar("select id from clients where gateway = $1 order by id")
        .bind(gateway)
        .fetch_all(&mut *db)
        .await?;
    for client in going.into_iter().map(ClientId) {
        let mappings = plans::going_mappings(db, client).await?;
        plans::finish_removal(db, client, &mappings).await?;
    }
    Ok(())
}
