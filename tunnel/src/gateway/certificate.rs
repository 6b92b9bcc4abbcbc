//! The operator's certificate, which visitors are shown. Whatever renews it need not know this program:
//! the files are looked at, and what can be used is shown from then on.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

const LOOK: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    shown: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Stamps>,
}

/// Of both files: another one there has another.
type Stamps = [Option<(u64, i64, i64, u64)>; 2];

#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("{} cannot be read: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    /// Also of a key that belongs to another certificate.
    #[error("{} with {} cannot be used: {why}", chain.display(), key.display())]
    Refused { chain: PathBuf, key: PathBuf, why: String },
}

impl Certificate {
    /// A chain and its key, as PEM.
    pub fn open(chain: &Path, key: &Path) -> Result<Self, Unusable> {
        // Before they are read: what changes in between is seen at the next look.
        let seen = Mutex::new([stamp(chain), stamp(key)]);
        let shown = RwLock::new(Arc::new(load(chain, key)?));
        Ok(Self { chain: chain.to_owned(), key: key.to_owned(), shown, seen })
    }

    pub fn shown(&self) -> Arc<CertifiedKey> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new chain beside the old key is refused, and looked at again when the key has come.
    pub fn look(&self) {
        let now = [stamp(&self.chain), stamp(&self.key)];
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), now);
        if before == now {
            return;
        }
        match load(&self.chain, &self.key) {
            Ok(loaded) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
                tracing::info!(certificate = %self.chain.display(), "visitors are shown the new certificate");
            }
            Err(error) => tracing::warn!(%error, "visitors are still shown the certificate of before"),
        }
    }

    /// Looks now and then, and does not return.
    pub async fn keep(self: Arc<Self>) {
        let mut due = tokio::time::interval(LOOK);
        loop {
            due.tick().await;
            let this = self.clone();
            let _panicked = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }
}

fn stamp(path: &Path) -> Option<(u64, i64, i64, u64)> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.ino(), about.mtime(), about.mtime_nsec(), about.len()))
}

fn load(chain: &Path, key: &Path) -> Result<CertifiedKey, Unusable> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Unusable::Unreadable { path: path.to_owned(), error })
    };
    let refused = |why: String| Unusable::Refused { chain: chain.to_owned(), key: key.to_owned(), why };
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(chain)?).collect();
    let certificates = certificates.map_err(|error| refused(error.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| refused(error.to_string()))?;
    CertifiedKey::from_der(certificates, secret, &aws_lc_rs::default_provider())
        .map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate of its own, and its key.
    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["demo.example.com".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_renewed_certificate_is_shown_and_one_that_cannot_be_used_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        // As programs that renew do it: another file in its place.
        let put = |path: &Path, text: &str| {
            let new = dir.path().join("new");
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, path).unwrap();
        };
        let (first, second) = (made(), made());
        assert!(matches!(Certificate::open(&chain, &key), Err(Unusable::Unreadable { .. })));
        put(&chain, &first.0);
        put(&key, &second.1);
        assert!(matches!(Certificate::open(&chain, &key), Err(Unusable::Refused { .. })));
        put(&key, &first.1);
        let certificate = Certificate::open(&chain, &key).unwrap();
        let shows = |pem: &str| certificate.shown().cert.first() == Some(&der(pem));
        assert!(shows(&first.0));
        put(&chain, &second.0);
        certificate.look();
        assert!(shows(&first.0), "the key has not come yet");
        put(&key, &second.1);
        certificate.look();
        assert!(shows(&second.0));
        for broken in ["", "damaged"] {
            put(&chain, broken);
            certificate.look();
            assert!(shows(&second.0));
        }
        std::fs::remove_file(&chain).unwrap();
        certificate.look();
        assert!(shows(&second.0));
        put(&chain, &second.0);
        certificate.look();
        assert!(shows(&second.0));
    }
}
