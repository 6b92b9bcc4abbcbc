//! What operators do to tunnels.

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::redact::Secret;
use pgw_core::tunnel::{Origin, State};
use sqlx::types::Text;
use uuid::Uuid;

use super::super::db::Connection;
use super::super::events::{self, changed, changes};
use super::super::gateways::tell;
use super::super::tunnel_clients;
use super::super::values::{Number, Word, replace, unchanged};
use super::ports::{Asked, give};
use super::row::Row;
use super::{live, save};
use crate::events::{Action, NewEvent, Thing, TunnelChange};
use crate::store::crypt::Vault;
use crate::store::{By, Conflict, Ground, NewLogin, NewTunnel, News, StoreError, Tunnel, TunnelPatch};
use crate::tunnels::verdict::{OPENING, UNVERIFIED, closed_by};
use crate::tunnels::wish;

pub(in super::super) async fn create(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    new: NewTunnel,
    ground: &Ground,
) -> Result<Tunnel, StoreError> {
    let client = match tunnel_clients::live(db, new.tunnel_client_id).await {
        Err(StoreError::NotFound(what)) => return Err(StoreError::Conflict(Conflict::Missing(what))),
        found => found?,
    };
    wish::check(&new.wish, new.public_port)?;
    let asked = Asked { tunnel: None, protocol: new.wish.protocol, port: new.public_port, keeps: false };
    let port = give(db, own, &client, &asked, ground).await?;
    make(db, own, vault, &client, new, port).await
}

/// On a port that is its own already.
pub(in super::super) async fn make(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    client: &tunnel_clients::Row,
    new: NewTunnel,
    port: Option<u16>,
) -> Result<Tunnel, StoreError> {
    let mut row = Row {
        enabled: new.enabled,
        verified: new.verified,
        code: new.code.as_ref().map(|code| Word(code.hash.clone())),
        code_expires_at: new.code.as_ref().map(|code| Text(code.expires_at)),
        public_port: port.map(Number),
        ..Row::blank(Uuid::now_v7(), client, new.name, Origin::Operator)
    };
    row.seal(vault, &logins(&new.wish.basic_auth, &[])?)?;
    row.take(new.wish);
    settle(&mut row);
    save::insert(db, &row).await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::Tunnel, Action::Created, &row.name, &[]).await?;
    live(db, TunnelId(row.id)).await.map(Into::into)
}

/// An operator's; what a client asked for is its own.
async fn operators(db: &mut Connection, id: TunnelId) -> Result<Row, StoreError> {
    let row = live(db, id).await?;
    match row.origin.0 {
        Origin::Operator => Ok(row),
        Origin::Client => Err(StoreError::Conflict(Conflict::TunnelOfClient)),
    }
}

pub(in super::super) async fn update(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    id: TunnelId,
    patch: TunnelPatch,
    ground: &Ground,
) -> Result<Tunnel, StoreError> {
    let before = operators(db, id).await?;
    unchanged(patch.if_revision, before.revision)?;
    let mut wish = before.wish();
    wish::patch(&mut wish, patch.clone());
    wish::check(&wish, patch.public_port.unwrap_or(0))?;
    let had = before.public_port.map_or(0, |port| port.0);
    let wanted = patch.public_port.unwrap_or(had);
    let mut port = None;
    if wanted != had || (wanted == 0) || wish.protocol != before.protocol.0 {
        let client = tunnel_clients::live(db, TunnelClientId(before.tunnel_client_id)).await?;
        let asked = Asked {
            tunnel: Some(id),
            protocol: wish.protocol,
            port: wanted,
            keeps: wanted == had && had > 0,
        };
        port = Some(give(db, own, &client, &asked, ground).await?);
    }
    amend(db, own, vault, id, patch, port).await
}

/// With a port that is given already; without, it has the one that it had.
pub(in super::super) async fn amend(
    db: &mut Connection,
    own: &str,
    vault: &Vault,
    id: TunnelId,
    patch: TunnelPatch,
    port: Option<Option<u16>>,
) -> Result<Tunnel, StoreError> {
    let before = operators(db, id).await?;
    let (mut row, mut wish) = (before.clone(), before.wish());
    let (name, enabled, verified) = (patch.name.clone(), patch.enabled, patch.verified);
    let new_logins = patch.basic_auth.is_some();
    let mut fields = wish::patch(&mut wish, patch);
    row.public_port = port.map_or(row.public_port, |port| port.map(Number));
    if new_logins {
        let known: Vec<_> = before.users().into_iter().zip(before.passwords(vault)?).collect();
        row.seal(vault, &logins(&wish.basic_auth, &known)?)?;
    }
    row.take(wish);
    fields.extend(changes([
        ("name", replace(&mut row.name, name)),
        ("enabled", replace(&mut row.enabled, enabled)),
        ("verified", replace(&mut row.verified, verified)),
        ("public_port", row.public_port != before.public_port),
        ("basic_auth", new_logins),
    ]));
    if fields.is_empty() {
        return Ok(before.into());
    }
    if row.verified {
        (row.code, row.code_expires_at) = (None, None);
    }
    write(db, own, &before, row, &fields).await
}

/// Its port and its route are free for others until it is given new ones, within this transaction.
pub(in super::super) async fn vacate(
    db: &mut Connection,
    id: TunnelId,
    port: bool,
    route: bool,
) -> Result<(), StoreError> {
    if port {
        sqlx::query("update tunnels set public_port = null where id = $1")
            .bind(id.0)
            .execute(&mut *db)
            .await?;
    }
    if route {
        sqlx::query("update tunnels set host = $2 where id = $1")
            .bind(id.0)
            .bind(id.to_string())
            .execute(db)
            .await?;
    }
    Ok(())
}

pub(in super::super) async fn close(
    db: &mut Connection,
    own: &str,
    id: TunnelId,
) -> Result<Tunnel, StoreError> {
    let before = operators(db, id).await?;
    if !before.enabled {
        return Ok(before.into());
    }
    write(db, own, &before, Row { enabled: false, ..before.clone() }, &["enabled"]).await
}

pub(in super::super) async fn remove(
    db: &mut Connection,
    own: &str,
    id: TunnelId,
    if_revision: Option<i64>,
) -> Result<String, StoreError> {
    let row = operators(db, id).await?;
    unchanged(if_revision, row.revision)?;
    sqlx::query("delete from tunnels where id = $1").bind(id.0).execute(&mut *db).await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::Tunnel, Action::Deleted, &row.name, &[]).await?;
    Ok(row.gateway)
}

/// As it is now, with what has become another and what that means for its state.
pub(super) async fn write(
    db: &mut Connection,
    own: &str,
    before: &Row,
    mut row: Row,
    fields: &[&str],
) -> Result<Tunnel, StoreError> {
    if row.is_wanted() != before.is_wanted() || row.enabled != before.enabled {
        settle(&mut row);
    }
    save::update(db, &row).await?;
    tell(db, own, News::Tunnels).await?;
    changed(db, own, Thing::Tunnel, Action::Updated, &row.name, fields).await?;
    tell_state(db, own, before, &row, By::current()).await?;
    live(db, TunnelId(row.id)).await.map(Into::into)
}

/// What is known of its state before its daemon has heard of it.
fn settle(row: &mut Row) {
    let (state, reason) = match (row.enabled, row.verified) {
        (false, _) => (State::Offline, closed_by(By::current().0.as_deref())),
        (true, false) => (State::Pending, UNVERIFIED.to_owned()),
        (true, true) => (State::Pending, OPENING.to_owned()),
    };
    (row.state, row.reason) = (Word(state), Some(reason));
}

/// If it is another state than before.
pub(super) async fn tell_state(
    db: &mut Connection,
    own: &str,
    before: &Row,
    row: &Row,
    by: By,
) -> Result<(), StoreError> {
    if before.state.0 == row.state.0 {
        return Ok(());
    }
    let change = TunnelChange {
        tunnel_id: TunnelId(row.id),
        tunnel: &row.name,
        tunnel_client_id: TunnelClientId(row.tunnel_client_id),
        client: &row.client,
        port: row.public_port.map(|port| port.0),
        from: before.state.0,
        to: row.state.0,
        reason: row.reason.as_deref(),
    };
    events::write(db, own, &NewEvent { by: by.0, ..NewEvent::tunnel(&change) }).await.map(drop)
}

/// Who is named without a password keeps the one he has.
fn logins(wanted: &[NewLogin], known: &[(String, Secret)]) -> Result<Vec<(String, Secret)>, StoreError> {
    let with_password = |login: &NewLogin| {
        let kept = || known.iter().find(|(name, _)| *name == login.username).map(|(_, kept)| kept.clone());
        let password = login.password.clone().or_else(kept);
        Some((login.username.clone(), password?))
    };
    let missing = Conflict::Unfit { field: "basic_auth", detail: "needs a password for each new name" };
    wanted.iter().map(with_password).collect::<Option<_>>().ok_or(StoreError::Conflict(missing))
}
