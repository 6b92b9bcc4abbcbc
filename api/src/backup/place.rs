//! What is restored takes the place of what was there, which is kept; a restore that dies in
//! between can be made again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pgw_core::files;
use pgw_core::redact::Secret;
use zeroize::Zeroizing;

use super::BackupError;
use crate::secret_file;
use crate::store::dump::DumpError;

/// SQLite's own companions of a database.
const JOURNALS: [&str; 2] = ["-wal", "-shm"];

/// A database that is being made, and its key, beside the one that is used.
pub(super) struct Beside {
    database: PathBuf,
    key: PathBuf,
}

pub(super) fn key(hex: &Secret) -> Result<Zeroizing<Vec<u8>>, DumpError> {
    let damaged = || DumpError::Damaged("its key is none".to_owned());
    let digits = hex.expose().as_bytes();
    let mut key = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks(2) {
        let text = std::str::from_utf8(pair).map_err(|_no_digits| damaged())?;
        key.push(u8::from_str_radix(text, 16).map_err(|_no_digits| damaged())?);
    }
    Ok(key)
}

pub(super) fn write_key(path: &Path, key: &[u8]) -> Result<(), BackupError> {
    files::replace(path, 0o600, key).map_err(failed(path))
}

/// The former one is put aside, if it is another. It goes first: the former database with a new
/// key is told at the start, a new one with the former key would be as well, and neither opens.
pub(super) fn replace_key(path: &Path, key: &[u8]) -> Result<Vec<PathBuf>, BackupError> {
    let before = secret_file::read(path)?;
    if before.as_ref().is_some_and(|before| before.as_slice() == key) {
        return Ok(Vec::new());
    }
    let mut aside = Vec::new();
    if before.is_some() {
        aside.push(put_aside(path)?);
    }
    write_key(path, key)?;
    Ok(aside)
}

impl Beside {
    /// What an interrupted restore left there goes.
    pub(super) fn of(path: &Path) -> Result<Self, BackupError> {
        let database = with(path, ".restoring");
        let beside = Self { key: with(&database, ".key"), database };
        beside.remove()?;
        Ok(beside)
    }

    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    pub(super) fn key(&self) -> &Path {
        &self.key
    }

    /// At no moment is there no database: without one a start would make an empty one, and let
    /// go of every device.
    pub(super) fn take_the_place_of(self, path: &Path) -> Result<Vec<PathBuf>, BackupError> {
        let mut aside = Vec::new();
        if path.exists() {
            let kept = put_aside(path)?;
            for journal in JOURNALS {
                let of_former = with(path, journal);
                if of_former.exists() {
                    // It belongs to the former database, under that one's new name.
                    fs::hard_link(&of_former, with(&kept, journal)).map_err(failed(&of_former))?;
                    files::remove(&of_former).map_err(failed(&of_former))?;
                }
            }
            aside.push(kept);
        }
        fs::rename(&self.database, path).map_err(failed(path))?;
        files::sync_parent(path).map_err(failed(path))?;
        Ok(aside)
    }

    fn remove(&self) -> Result<(), BackupError> {
        let journals = JOURNALS.map(|journal| with(&self.database, journal));
        for path in journals.iter().chain([&self.database, &self.key]) {
            files::remove(path).map_err(failed(path))?;
        }
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(error = %error, "a restore left something beside the database");
        }
    }
}

/// A second name; the first stays, too.
fn put_aside(path: &Path) -> Result<PathBuf, BackupError> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let mut aside = with(path, &format!(".before-{now}"));
    let mut n = 1;
    while aside.exists() {
        aside = with(path, &format!(".before-{now}.{n}"));
        n += 1;
    }
    fs::hard_link(path, &aside).map_err(failed(path))?;
    Ok(aside)
}

fn with(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let file = path.to_owned();
    move |source| BackupError::Place { file, source }
}
