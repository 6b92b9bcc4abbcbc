//! The table `gateways`, and whose rows are whose.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use pgw_core::ports::PortRange;
use pgw_core::state::MappingState;
use sqlx::types::Text;

use super::db::{self, Connection};
use super::values::{Number, Word, now};
use crate::store::{Conflict, Gateway, News, Presence, StoreError};

/// Three times as long as it takes until it shows itself again.
const ONLINE: SignedDuration = SignedDuration::from_secs(30);

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    version: String,
    base_port: Number<u16>,
    max_port: Number<u16>,
    started_at: Text<Timestamp>,
    seen_at: Text<Timestamp>,
    clients: Number<u32>,
    ports: Number<u32>,
}

pub(super) async fn list(db: &mut Connection) -> Result<Vec<Gateway>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "select g.*,
            (select count(*) from clients where gateway = g.name and removed_at is null) as clients,
            (select count(*) from ports where gateway = g.name and port between g.base_port and g.max_port)
                as ports
         from gateways g order by name",
    )
    .fetch_all(&mut *db)
    .await?;
    let states: Vec<(String, Word<MappingState>, Number<u32>)> = sqlx::query_as(
        "select ports.gateway, m.state, count(*) from mappings m join ports on ports.client_id = m.client_id
         where m.removed_at is null group by ports.gateway, m.state",
    )
    .fetch_all(db)
    .await?;
    let states: HashMap<(String, MappingState), u32> =
        states.into_iter().map(|(gateway, state, count)| ((gateway, state.0), count.0)).collect();
    let seen_after = now() - ONLINE;
    Ok(rows.into_iter().map(|row| row.gateway(&states, seen_after)).collect())
}

impl Row {
    fn gateway(self, states: &HashMap<(String, MappingState), u32>, seen_after: Timestamp) -> Gateway {
        let ports = u32::from(self.max_port.0 - self.base_port.0) + 1;
        let in_state = |state| states.get(&(self.name.clone(), state)).copied().unwrap_or(0);
        Gateway {
            version: self.version,
            online: self.seen_at.0 > seen_after,
            started_at: self.started_at.0,
            seen_at: self.seen_at.0,
            clients: self.clients.0,
            applied: in_state(MappingState::Applied),
            pending: in_state(MappingState::Pending),
            failed: in_state(MappingState::Failed),
            ports_free: ports.saturating_sub(self.ports.0),
            name: self.name,
        }
    }
}

pub(super) async fn show(db: &mut Connection, own: &str, presence: &Presence) -> Result<(), StoreError> {
    sqlx::query(
        "insert into gateways (name, version, base_port, max_port, started_at, seen_at)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (name) do update set version = excluded.version, base_port = excluded.base_port,
            max_port = excluded.max_port, started_at = excluded.started_at, seen_at = excluded.seen_at",
    )
    .bind(own)
    .bind(presence.version)
    .bind(Number(presence.ports.base()))
    .bind(Number(presence.ports.max()))
    .bind(Text(presence.started_at))
    .bind(Text(now()))
    .execute(db)
    .await?;
    Ok(())
}

/// Another gateway's ports, if there is such a gateway.
pub(super) async fn known(db: &mut Connection, gateway: &str) -> Result<PortRange, StoreError> {
    let range: Option<(Number<u16>, Number<u16>)> =
        sqlx::query_as("select base_port, max_port from gateways where name = $1")
            .bind(gateway)
            .fetch_optional(db)
            .await?;
    let (base, max) = range.ok_or(StoreError::Conflict(Conflict::Missing("gateway")))?;
    Ok(PortRange::spanning(base.0, max.0))
}

/// Said to the others when, and only if, this transaction is committed.
pub(super) async fn tell(db: &mut Connection, own: &str, news: News) -> Result<(), StoreError> {
    Ok(db::notify(db, &format!("{own} {news}")).await?)
}

/// In a database that nobody else uses everything is this gateway's, whatever it was called before.
pub(super) async fn take_over(db: &mut Connection, own: &str) -> Result<(), StoreError> {
    let others = "select gateway from clients where gateway <> $1
                  union select gateway from proxy_health where gateway <> $1
                  union select gateway from applies where gateway <> $1
                  union select gateway from tunnel_clients where gateway <> $1";
    let others: Vec<String> = sqlx::query_scalar(others).bind(own).fetch_all(&mut *db).await?;
    for other in others {
        for step in [
            "delete from proxy_health where gateway = $1
                and proxy_id in (select proxy_id from proxy_health where gateway = $2)",
            "update proxy_health set gateway = $1 where gateway = $2",
            "update clients set gateway = $1 where gateway = $2",
            "delete from agent_news where gateway = $1 and exists (select 1 from agent_news where gateway = $2)",
            "update agent_news set gateway = $1 where gateway = $2",
            "delete from deliveries where gateway = $1
                and webhook_id in (select webhook_id from deliveries where gateway = $2)",
            "update deliveries set gateway = $1 where gateway = $2",
            "update applies set gateway = $1 where gateway = $2
                and not exists (select 1 from applies a where a.gateway = $1)",
            "update tunnel_clients set gateway = $1 where gateway = $2",
            "update tunnels set gateway = $1 where gateway = $2",
            "update tunnel_sessions set gateway = $1 where gateway = $2",
            "delete from gateways where name = $2 and name <> $1",
        ] {
            sqlx::query(step).bind(own).bind(&other).execute(&mut *db).await?;
        }
        tracing::info!(from = other, to = own, "the gateway's name has changed");
    }
    Ok(())
}
