//! `pgw-api backup` and `pgw-api restore`: one format, whichever database it was and will be.

pub mod file;
mod place;

use std::path::{Path, PathBuf};

use pgw_core::redact::Secret;
use pgw_core::settings::{ApiSettings, DatabaseUrl};

use crate::gateway::{self, GatewayError};
use crate::identity::{self, IdentityError};
use crate::secret_file::{self, SecretFileError};
use crate::sole::{self, SoleError};
use crate::store::Gateways as _;
use crate::store::dump::{self, DumpError};
use crate::store::open::{OpenError, Opening};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use file::{Reader, Writer};

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Sole(#[from] SoleError),
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Key(#[from] SecretFileError),
    #[error("there is no key at {0}; without it a backup's secrets could not be opened")]
    NoKey(PathBuf),
    #[error("{file} cannot be written: {source}")]
    Write { file: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Dump(#[from] DumpError),
    #[error("it holds the clients of several gateways ({0}), and a file has one: restore it into PostgreSQL")]
    Several(String),
    #[error("what was restored cannot be opened")]
    Open(#[from] OpenError),
    #[error("{file} cannot be put in its place: {source}")]
    Place { file: PathBuf, source: std::io::Error },
}

/// While the API goes on. Answers how many rows it holds.
pub async fn backup(settings: &ApiSettings, to: &Path) -> Result<u64, BackupError> {
    let key_file = &settings.key_file;
    let key = secret_file::read(key_file)?.ok_or_else(|| BackupError::NoKey(key_file.clone()))?;
    let failed = |source| BackupError::Write { file: to.to_owned(), source };
    let mut writer = Writer::create(to, Secret::new(file::hex(&key))).map_err(failed)?;
    dump::export(&settings.database_url, &mut writer).await?;
    writer.finish().map_err(failed)
}

/// What was put aside, and whose clients there are now.
#[derive(Debug)]
pub struct Restored {
    pub aside: Vec<PathBuf>,
    pub gateways: Vec<String>,
}

/// While no API runs on this state directory. Nothing that was there is lost.
pub async fn restore(settings: &ApiSettings, from: &Path) -> Result<Restored, BackupError> {
    let _sole = sole::take(&settings.state_dir)?;
    let (head, mut reader) = Reader::open(from)?;
    let key = place::key(&head.key)?;
    let gateway = gateway::name(settings.gateway.as_deref(), &settings.state_dir, &settings.database_url)?;
    let (aside, restored) = match &settings.database_url {
        DatabaseUrl::Sqlite(path) => {
            if head.gateways.len() > 1 {
                return Err(BackupError::Several(head.gateways.join(", ")));
            }
            let new = place::Beside::of(path)?;
            let opening = Opening::new(&gateway, new.key());
            place::write_key(new.key(), &key)?;
            let url = DatabaseUrl::Sqlite(new.database().to_owned());
            dump::import(&url, head.tables, &mut reader).await?;
            let store = SqliteStore::open(new.database(), &opening).await?;
            let restored = store.identity();
            store.close().await;
            let mut aside = place::replace_key(&settings.key_file, &key)?;
            aside.extend(new.take_the_place_of(path)?);
            (aside, restored)
        }
        DatabaseUrl::Postgres(url) => {
            dump::import(&settings.database_url, head.tables, &mut reader).await?;
            let aside = place::replace_key(&settings.key_file, &key)?;
            // As at a start: what later versions have added to the tables, and whether the key opens.
            let store = PostgresStore::open(url, &Opening::new(&gateway, &settings.key_file)).await?;
            let restored = store.identity();
            store.close().await;
            (aside, restored)
        }
    };
    // Last: until then a start refuses what is there, and the restore can be made again.
    identity::keep(restored.id, &settings.state_dir)?;
    Ok(Restored { aside, gateways: head.gateways })
}

#[cfg(test)]
mod tests;
