//! Secrets at rest. What is sealed names its key, so that keys can be changed
//! one day, and its place, so that it opens in no other row.

use std::path::Path;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use pgw_core::ids::ProxyId;
use pgw_core::redact::Secret;
use zeroize::Zeroizing;

use super::StoreError;
use crate::secret_file::{self, SecretFileError};

/// The only key there is so far.
const KEY_NUMBER: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

pub struct Vault {
    cipher: XChaCha20Poly1305,
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("PGW_KEY_FILE: {0}")]
    File(#[from] SecretFileError),
    #[error(
        "PGW_KEY_FILE={path} holds {found} bytes instead of {KEY_BYTES}; restore it from a backup (a new one would not open the stored passwords)"
    )]
    Size { path: String, found: usize },
    #[error(
        "PGW_KEY_FILE={path} is missing, but the database holds secrets that only it opens; copy it from another gateway \
         that uses this database, or restore it from a backup"
    )]
    Missing { path: String },
    #[error(
        "PGW_KEY_FILE={path} is not the key of this database's secrets; copy it from another gateway that uses this \
         database, or restore it from a backup"
    )]
    Wrong { path: String },
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
}

impl Vault {
    /// Reads the key. Only where nothing was ever sealed is a missing one made.
    pub fn load(path: &Path, in_use: bool) -> Result<Self, KeyError> {
        let shown = || path.display().to_string();
        let key = match secret_file::read(path)? {
            Some(key) => key,
            None if in_use => return Err(KeyError::Missing { path: shown() }),
            None => {
                let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
                getrandom::fill(&mut key).map_err(KeyError::Random)?;
                secret_file::create(path, 0o600, &key)?;
                key
            }
        };
        match XChaCha20Poly1305::new_from_slice(&key) {
            Ok(cipher) => Ok(Self { cipher }),
            Err(_wrong_length) => Err(KeyError::Size { path: shown(), found: key.len() }),
        }
    }

    pub(super) fn seal(&self, proxy: ProxyId, password: &Secret) -> Result<Vec<u8>, StoreError> {
        self.seal_at(&place(proxy), password.expose().as_bytes())
    }

    pub(super) fn open(&self, proxy: ProxyId, sealed: &[u8]) -> Result<Secret, StoreError> {
        let opened = self.open_at(&place(proxy), sealed);
        let text = opened.and_then(|plain| String::from_utf8(plain).ok());
        text.map(Secret::new).ok_or_else(|| StoreError::Sealed { what: format!("proxy {proxy}") })
    }

    pub(super) fn seal_at(&self, place: &str, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| StoreError::Unavailable {
            reason: "the system gives no random numbers".to_owned(),
            source: sqlx::Error::Encode(Box::new(error)),
        })?;
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let text = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|opaque| StoreError::Database(sqlx::Error::Encode(Box::new(opaque))))?;
        Ok([&[KEY_NUMBER], nonce.as_slice(), &text].concat())
    }

    /// None: with another key, in another place, or damaged.
    pub(super) fn open_at(&self, place: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.strip_prefix(&[KEY_NUMBER])?.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: text, aad: place.as_bytes() };
        self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

fn place(proxy: ProxyId) -> String {
    format!("proxies:{proxy}:password")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;

    fn load(dir: &Path, in_use: bool) -> Result<Vault, KeyError> {
        Vault::load(&dir.join("secret.key"), in_use)
    }

    #[test]
    fn a_sealed_password_opens_in_its_own_row_with_its_own_key_only() {
        let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let vault = load(dir.path(), false).unwrap();
        let (row, other_row) = (ProxyId(Uuid::from_u128(1)), ProxyId(Uuid::from_u128(2)));
        let sealed = vault.seal(row, &Secret::new("hunter2")).unwrap();
        assert_ne!(sealed, vault.seal(row, &Secret::new("hunter2")).unwrap(), "a nonce is never used twice");
        assert_eq!(vault.open(row, &sealed).unwrap().expose(), "hunter2");
        assert!(vault.open(other_row, &sealed).is_err());
        for at in [0, 1, sealed.len() - 1] {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(vault.open(row, &damaged).is_err(), "byte {at}");
            assert!(vault.open(row, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(load(other_dir.path(), false).unwrap().open(row, &sealed).is_err());
        assert!(load(dir.path(), true).unwrap().open(row, &sealed).is_ok(), "the key outlives a restart");
    }

    #[test]
    fn a_key_that_was_lost_or_damaged_is_never_replaced_by_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        assert!(matches!(load(dir.path(), true), Err(KeyError::Missing { .. })));
        assert!(!path.exists());
        std::fs::write(&path, [7; 31]).unwrap();
        for in_use in [false, true] {
            assert!(matches!(load(dir.path(), in_use), Err(KeyError::Size { found: 31, .. })));
        }
        assert_eq!(std::fs::read(&path).unwrap(), [7; 31]);
    }

    #[test]
    fn the_key_is_readable_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), false).unwrap();
        let mode = std::fs::metadata(dir.path().join("secret.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
