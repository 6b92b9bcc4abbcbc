//! A client with all that decides what becomes of it, and the end of what is going. The reads
//! run in one transaction, so that a plan is of one moment.

use std::collections::HashMap;

use pgw_core::ids::{ClientId, MappingId};
use pgw_core::mapping::Mapping;
use sqlx::types::Text;
use uuid::Uuid;

use super::db::Connection;
use super::values::Number;
use super::{clients, exits, holds, mappings, proxies};
use crate::store::crypt::Vault;
use crate::store::{ClientPlan, ExitHold, ProxyDial, Route, StoreError};

#[derive(sqlx::FromRow)]
struct PlannedClient {
    #[sqlx(flatten)]
    client: clients::Row,
    removed_at: Option<Text<jiff::Timestamp>>,
    port: Option<Number<u16>>,
}

/// This gateway's own.
pub(super) async fn all(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
) -> Result<Vec<ClientPlan>, StoreError> {
    let clients: Vec<PlannedClient> = sqlx::query_as(
        "select c.*, ports.port from clients c left join ports on ports.client_id = c.id
         where c.gateway = $1 order by c.id",
    )
    .bind(own)
    .fetch_all(&mut *db)
    .await?;
    let proxies = proxies::all(db, own).await?;
    let mappings: Vec<mappings::Row> = sqlx::query_as(
        "select m.*, ports.gateway, ports.port from mappings m join ports on ports.client_id = m.client_id
         where ports.gateway = $1 order by m.priority, m.id",
    )
    .bind(own)
    .fetch_all(&mut *db)
    .await?;
    let holds = holds::of_gateway(db, own).await?;
    assemble(clients, proxies, mappings, holds, vault)
}

pub(super) async fn one(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    id: ClientId,
) -> Result<Option<ClientPlan>, StoreError> {
    let client: Option<PlannedClient> = sqlx::query_as(
        "select c.*, ports.port from clients c left join ports on ports.client_id = c.id
         where c.id = $1 and c.gateway = $2",
    )
    .bind(id.0)
    .bind(own)
    .fetch_optional(&mut *db)
    .await?;
    let proxies = proxies::of_client(db, own, id).await?;
    let mappings = mappings::of_client(db, id).await?;
    let holds = holds::of_client(db, id).await?;
    Ok(assemble(client.into_iter().collect(), proxies, mappings, holds, vault)?.pop())
}

fn assemble(
    clients: Vec<PlannedClient>,
    proxies: Vec<proxies::Row>,
    mappings: Vec<mappings::Row>,
    mut holds: HashMap<MappingId, ExitHold>,
    vault: &Vault,
) -> Result<Vec<ClientPlan>, StoreError> {
    let mut dials: HashMap<Uuid, ProxyDial> = HashMap::with_capacity(proxies.len());
    for proxy in proxies {
        dials.insert(proxy.id, proxy.dial(vault)?);
    }
    let mut routes: HashMap<ClientId, Vec<Route>> = HashMap::with_capacity(clients.len());
    for row in mappings {
        // The foreign key says that there is one.
        let Some(proxy) = dials.get(&row.proxy_id).cloned() else { continue };
        let (going, mapping) = (row.removed_at.is_some(), Mapping::from(row));
        let route = Route { going, hold: holds.remove(&mapping.id), mapping, proxy };
        routes.entry(route.mapping.client_id).or_default().push(route);
    }
    let plan = |PlannedClient { client, removed_at, port }| {
        let routes = routes.remove(&ClientId(client.id)).unwrap_or_default();
        ClientPlan {
            client: client.into(),
            going: removed_at.is_some(),
            port: port.map(|port| port.0),
            routes,
        }
    };
    Ok(clients.into_iter().map(plan).collect())
}

pub(super) async fn going_mappings(
    db: &mut Connection,
    client: ClientId,
) -> Result<Vec<MappingId>, StoreError> {
    let ids: Vec<Uuid> =
        sqlx::query_scalar("select id from mappings where client_id = $1 and removed_at is not null")
            .bind(client.0)
            .fetch_all(db)
            .await?;
    Ok(ids.into_iter().map(MappingId).collect())
}

pub(super) async fn finish_removal(
    db: &mut Connection,
    client: ClientId,
    mappings: &[MappingId],
) -> Result<(), StoreError> {
    for mapping in mappings {
        sqlx::query("delete from mappings where id = $1 and client_id = $2 and removed_at is not null")
            .bind(mapping.0)
            .bind(client.0)
            .execute(&mut *db)
            .await?;
    }
    for what_nothing_holds in [
        "delete from ports where client_id = $1
            and not exists (select 1 from mappings where client_id = $1)",
        "delete from clients where id = $1 and removed_at is not null
            and not exists (select 1 from ports where client_id = $1)",
    ] {
        sqlx::query(what_nothing_holds).bind(client.0).execute(&mut *db).await?;
    }
    exits::forget(db, client).await?;
    proxies::sweep(db).await
}
