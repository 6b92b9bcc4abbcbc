//! The forwarders' flag files: whole or not at all, also when the power fails.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pgw_core::control::flag_path;
use pgw_core::files;
use pgw_core::flag::FlagFile;
use uuid::Uuid;

#[derive(Debug, Clone)]
pub struct Flags {
    state_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("the flag file {path} cannot be {verb}: {source}")]
pub struct FlagsError {
    path: PathBuf,
    verb: &'static str,
    source: io::Error,
}

impl Flags {
    /// Makes the directory where it is missing.
    pub fn new(state_dir: &Path) -> Result<Self, FlagsError> {
        let dir = state_dir.join("ports");
        fs::create_dir_all(&dir).map_err(|source| FlagsError { path: dir, verb: "given a place", source })?;
        Ok(Self { state_dir: state_dir.to_owned() })
    }

    /// Makes the file say this, and answers with the revision that says it. A file that says it
    /// already is left alone, so that forwarders reload only what changed.
    pub async fn write(&self, flag: FlagFile) -> Result<Uuid, FlagsError> {
        let path = flag_path(&self.state_dir, flag.port);
        blocking(path, "written", move |path| {
            if let Some(there) = read(path, flag.port)
                && there.same_but_for_revision(&flag)
            {
                return Ok(there.revision);
            }
            let text = serde_json::to_vec_pretty(&flag).map_err(io::Error::other)?;
            files::replace(path, 0o640, &text)?;
            Ok(flag.revision)
        })
        .await
    }

    /// None when there is none, or none that a forwarder would take.
    pub async fn read(&self, port: u16) -> Option<FlagFile> {
        let path = flag_path(&self.state_dir, port);
        blocking(path, "read", move |path| Ok(read(path, port))).await.ok().flatten()
    }

    /// Fine when there is none.
    pub async fn remove(&self, port: u16) -> Result<(), FlagsError> {
        blocking(flag_path(&self.state_dir, port), "removed", files::remove).await
    }

    /// The ports that have a file.
    pub async fn ports(&self) -> Result<BTreeSet<u16>, FlagsError> {
        blocking(self.state_dir.join("ports"), "listed", |dir| {
            let mut ports = BTreeSet::new();
            for entry in fs::read_dir(dir)? {
                ports.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u16>().ok()));
            }
            Ok(ports)
        })
        .await
    }
}

fn read(path: &Path, port: u16) -> Option<FlagFile> {
    FlagFile::read(&fs::read(path).ok()?, port).ok()
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    verb: &'static str,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, FlagsError> {
    let subject = path.clone();
    match tokio::task::spawn_blocking(move || work(&path)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(FlagsError { path: subject, verb, source }),
        Err(stopped) => Err(FlagsError { path: subject, verb, source: io::Error::other(stopped) }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn flag(revision: u128) -> FlagFile {
        let golden = include_bytes!("../../core/tests/golden/flag.json");
        FlagFile { revision: Uuid::from_u128(revision), ..FlagFile::read(golden, 15001).unwrap() }
    }

    #[tokio::test]
    async fn an_unchanged_configuration_keeps_its_file_and_revision() {
        let dir = tempfile::tempdir().unwrap();
        let flags = Flags::new(dir.path()).unwrap();
        assert_eq!(flags.write(flag(1)).await.unwrap(), Uuid::from_u128(1));
        assert_eq!(flags.write(flag(2)).await.unwrap(), Uuid::from_u128(1));
        let changed = FlagFile { upstreams: Vec::new(), ..flag(3) };
        assert_eq!(flags.write(changed).await.unwrap(), Uuid::from_u128(3));
    }

    #[tokio::test]
    async fn a_flag_file_is_readable_for_its_group_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let flags = Flags::new(dir.path()).unwrap();
        flags.write(flag(1)).await.unwrap();
        let mode = fs::metadata(dir.path().join("ports/15001")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[tokio::test]
    async fn a_damaged_file_is_replaced_and_removing_twice_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let flags = Flags::new(dir.path()).unwrap();
        fs::write(dir.path().join("ports/15001"), "{").unwrap();
        assert_eq!(flags.write(flag(5)).await.unwrap(), Uuid::from_u128(5));
        assert_eq!(flags.ports().await.unwrap(), BTreeSet::from([15001]));
        flags.remove(15001).await.unwrap();
        flags.remove(15001).await.unwrap();
        assert!(flags.ports().await.unwrap().is_empty());
    }
}
