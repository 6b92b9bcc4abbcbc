//! In which country an address is, by a file of the operator's (`PGW_GEOIP_FILE`). It is read again
//! when it changes; without it no country is known, and whoever expects one is closed.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use maxminddb::{PathElement, Reader};
use pgw_core::country::Country;

const EVERY: Duration = Duration::from_secs(2);
/// Files of countries have a tenth of this.
const LARGEST: u64 = 128 << 20;

/// The ways in which files name a country: those of MaxMind's kind, and two plain ones.
const FIELDS: [&[&str]; 3] = [&["country", "iso_code"], &["country_code"], &["country"]];

pub struct GeoIp {
    file: Option<PathBuf>,
    /// What was made of the file, and of which state of it.
    read: RwLock<(Option<Mark>, Read)>,
}

enum Read {
    Good(Reader<Vec<u8>>),
    /// Why not, in words.
    Not(String),
}

/// Of a file: when it has another one, it is another file or has another content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    changed: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl GeoIp {
    /// A file that cannot be used keeps nothing from starting.
    pub fn open(file: Option<PathBuf>) -> Self {
        let unset = || (None, Read::Not("PGW_GEOIP_FILE is not set".to_owned()));
        let own = Self { read: RwLock::new(file.as_deref().map_or_else(unset, read)), file };
        own.log();
        own
    }

    pub fn country(&self, ip: IpAddr) -> Option<Country> {
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        let Read::Good(reader) = &read.1 else { return None };
        let found = reader.lookup(ip).ok()?;
        let named = |field: &&[&str]| {
            let field: Vec<_> = field.iter().map(|key| PathElement::Key(key)).collect();
            found.decode_path::<String>(&field).ok().flatten()?.parse().ok()
        };
        FIELDS.iter().find_map(named)
    }

    /// Why no country is known, if none is.
    pub fn trouble(&self) -> Option<String> {
        match &self.read.read().unwrap_or_else(PoisonError::into_inner).1 {
            Read::Good(_) => None,
            Read::Not(why) => Some(why.clone()),
        }
    }

    /// What an operator who has set it should know.
    pub fn warning(&self) -> Option<String> {
        self.trouble().filter(|_why| self.file.is_some())
    }

    /// Returns when countries may be others than before.
    pub async fn changed(self: &Arc<Self>) {
        if self.file.is_none() {
            std::future::pending::<()>().await;
        }
        let mut seen = None;
        loop {
            tokio::time::sleep(EVERY).await;
            let own = self.clone();
            let looked = tokio::task::spawn_blocking(move || own.look_again(seen)).await;
            let Ok((now, is_another)) = looked else { continue };
            seen = Some(now);
            if is_another {
                return self.log();
            }
        }
    }

    /// Reads it when it has been the same for two looks: somebody may be writing it.
    fn look_again(&self, seen: Option<Option<Mark>>) -> (Option<Mark>, bool) {
        let Some(file) = &self.file else { return (None, false) };
        let now = fs::metadata(file).ok().map(|meta| Mark::of(&meta));
        let known = self.read.read().unwrap_or_else(PoisonError::into_inner).0;
        if now == known || seen != Some(now) {
            return (now, false);
        }
        *self.read.write().unwrap_or_else(PoisonError::into_inner) = read(file);
        (now, true)
    }

    fn log(&self) {
        let Some(file) = &self.file else { return };
        match self.warning() {
            None => tracing::info!(file = %file.display(), "countries are known"),
            Some(why) => tracing::warn!(why, "no country is known; who expects one is closed"),
        }
    }
}

impl Mark {
    fn of(meta: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self { changed: meta.modified().ok(), length: meta.len(), inode: meta.ino() }
    }
}

fn read(file: &Path) -> (Option<Mark>, Read) {
    let unusable = |why: &dyn std::fmt::Display| {
        Read::Not(format!("PGW_GEOIP_FILE={} cannot be used: {why}", file.display()))
    };
    let meta = match fs::metadata(file) {
        Ok(meta) => meta,
        Err(error) => return (None, unusable(&error)),
    };
    if meta.len() > LARGEST || !meta.is_file() {
        return (Some(Mark::of(&meta)), unusable(&format!("it is no file of at most {} MiB", LARGEST >> 20)));
    }
    let read = fs::read(file).and_then(|bytes| Reader::from_source(bytes).map_err(io::Error::other));
    (Some(Mark::of(&meta)), read.map_or_else(|error| unusable(&error), Read::Good))
}

#[cfg(test)]
mod tests;
