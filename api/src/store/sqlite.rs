//! SQLite behind the `Store` trait: how it is opened, and that every write is one transaction.

mod clients;
mod error;
mod mappings;
mod plans;
mod ports;
mod proxies;
#[cfg(test)]
mod tests;
mod tokens;
mod traffic;
mod values;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use pgw_core::client::Client;
use pgw_core::control::Sum;
use pgw_core::ids::{ClientId, MappingId, ProxyId, TokenId};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::Verdict;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Sqlite, SqliteTransaction};

use super::crypt::{KeyError, Vault};
use super::traffic::{
    Census, Counted, HealthQuery, HealthSum, NamesRow, Owner, Traffic, TrafficQuery, TrafficRecord,
};
use super::{
    ClientPatch, ClientPlan, HealthRecord, KnownAs, ListQuery, MappingPatch, NewClient, NewMapping, NewProxy,
    NewToken, Page, ProxyDial, ProxyPatch, Store, StoreError, Token,
};

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// How long a caller waits for the write lock or for a connection.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Enough for lists while a write is under way; readers never wait for the writer.
const READERS: u32 = 4;

pub struct SqliteStore {
    /// One connection: writers queue here, in order, instead of at the file's lock.
    write: SqlitePool,
    read: SqlitePool,
    vault: Vault,
}

/// Why the program cannot start with this database.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("PGW_DATABASE_URL={0:?} is not sqlite:// and a path")]
    Url(String),
    #[error("the database {path} cannot be made or opened: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("the database {path} cannot be opened")]
    Database {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    #[error("the database {path} was written by a newer version of pgw; install that version")]
    Newer { path: PathBuf },
    #[error("the tables of {path} cannot be brought up to date")]
    Migrate {
        path: PathBuf,
        #[source]
        source: MigrateError,
    },
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl SqliteStore {
    /// Makes the file where it is missing, brings its tables up to date, and reads the key of
    /// its secrets from the state directory. `patience` is `PATIENCE` but in tests.
    pub async fn open(url: &str, state_dir: &Path, patience: Duration) -> Result<Self, OpenError> {
        let path =
            PathBuf::from(url.strip_prefix("sqlite://").ok_or_else(|| OpenError::Url(url.to_owned()))?);
        create_private(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let failed = |source| OpenError::Database { path: path.clone(), source };

        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            // An answered write survives a power cut: it may be what closes a device.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(patience);
        let pool = |size| SqlitePoolOptions::new().max_connections(size).acquire_timeout(patience);
        // On a full disk SQLite itself gives a transaction up. The library then fails to roll it
        // back, takes it for open ever after, and could begin no other on this connection.
        let write = pool(1).before_acquire(|connection, _age| {
            Box::pin(async move { Ok(!Connection::is_in_transaction(connection)) })
        });
        let write = write.connect_with(options.clone()).await.map_err(failed)?;
        match MIGRATIONS.run(&write).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(_)) => return Err(OpenError::Newer { path }),
            Err(source) => return Err(OpenError::Migrate { path, source }),
        }
        let read = pool(READERS).connect_with(options.pragma("query_only", "on")).await.map_err(failed)?;
        let in_use = sqlx::query_scalar("select exists (select 1 from proxies where password is not null)")
            .fetch_one(&read)
            .await
            .map_err(failed)?;
        let vault = Vault::load(state_dir, in_use)?;
        Ok(Self { write, read, vault })
    }

    /// Takes the write lock at the start: a transaction that reads first and finds the lock
    /// taken later would fail whatever its patience.
    async fn begin_write(&self) -> Result<SqliteTransaction<'static>, sqlx::Error> {
        self.write.begin_with("begin immediate").await
    }

    async fn reader(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.read.acquire().await
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

/// All of it, or, when any step fails, nothing.
macro_rules! in_one_write {
    ($store:ident, $tx:ident => $work:expr) => {{
        let mut $tx = $store.begin_write().await?;
        let done = $work.await?;
        $tx.commit().await?;
        Ok(done)
    }};
}

#[async_trait]
impl Store for SqliteStore {
    async fn create_proxy(&self, new: NewProxy) -> Result<Proxy, StoreError> {
        in_one_write!(self, tx => proxies::create(&mut tx, &self.vault, new))
    }

    async fn proxies(&self, query: &ListQuery) -> Result<Page<Proxy>, StoreError> {
        proxies::list(&mut *self.reader().await?, query).await
    }

    async fn proxy(&self, id: ProxyId) -> Result<Proxy, StoreError> {
        Ok(proxies::live(&mut *self.reader().await?, id).await?.into())
    }

    async fn update_proxy(&self, id: ProxyId, patch: ProxyPatch) -> Result<Proxy, StoreError> {
        in_one_write!(self, tx => proxies::update(&mut tx, &self.vault, id, patch))
    }

    async fn remove_proxy(&self, id: ProxyId, cascade: bool) -> Result<Vec<ClientId>, StoreError> {
        in_one_write!(self, tx => proxies::remove(&mut tx, id, cascade))
    }

    async fn record_health(&self, found: &[HealthRecord]) -> Result<(), StoreError> {
        in_one_write!(self, tx => proxies::record_health(&mut tx, found))
    }

    async fn upstreams(&self) -> Result<Vec<ProxyDial>, StoreError> {
        proxies::upstreams(&mut *self.reader().await?, &self.vault).await
    }

    async fn upstream(&self, id: ProxyId) -> Result<ProxyDial, StoreError> {
        proxies::live(&mut *self.reader().await?, id).await?.dial(&self.vault)
    }

    async fn clients_of_proxy(&self, id: ProxyId) -> Result<Vec<ClientId>, StoreError> {
        mappings::clients_of_proxy(&mut *self.reader().await?, id).await
    }

    async fn create_client(&self, new: NewClient) -> Result<Client, StoreError> {
        in_one_write!(self, tx => clients::create(&mut tx, new))
    }

    async fn clients_known_as(&self, known_as: &KnownAs) -> Result<Vec<ClientId>, StoreError> {
        clients::known_as(&mut *self.reader().await?, known_as).await
    }

    async fn clients(&self, query: &ListQuery) -> Result<Page<Client>, StoreError> {
        clients::list(&mut *self.reader().await?, query).await
    }

    async fn client(&self, id: ClientId) -> Result<Client, StoreError> {
        Ok(clients::live(&mut *self.reader().await?, id).await?.into())
    }

    async fn update_client(&self, id: ClientId, patch: ClientPatch) -> Result<Client, StoreError> {
        in_one_write!(self, tx => clients::update(&mut tx, id, patch))
    }

    async fn remove_client(&self, id: ClientId, cascade: bool) -> Result<(), StoreError> {
        in_one_write!(self, tx => clients::remove(&mut tx, id, cascade))
    }

    async fn create_mapping(&self, new: NewMapping, ports: &PortRange) -> Result<Mapping, StoreError> {
        in_one_write!(self, tx => mappings::create(&mut tx, new, ports))
    }

    async fn keep_ports_within(&self, ports: &PortRange) -> Result<(), StoreError> {
        in_one_write!(self, tx => ports::keep_within(&mut tx, ports))
    }

    async fn mappings(&self, query: &ListQuery) -> Result<Page<Mapping>, StoreError> {
        mappings::list(&mut *self.reader().await?, query).await
    }

    async fn mapping(&self, id: MappingId) -> Result<Mapping, StoreError> {
        Ok(mappings::live(&mut *self.reader().await?, id).await?.into())
    }

    async fn update_mapping(&self, id: MappingId, patch: MappingPatch) -> Result<Mapping, StoreError> {
        in_one_write!(self, tx => mappings::update(&mut tx, id, patch))
    }

    async fn remove_mapping(&self, id: MappingId) -> Result<ClientId, StoreError> {
        in_one_write!(self, tx => mappings::remove(&mut tx, id))
    }

    async fn record_verdict(&self, id: MappingId, verdict: &Verdict) -> Result<(), StoreError> {
        in_one_write!(self, tx => mappings::record_verdict(&mut tx, id, verdict))
    }

    async fn plans(&self) -> Result<Vec<ClientPlan>, StoreError> {
        plans::all(&mut *self.read.begin().await?, &self.vault).await
    }

    async fn plan(&self, id: ClientId) -> Result<Option<ClientPlan>, StoreError> {
        plans::one(&mut *self.read.begin().await?, &self.vault, id).await
    }

    async fn finish_removal(&self, client: ClientId, mappings: &[MappingId]) -> Result<(), StoreError> {
        in_one_write!(self, tx => plans::finish_removal(&mut tx, client, mappings))
    }

    async fn create_token(&self, new: NewToken) -> Result<Token, StoreError> {
        in_one_write!(self, tx => tokens::create(&mut tx, new))
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        tokens::list(&mut *self.reader().await?).await
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        in_one_write!(self, tx => tokens::revoke(&mut tx, id))
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        tokens::by_hash(&mut *self.reader().await?, hash).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let mut tx = self.begin_write().await?;
        sqlx::query("select count(*) from (select 1 from proxies limit 1)").execute(&mut *tx).await?;
        Ok(tx.rollback().await?)
    }
}

#[async_trait]
impl Traffic for SqliteStore {
    async fn record_traffic(&self, found: &TrafficRecord) -> Result<(), StoreError> {
        in_one_write!(self, tx => traffic::record(&mut tx, found))
    }

    async fn traffic(&self, query: &TrafficQuery) -> Result<Vec<(i64, Sum)>, StoreError> {
        traffic::over_time(&mut *self.reader().await?, query).await
    }

    async fn health_history(&self, query: &HealthQuery) -> Result<Vec<(i64, HealthSum)>, StoreError> {
        traffic::health(&mut *self.reader().await?, query).await
    }

    async fn names(&self, client: Option<ClientId>, from: i64) -> Result<Vec<NamesRow>, StoreError> {
        traffic::names(&mut *self.reader().await?, client, from).await
    }

    async fn names_of_hour(&self, at: i64) -> Result<Vec<NamesRow>, StoreError> {
        traffic::names_of_hour(&mut *self.reader().await?, at).await
    }

    async fn counted(&self, gateway: &str) -> Result<Vec<Counted>, StoreError> {
        traffic::counted(&mut *self.reader().await?, gateway).await
    }

    async fn owners(&self) -> Result<Vec<Owner>, StoreError> {
        traffic::owners(&mut *self.reader().await?).await
    }

    async fn census(&self) -> Result<Census, StoreError> {
        traffic::census(&mut *self.read.begin().await?).await
    }
}
