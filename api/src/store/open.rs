//! How a database is opened, whichever it is, and why it cannot be.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pgw_core::ids::DatabaseId;
use pgw_core::settings::DatabaseUrl;
use sqlx::Database;
use sqlx::migrate::MigrateError;
use sqlx::pool::PoolOptions;

use super::crypt::KeyError;
use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{Store, StoreError};

/// How long a caller waits for the write lock or for a connection.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Enough for lists while a write is under way; readers never wait for the writer.
pub(super) const READERS: u32 = 4;
/// For one piece of work, in patiences: it waits for the lock, and then does something.
pub(super) const PATIENCES_FOR_WORK: u32 = 3;

/// What is needed beside the address.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Who this is among the gateways that share the database.
    pub gateway: String,
    /// Opens what is sealed in it.
    pub key_file: PathBuf,
    /// The database that this gateway had until now.
    pub expected: Option<DatabaseId>,
    /// Another one than `PATIENCE` in tests only.
    pub patience: Duration,
}

impl Opening {
    pub fn new(gateway: &str, key_file: &Path) -> Self {
        let (gateway, key_file) = (gateway.to_owned(), key_file.to_owned());
        Self { gateway, key_file, expected: None, patience: PATIENCE }
    }

    pub(super) fn pool<DB: Database>(&self, size: u32) -> PoolOptions<DB> {
        PoolOptions::new().max_connections(size).acquire_timeout(self.patience)
    }
}

/// Why the program cannot start with this database. `database` is a path or a server, as an
/// operator knows it: never a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("PGW_DATABASE_URL cannot be used: {0}")]
    Url(String),
    #[error(
        "PGW_DATABASE_URL: the database {path} cannot be made or opened, which takes a folder that is there and \
         that pgw-api may write to: {source}"
    )]
    File { path: PathBuf, source: io::Error },
    #[error("PGW_DATABASE_URL: the database {database} cannot be opened")]
    Database {
        database: String,
        #[source]
        source: sqlx::Error,
    },
    #[error(
        "PGW_DATABASE_URL: the database {path} is missing, and a new one would let go of every device; set it \
         back, or restore a backup, or remove the file \"database\" in PGW_STATE_DIR to begin anew"
    )]
    Missing { path: PathBuf },
    #[error(
        "PGW_DATABASE_URL leads to another database than this gateway had until now, which may know none of its \
         devices; set it back, or remove the file \"database\" in PGW_STATE_DIR to go on with this one"
    )]
    Another,
    #[error(
        "PGW_DATABASE_URL: the database {database} was written by a newer version of pgw; install that version"
    )]
    Newer { database: String },
    #[error("PGW_DATABASE_URL: the tables of {database} cannot be brought up to date")]
    Migrate {
        database: String,
        #[source]
        source: MigrateError,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "another pgw-api that is running on the database {database} is called {gateway:?}; stop it, or give \
         this one a name of its own: PGW_GATEWAY"
    )]
    NameTaken { gateway: String, database: String },
    /// The secrets' key cannot be held against it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OpenError {
    pub(super) fn migrating(database: &str, source: MigrateError) -> Self {
        let database = database.to_owned();
        match source {
            MigrateError::VersionMissing(_) => Self::Newer { database },
            source => Self::Migrate { database, source },
        }
    }
}

/// Brings its tables up to date, and reads the key of its secrets.
pub async fn open(url: &DatabaseUrl, opening: &Opening) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match url {
        DatabaseUrl::Sqlite(path) => Arc::new(SqliteStore::open(path, opening).await?),
        DatabaseUrl::Postgres(url) => Arc::new(PostgresStore::open(url, opening).await?),
    })
}
