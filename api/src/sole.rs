//! One API per state directory: two of them, on two ports, would take each other's forwarders
//! down and give one port to two devices.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const NAME: &str = "api.lock";

/// Held while this value lives. It is the kernel that holds it, and that lets go of it however
/// the process ends; the file itself means nothing and stays.
#[derive(Debug)]
#[must_use = "the directory is given back as soon as this is dropped"]
pub struct Sole {
    _held: File,
}

#[derive(Debug, thiserror::Error)]
pub enum SoleError {
    #[error("PGW_STATE_DIR={0} belongs to another pgw-api that is running; stop that one first")]
    Taken(PathBuf),
    #[error("{path} cannot be locked: {source}")]
    File { path: PathBuf, source: io::Error },
}

/// Makes the directory where it is missing, and takes it or says who has it.
pub fn take(state_dir: &Path) -> Result<Sole, SoleError> {
    let path = state_dir.join(NAME);
    let open = || {
        std::fs::create_dir_all(state_dir)?;
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)
    };
    let file = open().map_err(|source| SoleError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(Sole { _held: file }),
        Err(TryLockError::WouldBlock) => Err(SoleError::Taken(state_dir.to_owned())),
        Err(TryLockError::Error(source)) => Err(SoleError::File { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_owner_and_a_new_one_once_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = take(&state).unwrap();
        let refused = take(&state).unwrap_err();
        assert!(matches!(refused, SoleError::Taken(_)), "{refused}");
        assert!(refused.to_string().contains(&*state.to_string_lossy()), "{refused}");
        drop(first);
        let _second = take(&state).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = take(&file).unwrap_err();
        assert!(matches!(error, SoleError::File { .. }), "{error}");
    }
}
