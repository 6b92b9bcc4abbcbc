//! The token: made here, so that the gateway never has it, and kept in a file that only its owner reads.

use std::io;
use std::path::Path;

use pgw_core::redact::Secret;

use crate::secret;

/// The one that is there, or a new one. It is kept before anybody hears of it: an enrolment whose
/// answer was lost is asked for again with the same token.
pub(super) fn load_or_make(path: &Path) -> io::Result<Secret> {
    match load(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let token = secret::random()?;
            match keep(path, &token) {
                Ok(()) => Ok(token),
                // Another of us was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
                Err(error) => Err(error),
            }
        }
        loaded => loaded,
    }
}

pub(super) fn load(path: &Path) -> io::Result<Secret> {
    let token = Secret::new(std::fs::read_to_string(path)?.trim());
    if secret::is_long_enough(&token) {
        Ok(token)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "it does not hold a token of 64 hexadecimal digits"))
    }
}

#[cfg(unix)]
fn keep(path: &Path, token: &Secret) -> io::Result<()> {
    pgw_core::files::create(path, 0o600, token.expose().as_bytes())
}

/// Who may read it is what the directory says: the configuration is there as well.
#[cfg(not(unix))]
fn keep(path: &Path, token: &Secret) -> io::Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(token.expose().as_bytes())?;
    file.sync_all()
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_once_and_read_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pi.token");
        let token = load_or_make(&path).unwrap();
        assert_eq!(load_or_make(&path).unwrap(), token);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        assert_eq!(load_or_make(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
