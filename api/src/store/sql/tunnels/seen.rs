//! What the tunnel daemon said, written down: only what is another than before, and what of it is news.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::ids::TunnelClientId;
use pgw_core::tunnel::{ClientStatus, Origin, SessionStatus, State, Status, TunnelStatus};
use sqlx::types::Text;
use uuid::Uuid;

use super::super::db::Connection;
use super::super::events::{self, changed};
use super::super::values::{Number, Word, now};
use super::super::{tunnel_clients, tunnel_sessions};
use super::row::Row;
use super::write::tell_state;
use super::{of_gateway, save};
use crate::events::{Action, NewEvent, Thing, TunnelClientChange};
use crate::store::{By, Seen, StoreError};
use crate::tunnels::verdict::{Facts, SILENT, verdict};

/// In seconds: how old what is said of a client that stays may be.
const SEEN_EVERY: i64 = 60;
const LONGEST_NAME: usize = 100;

pub(in super::super) async fn record(db: &mut Connection, own: &str, seen: &Seen) -> Result<(), StoreError> {
    let clients = tunnel_clients::of_gateway(db, own).await?;
    let known: BTreeSet<Uuid> = clients.iter().map(|client| client.id).collect();
    for news in seen.sessions.iter().filter(|news| known.contains(&news.client.0)) {
        tunnel_sessions::write(db, own, news.client, &news.session, news.ended.as_deref()).await?;
    }
    if let Some(status) = &seen.status {
        enrol(db, own, status, &clients).await?;
        sessions(db, own, status, &known).await?;
    }
    for client in &clients {
        see_client(db, own, client, seen).await?;
    }
    see_tunnels(db, own, seen, &clients).await
}

/// Codes that were used: their machines' tokens count from now on.
async fn enrol(
    db: &mut Connection,
    own: &str,
    status: &Status,
    clients: &[tunnel_clients::Row],
) -> Result<(), StoreError> {
    for used in &status.enrolled {
        // One that was taken back meanwhile is known no more.
        let asked: i64 = sqlx::query_scalar(
            "select count(*) from tunnel_enrolments where id = $1 and tunnel_client_id = $2",
        )
        .bind(used.enrolment.0)
        .bind(used.client.0)
        .fetch_one(&mut *db)
        .await?;
        let client = clients.iter().find(|client| client.id == used.client.0);
        if let Some(client) = client.filter(|_| asked > 0) {
            tunnel_clients::set_token(db, used.client, used.token.clone(), true).await?;
            changed(db, own, Thing::TunnelClient, Action::Updated, &client.name, &["token"]).await?;
        }
    }
    Ok(())
}

async fn sessions(
    db: &mut Connection,
    own: &str,
    status: &Status,
    known: &BTreeSet<Uuid>,
) -> Result<(), StoreError> {
    let there = |client: &ClientStatus| Some((client.id, client.session.clone()?));
    let there: Vec<_> = status.clients.iter().filter_map(there).collect();
    for (client, session) in there.iter().filter(|(client, _)| known.contains(&client.0)) {
        tunnel_sessions::write(db, own, *client, session, None).await?;
    }
    for (id, _) in tunnel_sessions::open(db, own).await? {
        if !there.iter().any(|(_, session)| session.id.0 == id) {
            tunnel_sessions::end_unseen(db, id).await?;
        }
    }
    Ok(())
}

async fn see_client(
    db: &mut Connection,
    own: &str,
    client: &tunnel_clients::Row,
    seen: &Seen,
) -> Result<(), StoreError> {
    let status = seen.status.as_ref();
    let told = status.and_then(|status| status.clients.iter().find(|told| told.id.0 == client.id));
    let session = told.and_then(|told| told.session.as_ref());
    let changed = session.map(|session| session.id.0) != client.session_id;
    match session {
        Some(session) if changed || is_old(client, session) => stays(db, client, session).await?,
        None if changed => {
            sqlx::query("update tunnel_clients set session_id = null, last_seen = $2 where id = $1")
                .bind(client.id)
                .bind(Text(now()))
                .execute(&mut *db)
                .await?;
        }
        Some(_) | None => {}
    }
    if !changed {
        return Ok(());
    }
    let reason = match (session, status) {
        (Some(_), _) => None,
        (None, None) => Some(SILENT),
        (None, Some(_)) => {
            let ended = |news: &&crate::store::SessionNews| Some(news.session.id.0) == client.session_id;
            let ended = seen.sessions.iter().filter(ended).find_map(|news| news.ended.as_deref());
            Some(ended.unwrap_or("its session ended"))
        }
    };
    let change = TunnelClientChange {
        tunnel_client_id: TunnelClientId(client.id),
        client: &client.name,
        online: session.is_some(),
        address: session.map(address).or_else(|| client.address.clone()),
        version: session.map(|session| session.version.as_str()),
        reason,
    };
    events::write(db, own, &NewEvent::tunnel_client(&change)).await.map(drop)
}

fn is_old(client: &tunnel_clients::Row, session: &SessionStatus) -> bool {
    let measured_first = client.rtt_ms.is_none() && session.rtt_ms.is_some();
    let seen = client.last_seen.as_ref().map(|Text(at)| at.as_second());
    !client.enrolled || measured_first || seen.is_none_or(|seen| now().as_second() - seen >= SEEN_EVERY)
}

async fn stays(
    db: &mut Connection,
    client: &tunnel_clients::Row,
    session: &SessionStatus,
) -> Result<(), StoreError> {
    sqlx::query(
        "update tunnel_clients set session_id = $2, address = $3, version = $4, carrier = $5, rtt_ms = $6,
            last_seen = $7, enrolled = $8 where id = $1",
    )
    .bind(client.id)
    .bind(session.id.0)
    .bind(address(session))
    .bind(&session.version)
    .bind(&session.carrier)
    .bind(session.rtt_ms.map(Number))
    .bind(Text(now()))
    .bind(true)
    .execute(db)
    .await?;
    Ok(())
}

fn address(session: &SessionStatus) -> String {
    session.address.ip().to_canonical().to_string()
}

async fn see_tunnels(
    db: &mut Connection,
    own: &str,
    seen: &Seen,
    clients: &[tunnel_clients::Row],
) -> Result<(), StoreError> {
    let mut told: BTreeMap<Uuid, &TunnelStatus> =
        seen.status.iter().flat_map(|status| &status.tunnels).map(|tunnel| (tunnel.id.0, tunnel)).collect();
    for before in of_gateway(db, own).await? {
        let now_told = told.remove(&before.id);
        if seen.status.is_some() && now_told.is_none() && before.origin.0 == Origin::Client {
            forget(db, own, &before).await?;
            continue;
        }
        let facts = Facts {
            enabled: before.enabled,
            verified: before.verified,
            client_enabled: clients
                .iter()
                .any(|client| client.id == before.tunnel_client_id && client.enabled),
            now: (before.state.0, before.reason.as_deref()),
        };
        let (state, reason) = verdict(&facts, now_told, seen.status.is_some());
        let mut row = Row { state: Word(state), reason, ..before.clone() };
        count(&mut row, now_told);
        if is_another(&row, &before) {
            save::update_seen(db, &row).await?;
            tell_state(db, own, &before, &row, By(None)).await?;
        }
    }
    for tunnel in told.into_values().filter(|tunnel| tunnel.origin == Origin::Client) {
        if let Some(client) = clients.iter().find(|client| client.id == tunnel.client_id.0) {
            appear(db, own, client, tunnel).await?;
        }
    }
    Ok(())
}

fn is_another(row: &Row, before: &Row) -> bool {
    let told = |row: &Row| (row.told_in, row.told_out, row.told_connections, row.active);
    (row.state.0, &row.reason, row.public_port) != (before.state.0, &before.reason, before.public_port)
        || told(row) != told(before)
}

/// The daemon counts from the tunnel's beginning in its own run, which may be a new one.
fn count(row: &mut Row, told: Option<&TunnelStatus>) {
    let Some(told) = told else {
        (row.active, row.told_in, row.told_out, row.told_connections) =
            (Number(0), Number(0), Number(0), Number(0));
        return;
    };
    let add = |sum: &mut Number<u64>, before: &mut Number<u64>, now: u64| {
        let more = if now >= before.0 { now - before.0 } else { now };
        // The columns hold 63 bits.
        sum.0 = sum.0.saturating_add(more).min(i64::MAX.unsigned_abs());
        before.0 = now;
    };
    add(&mut row.bytes_in, &mut row.told_in, told.bytes_in);
    add(&mut row.bytes_out, &mut row.told_out, told.bytes_out);
    add(&mut row.connections, &mut row.told_connections, told.connections);
    row.active = Number(told.active);
    if row.origin.0 == Origin::Client {
        row.public_port = told.public_port.map(Number);
    }
}

/// One that a client has asked for.
async fn appear(
    db: &mut Connection,
    own: &str,
    client: &tunnel_clients::Row,
    told: &TunnelStatus,
) -> Result<(), StoreError> {
    let name = told.name.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
    let mut row = Row {
        protocol: Word(told.protocol),
        local_host: told.target.host.clone(),
        local_port: Number(told.target.port),
        udp_idle_s: Number(30),
        ..Row::blank(told.id.0, client, name, Origin::Client)
    };
    let before = row.clone();
    let facts = Facts { enabled: true, verified: true, client_enabled: true, now: (State::Pending, None) };
    let (state, reason) = verdict(&facts, Some(told), true);
    (row.state, row.reason) = (Word(state), reason);
    count(&mut row, Some(told));
    save::insert(db, &row).await?;
    save::update_seen(db, &row).await?;
    tell_state(db, own, &before, &row, By(None)).await
}

async fn forget(db: &mut Connection, own: &str, before: &Row) -> Result<(), StoreError> {
    sqlx::query("delete from tunnels where id = $1").bind(before.id).execute(&mut *db).await?;
    let reason = Some("its client asks for it no more".to_owned());
    let gone = Row { state: Word(State::Offline), reason, ..before.clone() };
    tell_state(db, own, before, &gone, By(None)).await
}
