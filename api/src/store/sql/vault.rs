//! The key of the secrets, held against the database that it is to open.

use std::path::Path;

use pgw_core::ids::ProxyId;
use uuid::Uuid;

use super::db::Connection;
use crate::store::StoreError;
use crate::store::crypt::{KeyError, Vault};

const PLACE: &str = "vault:1:proof";
const PROOF: &[u8] = b"this is the key";

/// Under the write lock: of several gateways that start at once, one makes the key, and the
/// others find out that they do not have it.
pub(super) async fn open(
    db: &mut Connection,
    key_file: &Path,
) -> Result<Result<Vault, KeyError>, StoreError> {
    let proof: Option<Vec<u8>> =
        sqlx::query_scalar("select proof from vault").fetch_optional(&mut *db).await?;
    // A database from before there was a proof.
    let sealed: Option<(Uuid, Vec<u8>)> =
        sqlx::query_as("select id, password from proxies where password is not null limit 1")
            .fetch_optional(&mut *db)
            .await?;
    let vault = match Vault::load(key_file, proof.is_some() || sealed.is_some()) {
        Ok(vault) => vault,
        Err(error) => return Ok(Err(error)),
    };
    let opens = match (&proof, sealed) {
        (Some(proof), _) => vault.open_at(PLACE, proof).is_some(),
        (None, Some((id, password))) => vault.open(ProxyId(id), &password).is_ok(),
        (None, None) => true,
    };
    if !opens {
        return Ok(Err(KeyError::Wrong { path: key_file.display().to_string() }));
    }
    if proof.is_none() {
        let proof = vault.seal_at(PLACE, PROOF)?;
        sqlx::query("insert into vault (number, proof) values (1, $1)").bind(proof).execute(db).await?;
    }
    Ok(Ok(vault))
}
