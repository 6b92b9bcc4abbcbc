//! Whom TLS trusts: the certificates that the system trusts.
//!
//! Debian's bundle has exactly those. Its directory has others, too, such as the one that the
//! package `ssl-cert` makes for the machine itself, and to read both at once leaves every forwarder
//! with 0.4 MiB that it never needs again.

use std::env::var_os;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error, PemObject as _};

/// Written by Debian's `update-ca-certificates`.
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The file that has them all: the operator's, or the system's. None if the operator names a
/// directory, or if this system has them elsewhere.
pub(super) fn bundle() -> Option<PathBuf> {
    chosen(var_os("SSL_CERT_FILE"), var_os("SSL_CERT_DIR"), Path::new(BUNDLE))
}

fn chosen(file: Option<OsString>, folders: Option<OsString>, system: &Path) -> Option<PathBuf> {
    let said = |words: Option<OsString>| words.filter(|words| !words.is_empty());
    match (said(file), said(folders)) {
        (_, Some(_folders)) => None,
        (Some(file), None) => Some(file.into()),
        (None, None) => system.exists().then(|| system.to_owned()),
    }
}

/// Reads one certificate at a time. One that says nothing is passed over: it makes nobody trusted.
pub(super) fn read(bundle: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle).map_err(unreadable)? {
        let _strange = roots.add(certificate.map_err(unreadable)?);
    }
    if roots.is_empty() {
        return Err(io::Error::other(format!("there is no certificate in {}", bundle.display())));
    }
    Ok(roots)
}

/// What the system says is kept as it is: no file may be left to be opened.
fn unreadable(error: Error) -> io::Error {
    if let Error::Io(told) = error { told } else { io::Error::other(error) }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, generate_simple_self_signed};

    use super::*;

    fn certificate(name: &str) -> String {
        let CertifiedKey { cert, .. } = generate_simple_self_signed(vec![name.into()]).unwrap();
        cert.pem()
    }

    fn read_text(text: &str) -> io::Result<RootCertStore> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read(file.path())
    }

    #[test]
    fn the_operators_word_comes_before_the_systems() {
        let system = tempfile::NamedTempFile::new().unwrap();
        let (system, missing) = (system.path(), Path::new("/nowhere/bundle.crt"));
        for (file, folders, at, want) in [
            (None, None, system, Some(system)),
            (Some(""), Some(""), system, Some(system)),
            (None, None, missing, None),
            (Some("/nowhere/own.crt"), None, system, Some(Path::new("/nowhere/own.crt"))),
            (Some("/nowhere/own.crt"), Some("/nowhere"), system, None),
            (None, Some("/nowhere"), system, None),
        ] {
            let got = chosen(file.map(OsString::from), folders.map(OsString::from), at);
            assert_eq!(got.as_deref(), want, "{file:?} {folders:?}");
        }
    }

    #[test]
    fn every_certificate_of_a_bundle_is_trusted_and_nothing_else() {
        let strange = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = ["# a remark\n", &certificate("a.example"), strange, &certificate("b.example")].concat();
        assert_eq!(read_text(&text).unwrap().len(), 2);
    }

    #[test]
    fn a_bundle_that_names_nobody_or_is_garbled_is_an_error() {
        let torn = certificate("a.example").replace("-----END", "");
        for text in ["", "nothing of the kind\n", &torn] {
            assert!(read_text(text).is_err(), "{text:?}");
        }
        let missing = read(Path::new("/nowhere/bundle.crt")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
