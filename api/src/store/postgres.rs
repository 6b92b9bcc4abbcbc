//! PostgreSQL behind the `Store` trait: a server that several gateways share.

mod catalog;
mod hearing;
#[expect(clippy::duplicate_mod, reason = "the tables are written once and compiled for each database")]
#[path = "sql/mod.rs"]
mod sql;
#[cfg(test)]
mod tests;

use std::str::FromStr as _;
use std::time::Duration;

use pgw_core::redact::Secret;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::dump::{DumpError, Sink, Source};
use super::open::{OpenError, Opening, READERS};

use hearing::Hearing;
pub use sql::SqlStore as PostgresStore;

static TABLES: Migrator = sqlx::migrate!("migrations/postgres");

/// A gateway that lost its power is noticed by the server within this, and what it had locked is
/// free again.
const DEAD_AFTER: Duration = Duration::from_secs(15);

/// What `sql` has to know of PostgreSQL.
mod db {
    use sqlx::{Connection as _, Error, Postgres, Transaction};

    pub(super) type Db = Postgres;
    pub(super) type Connection = sqlx::PgConnection;

    pub(super) use super::catalog::{as_text, from_text, imported, tables};

    /// What stands between a table's columns and the values of a dump: numbers that the database
    /// would give out itself are these.
    pub(super) const OVERRIDING: &str = "overriding system value";

    /// Several gateways may use it.
    pub(super) const SHARED: bool = true;

    /// The number says "pgw" and means nothing to anybody else.
    const WRITERS: i64 = 0x0070_6777;

    /// One writer at a time over all gateways, as on SQLite: then a port that is free when it is
    /// looked for is free when it is taken, nobody waits for somebody who waits for him, and
    /// what is numbered is numbered in the order in which it was committed.
    pub(super) async fn begin_write(connection: &mut Connection) -> Result<Transaction<'_, Postgres>, Error> {
        let mut transaction = connection.begin().await?;
        sqlx::query("select pg_advisory_xact_lock($1)").bind(WRITERS).execute(&mut *transaction).await?;
        Ok(transaction)
    }

    pub(super) async fn begin_read(connection: &mut Connection) -> Result<Transaction<'_, Postgres>, Error> {
        connection.begin_with("begin isolation level repeatable read read only").await
    }

    pub(super) async fn notify(connection: &mut Connection, text: &str) -> Result<(), Error> {
        sqlx::query("select pg_notify($1, $2)")
            .bind(super::hearing::CHANNEL)
            .bind(text)
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl PostgresStore {
    pub async fn open(url: &Secret, opening: &Opening) -> Result<Self, OpenError> {
        let options =
            PgConnectOptions::from_str(url.expose()).map_err(|error| OpenError::Url(error.to_string()))?;
        let database = shown(&options);
        let failed = |source| OpenError::Database { database: database.clone(), source };
        let options = options
            .application_name(&format!("pgw-api {}", opening.gateway))
            .options(manners(opening.patience));
        // First of all: who has the name may change what is this gateway's.
        let hearing = Hearing::begin(&options, &database, opening).await?;
        let write = opening.pool(1).connect_with(options.clone()).await.map_err(failed)?;
        TABLES.run(&write).await.map_err(|source| OpenError::migrating(&database, source))?;
        let only_reading = options.options([("default_transaction_read_only", "on")]);
        let read = opening.pool(READERS).connect_with(only_reading).await.map_err(failed)?;
        Self::over((write, read), Box::new(hearing), opening).await
    }
}

/// Without the limits of a gateway's work: it takes as long as it takes.
pub(super) async fn export(url: &Secret, to: &mut dyn Sink) -> Result<(), DumpError> {
    let mut connection = plain(url).await?;
    sql::dump::export(&mut connection, &TABLES, to).await?;
    Ok(connection.close().await?)
}

pub(super) async fn import(url: &Secret, tables: i64, from: &mut dyn Source) -> Result<(), DumpError> {
    let mut connection = plain(url).await?;
    sql::dump::import(&mut connection, &TABLES, tables, from).await?;
    Ok(connection.close().await?)
}

async fn plain(url: &Secret) -> Result<PgConnection, DumpError> {
    let options = PgConnectOptions::from_str(url.expose()).map_err(DumpError::Open)?;
    options.application_name("pgw-api").connect().await.map_err(DumpError::Open)
}

/// Without the password, and without whatever else may stand in a URL.
fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(directory) => format!("{database} at {}", directory.display()),
        None => format!("{database} at {}:{}", options.get_host(), options.get_port()),
    }
}

/// What the server is told of this session: how long anything may take, so that a gateway that
/// hangs or has died holds none of the others up.
fn manners(patience: Duration) -> Vec<(&'static str, String)> {
    let milliseconds = |time: Duration| time.as_millis().to_string();
    let seconds = |time: Duration| time.as_secs().max(1).to_string();
    vec![
        ("lock_timeout", milliseconds(patience)),
        ("statement_timeout", milliseconds(patience * 2)),
        ("idle_in_transaction_session_timeout", milliseconds(patience)),
        ("tcp_user_timeout", milliseconds(DEAD_AFTER)),
        ("tcp_keepalives_idle", seconds(DEAD_AFTER / 3)),
        ("tcp_keepalives_interval", seconds(DEAD_AFTER / 3)),
        ("tcp_keepalives_count", "2".to_owned()),
        // An answered write survives a power cut, whatever the server does by default.
        ("synchronous_commit", "on".to_owned()),
    ]
}
