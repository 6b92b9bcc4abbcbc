//! Which database this gateway is at. Another one, new or mistyped, knows none of its devices, and
//! would have all of them let go.

use std::io;
use std::path::{Path, PathBuf};

use pgw_core::files;
use pgw_core::ids::DatabaseId;

#[derive(Debug, thiserror::Error)]
#[error("{file} cannot be used: {source}")]
pub struct IdentityError {
    file: PathBuf,
    source: io::Error,
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("database")
}

/// The one that this gateway had until now, if it had any.
pub fn known(state_dir: &Path) -> Result<Option<DatabaseId>, IdentityError> {
    let file = file(state_dir);
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError { file, source }),
    };
    match text.trim().parse() {
        Ok(id) => Ok(Some(DatabaseId(id))),
        Err(_no_id) => {
            let why =
                "it should hold the id of the database; remove it to go on with the one of PGW_DATABASE_URL";
            Err(IdentityError { file, source: io::Error::other(why) })
        }
    }
}

/// Once it has been opened as the one that was expected, or was restored on purpose.
pub fn keep(id: DatabaseId, state_dir: &Path) -> Result<(), IdentityError> {
    let file = file(state_dir);
    let text = format!("{id}\n");
    files::replace(&file, 0o600, text.as_bytes()).map_err(|source| IdentityError { file, source })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_kept_is_known_until_somebody_removes_it_and_damage_is_never_taken_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(known(dir.path()).unwrap(), None);
        for n in [1, 2] {
            let id = DatabaseId(Uuid::from_u128(n));
            keep(id, dir.path()).unwrap();
            assert_eq!(known(dir.path()).unwrap(), Some(id));
        }
        for damage in ["", "two words\n"] {
            std::fs::write(file(dir.path()), damage).unwrap();
            let error = known(dir.path()).unwrap_err().to_string();
            assert!(error.contains("/database cannot be used") && error.contains("remove it"), "{error}");
        }
        std::fs::remove_file(file(dir.path())).unwrap();
        assert_eq!(known(dir.path()).unwrap(), None);
    }
}
