//! What SQLite says, as decisions: a conflict, a condition that may pass, or a failure.

use sqlx::error::DatabaseError;

use crate::store::{Conflict, StoreError};

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

/// SQLite names the columns of a unique index and the name of a check.
fn conflict(error: &dyn DatabaseError) -> Option<Conflict> {
    let broken = |columns: &str| error.message().split(": ").any(|part| part == columns);
    if error.is_unique_violation() {
        [
            ("proxies.name", Conflict::NameTaken("proxy")),
            ("tokens.name", Conflict::NameTaken("token")),
            ("users.name", Conflict::NameTaken("user")),
            ("clients.ip", Conflict::AddressTaken),
            ("mappings.client_id, mappings.proxy_id", Conflict::PairTaken),
        ]
        .into_iter()
        .find_map(|(columns, conflict)| broken(columns).then_some(conflict))
    } else {
        (error.is_check_violation() && broken("password_needs_username")).then_some(Conflict::PasswordAlone)
    }
}

/// Why the database cannot be used now, if the cause lies outside of what was asked of it.
fn passing(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::PoolTimedOut => Some("every connection to it is busy"),
        sqlx::Error::PoolClosed => Some("pgw-api is stopping"),
        sqlx::Error::Io(_) => Some("its file cannot be read or written"),
        sqlx::Error::Database(error) => {
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
        _ => None,
    }
}
