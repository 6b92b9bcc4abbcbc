//! The gateway's own authority: made at the first start, kept with the state, pinned by clients.
//! And who is shown what it has signed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use pgw_core::files;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use crate::tls::Pin;
use crate::wire::{ALPN, SERVER_NAME};

/// In the state directory: below what is the tunnels' alone, as their daemon may make nothing beside it.
const FILE: &str = "tunnel/ca.pem";

/// Key and certificate, in one file, so that it is there whole or not at all.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    own: Arc<CertifiedKey>,
}

/// Whose certificate is shown to whom.
#[derive(Debug)]
struct Faces {
    own: Arc<CertifiedKey>,
    /// The operator's, for visitors.
    visitors: Option<Arc<Certificate>>,
}

impl Authority {
    /// Loads it, or makes it where there is none. One that cannot be read is never replaced: all
    /// clients would have to be told the new pin.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(FILE);
        let pem = match std::fs::read_to_string(&path) {
            Ok(pem) => pem,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let pem = make().map_err(io::Error::other)?;
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                match files::create(&path, 0o600, pem.as_bytes()) {
                    Ok(()) => pem,
                    Err(there) if there.kind() == io::ErrorKind::AlreadyExists => {
                        std::fs::read_to_string(&path)?
                    }
                    Err(error) => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        Self::from_pem(&pem).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::from_pem(pem)?;
        let malformed = |_error| rcgen::Error::CouldNotParseCertificate;
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(malformed)?;
        let issuer = Issuer::new(params(), key);
        // Of one run: nobody but the authority is pinned.
        let leaf_key = KeyPair::generate()?;
        let mut leaf = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        always_valid(&mut leaf);
        let leaf = leaf.signed_by(&leaf_key, &issuer)?;
        let signing = PrivateKeyDer::try_from(leaf_key.serialize_der())
            .ok()
            .and_then(|key| aws_lc_rs::sign::any_supported_type(&key).ok())
            .ok_or(rcgen::Error::CouldNotParseKeyPair)?;
        let chain = vec![leaf.der().clone(), certificate.clone()];
        Ok(Self { certificate, own: Arc::new(CertifiedKey::new(chain, signing)) })
    }

    pub fn pin(&self) -> Pin {
        Pin::of(&self.certificate)
    }

    /// For clients and visitors.
    pub fn server_config(
        &self,
        visitors: Option<Arc<Certificate>>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let faces = Faces { own: self.own.clone(), visitors };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(faces));
        config.alpn_protocols = vec![ALPN.to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Faces {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_client = hello.server_name() == Some(SERVER_NAME)
            || hello.alpn().is_some_and(|mut asked| asked.any(|protocol| protocol == ALPN));
        match &self.visitors {
            Some(operators) if !is_client => Some(operators.shown()),
            // A visitor who is shown this one is warned by his browser, and a script that knows what it
            // wants to download can still do so.
            Some(_) | None => Some(self.own.clone()),
        }
    }
}

/// For as long as calendars go: a client whose clock begins in 1970 has to come in, and the
/// operator's word ends it, not a date.
fn always_valid(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(1970, 1, 1);
    params.not_after = rcgen::date_time_ymd(9999, 12, 31);
}

/// What the authority is, and signs as.
fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    always_valid(&mut params);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "pgw tunnels");
    params
}

fn make() -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = params().self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_is_the_same_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::open(dir.path()).unwrap().pin();
        assert_eq!(Authority::open(dir.path()).unwrap().pin(), first);
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Pin::of_pem(&std::fs::read(&path).unwrap()), Ok(first));
    }

    #[test]
    fn one_that_cannot_be_read_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tunnel")).unwrap();
        std::fs::write(dir.path().join(FILE), "damaged").unwrap();
        Authority::open(dir.path()).unwrap_err();
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), "damaged");
    }
}
