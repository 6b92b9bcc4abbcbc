//! Small files that hold a secret: made whole or not at all, and never made over.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pgw_core::files;
use zeroize::Zeroizing;

/// No secret of ours is longer; a larger file is something else.
const LARGEST: u64 = 4096;

#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be {verb}: {source}")]
pub struct SecretFileError {
    path: PathBuf,
    verb: &'static str,
    source: io::Error,
}

/// None when there is no such file.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretFileError> {
    let failed = |source| SecretFileError { path: path.to_owned(), verb: "read", source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut content = Zeroizing::new(Vec::new());
    file.take(LARGEST + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LARGEST {
        return Err(failed(io::Error::other("it is too large to be a secret")));
    }
    Ok(Some(content))
}

/// Fails if the file is there already: what an earlier start made is worth more.
pub fn create(path: &Path, mode: u32, content: &[u8]) -> Result<(), SecretFileError> {
    files::create(path, mode, content).map_err(|source| SecretFileError {
        path: path.to_owned(),
        verb: "made",
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_secret_is_never_made_over_and_a_missing_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert!(read(&path).unwrap().is_none());
        create(&path, 0o600, b"one").unwrap();
        assert!(create(&path, 0o600, b"two").unwrap_err().to_string().contains("cannot be made"));
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"one");
    }

    #[test]
    fn a_file_too_large_to_be_a_secret_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, vec![b'x'; 5000]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("too large"));
    }
}
