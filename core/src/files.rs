//! Files that are there whole or not at all, also when the power fails. Behind the feature
//! `files`: like `dial`, an impure room, for the programs that keep state.

pub mod socket;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Makes the file say this, whatever it said before.
pub fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    fs::rename(write_beside(path, mode, content)?, path)?;
    sync_parent(path)
}

/// Fails with `AlreadyExists` if the file is there: what an earlier start made is worth more.
pub fn create(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let beside = write_beside(path, mode, content)?;
    // Unlike a rename, a link never replaces what another process has just made.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside)?;
    linked?;
    sync_parent(path)
}

/// Fine when there is none.
pub fn remove(path: &Path) -> io::Result<()> {
    if remove_if_there(path)? { sync_parent(path) } else { Ok(()) }
}

/// The name begins with a dot and ends in `.new`, so that whoever lists the directory knows it.
fn write_beside(path: &Path, mode: u32, content: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = path.with_file_name(format!(".{}.new", name.to_string_lossy()));
    // A leftover of a write that was cut off is not reused: its mode might be another.
    remove_if_there(&beside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    Ok(beside)
}

fn remove_if_there(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What was linked, renamed or removed there is so after a power cut, too.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let here = Path::new(".");
    let dir = path.parent().map(|dir| if dir.as_os_str().is_empty() { here } else { dir });
    dir.map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(path: &Path) -> (String, u32) {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        (fs::read_to_string(path).unwrap(), mode & 0o777)
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_without_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        fs::write(dir.path().join(".state.new"), "cut off").unwrap();
        replace(&path, 0o640, b"one").unwrap();
        assert_eq!(read(&path), ("one".to_owned(), 0o640));
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!(read(&path), ("two".to_owned(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_is_never_made_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        create(&path, 0o600, b"one").unwrap();
        assert_eq!(create(&path, 0o600, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path), ("one".to_owned(), 0o600));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn removing_what_is_not_there_is_fine_and_a_missing_directory_is_told() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("nothing")).unwrap();
        assert!(replace(&dir.path().join("no/such/dir"), 0o600, b"").is_err());
    }
}
