//! What a database says, as decisions: a conflict, a condition that may pass, or a failure.

use std::io;

use pgw_core::tunnel::PortConflict;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

use crate::store::{Conflict, StoreError};

/// What a unique index guards: its name, which PostgreSQL tells, and its columns, which SQLite does.
const UNIQUE: &[(&str, &str, Conflict)] = &[
    ("proxies_name", "proxies.name", Conflict::NameTaken("proxy")),
    ("tokens_name", "tokens.name", Conflict::NameTaken("token")),
    ("clients_ip", "clients.gateway, clients.ip", Conflict::AddressTaken),
    ("users_name", "users.name", Conflict::NameTaken("user")),
    ("webhooks_name", "webhooks.name", Conflict::NameTaken("webhook")),
    (
        "tunnel_clients_name",
        "tunnel_clients.gateway, tunnel_clients.name",
        Conflict::NameTaken("tunnel client"),
    ),
    ("tunnels_name", "tunnels.tunnel_client_id, tunnels.name", Conflict::NameTaken("tunnel")),
    ("tunnels_tcp", "tunnels.gateway, tunnels.public_port", Conflict::Port(PortConflict::PortInUse)),
    ("tunnels_udp", "tunnels.gateway, tunnels.public_port", Conflict::Port(PortConflict::PortInUse)),
    (
        "tunnels_route",
        "tunnels.gateway, tunnels.host, tunnels.path, tunnels.header_name, tunnels.header_value",
        Conflict::RouteTaken,
    ),
    ("mappings_pair", "mappings.client_id, mappings.proxy_id", Conflict::PairTaken),
];

/// What a check guards, by its name.
const CHECKED: [(&str, Conflict); 1] = [("password_needs_username", Conflict::PasswordAlone)];

impl From<sqlx::Error> for StoreError {
    fn from(source: sqlx::Error) -> Self {
        if let Some(conflict) = source.as_database_error().and_then(conflict) {
            return Self::Conflict(conflict);
        }
        match passing(&source) {
            Some(reason) => Self::Unavailable { reason: reason.to_owned(), source },
            None => Self::Database(source),
        }
    }
}

impl StoreError {
    /// Nobody answered, so nobody knows whether it was done.
    pub(super) fn silent() -> Self {
        let source = sqlx::Error::Io(io::ErrorKind::TimedOut.into());
        Self::Unavailable { reason: "it does not answer".to_owned(), source }
    }
}

fn conflict(error: &dyn DatabaseError) -> Option<Conflict> {
    let named = |name: &str| match error.constraint() {
        Some(constraint) => constraint == name,
        None => error.message().split(": ").any(|part| part == name),
    };
    if error.is_unique_violation() {
        let broken = UNIQUE.iter().find(|(index, columns, _)| named(index) || named(columns));
        broken.map(|(_, _, conflict)| conflict.clone())
    } else if error.is_check_violation() {
        CHECKED.into_iter().find(|(check, _)| named(check)).map(|(_, conflict)| conflict)
    } else {
        None
    }
}

/// Why the database cannot be used now, if the cause lies outside of what was asked of it.
fn passing(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::PoolTimedOut => Some("no connection to it could be had in time"),
        sqlx::Error::PoolClosed => Some("pgw-api is stopping"),
        sqlx::Error::Io(_) => Some("it cannot be reached"),
        sqlx::Error::Tls(_) => Some("no trusted connection to it can be made"),
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => passing_in_postgres(error.code()),
            None => passing_in_sqlite(error.try_downcast_ref::<SqliteError>()?),
        },
        _ => None,
    }
}

fn passing_in_sqlite(error: &SqliteError) -> Option<&'static str> {
    let extended: i32 = error.code()?.parse().ok()?;
    // The low byte is the kind, whatever the details above it.
    match extended & 0xff {
        5 => Some("the database is locked by another program"),
        6 => Some("a table of it is locked"),
        8 => Some("the database, or the disk it lies on, is read-only"),
        10 => Some("the disk reports an error"),
        13 => Some("the disk is full"),
        14 => Some("its file cannot be opened"),
        _ => None,
    }
}

/// By SQLSTATE: what an operator or time can mend, and no other request.
fn passing_in_postgres(code: &str) -> Option<&'static str> {
    match code {
        "53100" => Some("its disk is full"),
        "53300" => Some("its server takes no more connections"),
        "55P03" => Some("another gateway has been writing for too long"),
        "57014" => Some("it took too long"),
        "25006" => Some("its server is read-only"),
        // What a statement was prepared for is not what the table is now.
        "0A000" => {
            Some("its tables were changed by a newer version of pgw; restart this one in that version")
        }
        _ => match code.get(..2)? {
            "08" => Some("the connection to it broke"),
            "25" | "40" => Some("its server gave the transaction up"),
            "28" => Some("its server refuses the user name or the password"),
            "3D" => Some("its server has no database of this name"),
            "53" => Some("its server is short of memory or files"),
            "57" => Some("its server is stopping or starting"),
            "58" => Some("its disk reports an error"),
            _ => None,
        },
    }
}
