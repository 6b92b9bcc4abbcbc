//! One API per state directory, and per directory of control sockets: two of them, on two ports, would
//! take each other's forwarders down and give one port to two devices.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const NAME: &str = "api.lock";
/// Where the control sockets are: `PGW_RUN_DIR` itself may belong to somebody else.
const SOCKETS: &str = "fwd";

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
    #[error(
        "the forwarders of PGW_RUN_DIR={0} are kept by another pgw-api that is running; stop that one first"
    )]
    ForwardersTaken(PathBuf),
    #[error("PGW_STATE_DIR={path} is not there and cannot be made: {source}")]
    Missing { path: PathBuf, source: io::Error },
    #[error(
        "{setting}={dir} cannot be used, which takes a folder that pgw-api may write to: {path}: {source}"
    )]
    File { setting: &'static str, dir: PathBuf, path: PathBuf, source: io::Error },
}

/// Takes it or says who has it. One that is missing is made where the folder above it is there, and said
/// aloud: whoever has mistyped it has a gateway without any devices. The agent, which remembers whose rules
/// it holds, does not follow.
pub fn take(state_dir: &Path) -> Result<Sole, SoleError> {
    if !state_dir.exists() {
        let made = DirBuilder::new().mode(0o700).create(state_dir);
        made.map_err(|source| SoleError::Missing { path: state_dir.to_owned(), source })?;
        let path = state_dir.display();
        tracing::warn!(%path, "PGW_STATE_DIR was not there and is made: this gateway is a new one, and knows no device");
    }
    let path = state_dir.join(NAME);
    let held = lock(&path).map_err(|source| unusable("PGW_STATE_DIR", state_dir, &path, source))?;
    held.ok_or_else(|| SoleError::Taken(state_dir.to_owned()))
}

/// Also by an API with another state directory. What is below it does not survive a boot, and is made.
pub fn take_forwarders(run_dir: &Path) -> Result<Sole, SoleError> {
    let sockets = run_dir.join(SOCKETS);
    let path = sockets.join(NAME);
    let held = std::fs::create_dir_all(&sockets).and_then(|()| lock(&path));
    let held = held.map_err(|source| unusable("PGW_RUN_DIR", run_dir, &path, source))?;
    held.ok_or_else(|| SoleError::ForwardersTaken(run_dir.to_owned()))
}

fn unusable(setting: &'static str, dir: &Path, path: &Path, source: io::Error) -> SoleError {
    SoleError::File { setting, dir: dir.to_owned(), path: path.to_owned(), source }
}

/// None: somebody else has it.
fn lock(path: &Path) -> io::Result<Option<Sole>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Sole { _held: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_state_directory_has_one_owner_and_a_new_one_once_that_is_gone() {
        let state = tempfile::tempdir().unwrap();
        let first = take(state.path()).unwrap();
        let refused = take(state.path()).unwrap_err();
        assert!(matches!(refused, SoleError::Taken(_)), "{refused}");
        assert!(refused.to_string().contains(&*state.path().to_string_lossy()), "{refused}");
        drop(first);
        let _second = take(state.path()).unwrap();
    }

    #[test]
    fn a_state_directory_is_made_only_where_the_folder_above_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let _sole = take(&dir.path().join("state")).unwrap();
        let mode = std::fs::metadata(dir.path().join("state")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let mistyped = dir.path().join("pwg/state");
        let refused = take(&mistyped).unwrap_err();
        assert!(matches!(refused, SoleError::Missing { .. }), "{refused}");
        let line = refused.to_string();
        assert!(
            line.contains(&format!("PGW_STATE_DIR={}", mistyped.display())) && !line.contains('\n'),
            "{line}"
        );
        assert!(!mistyped.exists());
    }

    #[test]
    fn forwarders_have_one_owner_whatever_state_directory_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (state, run) = (dir.path(), dir.path());
        let _state = take(state).unwrap();
        let first = take_forwarders(run).unwrap();
        let refused = take_forwarders(run).unwrap_err();
        assert!(matches!(refused, SoleError::ForwardersTaken(_)), "{refused}");
        assert!(refused.to_string().contains("PGW_RUN_DIR="), "{refused}");
        drop(first);
        let _second = take_forwarders(run).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (setting, error) in [
            ("PGW_STATE_DIR", take(&file).unwrap_err()),
            ("PGW_RUN_DIR", take_forwarders(&file).unwrap_err()),
        ] {
            assert!(matches!(error, SoleError::File { .. }), "{error}");
            assert!(error.to_string().starts_with(&format!("{setting}={}", file.display())), "{error}");
        }
    }
}
