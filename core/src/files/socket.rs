//! A control socket at a path where the last process may have left its own.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Tells the file of one socket from another's at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|meta| Self { device: meta.dev(), inode: meta.ino() })
    }
}

/// Makes the socket, in place of one that a dead process left: whoever calls this has made sure
/// that it has the right to. Nobody finds it before it has its mode, and the old one is there
/// until the new is. It does not block.
pub fn listen(path: &Path) -> io::Result<(UnixListener, Place)> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension("sock.new");
    super::remove_if_there(&new)?;
    let listener = UnixListener::bind(&new)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o660))?;
    let place = Place::of(&new)?;
    fs::rename(&new, path)?;
    Ok((listener, place))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_newest_answers_at_the_path_and_knows_that_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/a.sock");
        let (old, olds) = listen(&path).unwrap();
        assert_eq!(Place::of(&path).unwrap(), olds);
        let (new, news) = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert!(Place::of(&path).unwrap() == news && news != olds);
        let _caller = UnixStream::connect(&path).unwrap();
        new.accept().unwrap();
        assert_eq!(old.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(fs::read_dir(dir.path().join("run")).unwrap().count(), 1, "no leftovers");
    }
}
