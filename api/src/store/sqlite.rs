//! SQLite behind the `Store` trait: one file, one gateway.

mod catalog;
#[expect(clippy::duplicate_mod, reason = "the tables are written once and compiled for each database")]
#[path = "sql/mod.rs"]
mod sql;
#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use async_trait::async_trait;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::dump::{DumpError, Sink, Source};
use super::open::{OpenError, Opening, PATIENCE, READERS};

use super::{Neighbours, News};

pub use sql::SqlStore as SqliteStore;

static TABLES: Migrator = sqlx::migrate!("migrations/sqlite");

/// What `sql` has to know of SQLite.
mod db {
    use std::future::{Ready, ready};

    use sqlx::{Acquire, Connection as _, Error, Sqlite, Transaction};

    pub(super) type Db = Sqlite;
    pub(super) type Connection = sqlx::SqliteConnection;

    pub(super) use super::catalog::{as_text, from_text, imported, tables};

    /// What stands between a table's columns and the values of a dump.
    pub(super) const OVERRIDING: &str = "";

    /// Several gateways may use it.
    pub(super) const SHARED: bool = false;

    /// Takes the write lock at the start: a transaction that reads first and finds the lock
    /// taken later would fail whatever its patience.
    pub(super) async fn begin_write(connection: &mut Connection) -> Result<Transaction<'_, Sqlite>, Error> {
        connection.begin_with("begin immediate").await
    }

    pub(super) async fn begin_read(connection: &mut Connection) -> Result<Transaction<'_, Sqlite>, Error> {
        Acquire::begin(connection).await
    }

    /// There is nobody else to tell.
    pub(super) fn notify(_: &mut Connection, _: &str) -> Ready<Result<(), Error>> {
        ready(Ok(()))
    }
}

/// KiB that each connection keeps, where SQLite would keep 2,000: what it does not keep, the system does,
/// once for all of them.
const CACHE: &str = "-512";

impl SqliteStore {
    /// Makes the file where it is missing, unless one was there before; its directory must be there.
    pub async fn open(path: &Path, opening: &Opening) -> Result<Self, OpenError> {
        if opening.expected.is_some() && !path.exists() {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        create_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let database = path.display().to_string();
        let failed = |source| OpenError::Database { database: database.clone(), source };

        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered write survives a power cut: it may be what closes a device.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", CACHE)
            .busy_timeout(opening.patience);
        // On a full disk SQLite itself gives a transaction up. The library then fails to roll it
        // back, takes it for open ever after, and could begin no other on this connection.
        let write = opening.pool(1).before_acquire(|connection, _age| {
            Box::pin(async move { Ok(!sqlx::SqliteConnection::is_in_transaction(connection)) })
        });
        let write = write.connect_with(options.clone()).await.map_err(failed)?;
        TABLES.run(&write).await.map_err(|source| OpenError::migrating(&database, source))?;
        let read = opening.pool(READERS);
        let read = read.connect_with(options.pragma("query_only", "on")).await.map_err(failed)?;
        Self::over((write, read), Box::new(Nobody), opening).await
    }
}

/// Of a file that is there.
pub(super) async fn export(path: &Path, to: &mut dyn Sink) -> Result<(), DumpError> {
    let options =
        SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).pragma("query_only", "on");
    let mut connection = options.connect().await.map_err(DumpError::Open)?;
    sql::dump::export(&mut connection, &TABLES, to).await?;
    Ok(connection.close().await?)
}

/// Into a file that is made for it.
pub(super) async fn import(path: &Path, tables: i64, from: &mut dyn Source) -> Result<(), DumpError> {
    create_private(path).map_err(DumpError::Write)?;
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Wal);
    let mut connection = options.foreign_keys(false).connect().await.map_err(DumpError::Open)?;
    sql::dump::import(&mut connection, &TABLES, tables, from).await?;
    if !catalog::is_whole(&mut connection).await? {
        return Err(DumpError::Damaged("the database that was made of it is not whole".to_owned()));
    }
    Ok(connection.close().await?)
}

/// A file has one gateway.
struct Nobody;

#[async_trait]
impl Neighbours for Nobody {
    async fn next(&mut self) -> News {
        std::future::pending().await
    }
}

/// SQLite would make it readable for everybody; its journals take over the mode.
fn create_private(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_file) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
