//! The last ruleset that the kernel confirmed, for the next boot; beside it, in a tiny file of
//! its own, who is registered, so that a ruleset that cannot be read still closes them.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use pgw_core::files;
use pgw_core::ids::{DatabaseId, Generation};
use sha2::{Digest, Sha256};

use crate::api::internal_token_file;
use crate::nft::plan::Known;
use crate::nft::render;
use crate::nft::ruleset::{Elements, Ruleset, Skeleton};

/// Tens of thousands of clients are a few MiB.
const LARGEST: u64 = 64 << 20;
const TITLE: &str = "# The ruleset that pgw-agent loads at boot; generation";
const NOTICE: &str = "# Written by pgw-agent. An edited file is refused, and registered devices are closed.";

#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    #[error("{} is missing", .0.display())]
    Missing(PathBuf),
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: &'static str },
    /// Another interface, another range, or another version of pgw.
    #[error("{} was saved under other settings or by another version of pgw-agent", .0.display())]
    OtherRules(PathBuf),
}

#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {source}", path.display())]
pub struct SaveError {
    path: PathBuf,
    source: io::Error,
}

/// `PGW_STATE_DIR/agent`.
#[derive(Debug, Clone)]
pub struct Saved {
    dir: PathBuf,
}

impl Saved {
    pub fn new(state_dir: &Path) -> Self {
        Self { dir: state_dir.join("agent") }
    }

    fn ruleset_path(&self) -> PathBuf {
        self.dir.join("ruleset.nft")
    }

    fn known_path(&self) -> PathBuf {
        self.dir.join("known-clients")
    }

    pub fn database_path(&self) -> PathBuf {
        self.dir.join("database")
    }

    /// Whose rules these are; none before the first.
    pub fn database(&self) -> Result<Option<DatabaseId>, SavedError> {
        let path = self.database_path();
        let text = match read(&path) {
            Ok(text) => text,
            Err(SavedError::Missing(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let id = text.trim().parse().map_err(|_no_id| SavedError::Damaged { path, why: "it holds no id" });
        id.map(|id| Some(DatabaseId(id)))
    }

    pub fn store_database(&self, id: DatabaseId) -> Result<(), SaveError> {
        self.write(&self.database_path(), &format!("{id}\n"))
    }

    /// Has there been a gateway here? Then what is missing was lost, and is not yet to come.
    pub fn shows_life(&self) -> bool {
        let Some(state_dir) = self.dir.parent() else { return true };
        // What may not be listed says nothing; the token, which is made first of all, can be seen.
        let holds =
            |name: &str| fs::read_dir(state_dir.join(name)).is_ok_and(|mut entries| entries.next().is_some());
        internal_token_file(state_dir).try_exists().unwrap_or(true) || holds("ports") || holds("agent")
    }

    /// If it fails, what was saved before is taken away: an old ruleset could open at boot
    /// what is closed now, and a missing one opens nothing.
    pub fn store(&self, ruleset: &Ruleset, generation: Generation) -> Result<(), SaveError> {
        let stored = self
            .write(&self.known_path(), &known_text(&ruleset.elements))
            .and_then(|()| self.write(&self.ruleset_path(), &ruleset_text(ruleset, generation)));
        if stored.is_err()
            && let Err(error) = self.forget_ruleset()
        {
            tracing::error!(%error, "the outdated ruleset for boot cannot be removed either");
        }
        stored
    }

    fn forget_ruleset(&self) -> io::Result<()> {
        match fs::remove_file(self.ruleset_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The batch, if it says what the present settings say.
    pub fn ruleset(&self, skeleton: &Skeleton) -> Result<String, SavedError> {
        let (rules, batch) = self.whole()?;
        if rules != digest_line("rules", &render::skeleton(skeleton)) {
            return Err(SavedError::OtherRules(self.ruleset_path()));
        }
        Ok(batch)
    }

    /// The batch as the last settings that could be read had it.
    pub fn last_ruleset(&self) -> Result<String, SavedError> {
        Ok(self.whole()?.1)
    }

    /// The digest of the rules, and the batch.
    fn whole(&self) -> Result<(String, String), SavedError> {
        let path = self.ruleset_path();
        let text = read(&path)?;
        let damaged = |why| SavedError::Damaged { path: path.clone(), why };
        let mut lines = text.splitn(5, '\n');
        let mut next = || lines.next().ok_or_else(|| damaged("it is cut short"));
        let (_title, _notice) = (next()?, next()?);
        let (rules, whole) = (next()?, next()?);
        let batch = next()?;
        if whole != digest_line("all", batch) {
            return Err(damaged("its digest is not that of its content"));
        }
        Ok((rules.to_owned(), batch.to_owned()))
    }

    /// Who was registered, an address to a line; behind it the hardware address, if one was said.
    pub fn known(&self) -> Result<Known, SavedError> {
        let path = self.known_path();
        let text = read(&path)?;
        let damaged = |why| SavedError::Damaged { path: path.clone(), why };
        let (digest, clients) = text.split_once('\n').ok_or_else(|| damaged("it is cut short"))?;
        if digest != digest_line("all", clients) {
            return Err(damaged("its digest is not that of its content"));
        }
        let client = |line: &str| match line.split_once(' ') {
            None => Some((line.parse().ok()?, None)),
            Some((ip, mac)) => Some((ip.parse().ok()?, Some(mac.parse().ok()?))),
        };
        let read = |line| client(line).ok_or_else(|| damaged("it holds something that is no address"));
        clients.lines().map(read).collect()
    }

    /// Whole or not at all, and on the disk when this returns.
    fn write(&self, path: &Path, content: &str) -> Result<(), SaveError> {
        let write = || {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            files::replace(path, 0o600, content.as_bytes())
        };
        write().map_err(|source| SaveError { path: path.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<String, SavedError> {
    let unreadable = |source| SavedError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(SavedError::Missing(path.to_owned()));
        }
        Err(error) => return Err(unreadable(error)),
    };
    // What is loaded here runs with the rights to change every rule of the machine.
    if file.metadata().map_err(unreadable)?.uid() != rustix::process::geteuid().as_raw() {
        return Err(SavedError::Damaged { path: path.to_owned(), why: "it belongs to somebody else" });
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LARGEST {
        return Err(SavedError::Damaged { path: path.to_owned(), why: "it is larger than any ruleset" });
    }
    Ok(text)
}

fn ruleset_text(ruleset: &Ruleset, generation: Generation) -> String {
    let batch = render::replace(ruleset);
    let rules = digest_line("rules", &render::skeleton(&ruleset.skeleton));
    let whole = digest_line("all", &batch);
    format!("{TITLE} {generation}.\n{NOTICE}\n{rules}\n{whole}\n{batch}")
}

fn known_text(elements: &Elements) -> String {
    let mut known: Known = elements.registered().map(|ip| (ip, None)).collect();
    known.extend(elements.pins.iter().map(|(mac, ip)| (*ip, Some(*mac))));
    let mut clients = String::new();
    for (ip, mac) in known {
        let mac = mac.map(|mac| format!(" {mac}")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _infallible = writeln!(clients, "{ip}{mac}");
    }
    format!("{}\n{clients}", digest_line("all", &clients))
}

fn digest_line(of: &str, text: &str) -> String {
    let mut line = format!("# sha256 of {of}: ");
    for byte in Sha256::digest(text) {
        // Writing to a String cannot fail.
        let _infallible = write!(line, "{byte:02x}");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use pgw_core::active::Desired;

    use super::*;
    use crate::nft::plan::plan;
    use crate::testing::policy;

    const MAC: &str = "02:00:5e:10:00:03";

    fn known() -> Known {
        [([10, 0, 0, 3].into(), MAC.parse().ok()), ([10, 0, 0, 4].into(), None)].into()
    }

    fn ruleset() -> Ruleset {
        let mapped = [([10, 0, 0, 3].into(), 15001)].into();
        let closed = [[10, 0, 0, 4].into()].into();
        let pins = [([10, 0, 0, 3].into(), MAC.parse().unwrap())].into();
        plan(&Desired { mapped, closed, pins, ..Desired::default() }, &policy()).unwrap()
    }

    #[test]
    fn what_was_saved_is_read_back_and_nobody_else_can_read_it() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        fs::create_dir(&saved.dir).unwrap();
        fs::write(saved.dir.join(".ruleset.nft.new"), "cut off").unwrap();
        for generation in [1, 2] {
            saved.store(&ruleset(), Generation(generation)).unwrap();
        }
        assert_eq!(saved.ruleset(&ruleset().skeleton).unwrap(), render::replace(&ruleset()));
        assert_eq!(saved.known().unwrap(), known());
        let files: Vec<_> = fs::read_dir(&saved.dir).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        for file in files {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_whole_is_refused_at_every_length() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        saved.store(&ruleset(), Generation(1)).unwrap();
        for path in [saved.ruleset_path(), saved.known_path()] {
            let whole = fs::read(&path).unwrap();
            for length in 0..whole.len() {
                fs::write(&path, &whole[..length]).unwrap();
                let read = (saved.ruleset(&ruleset().skeleton).is_ok(), saved.known().is_ok());
                assert_ne!(read, (true, true), "{} at {length}", path.display());
            }
            let edited = String::from_utf8(whole.clone()).unwrap().replace("10.0.0.3", "10.0.0.9");
            fs::write(&path, edited).unwrap();
            assert_ne!((saved.ruleset(&ruleset().skeleton).is_ok(), saved.known().is_ok()), (true, true));
            fs::write(&path, whole).unwrap();
        }
    }

    #[test]
    fn rules_for_another_interface_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        assert!(matches!(saved.ruleset(&ruleset().skeleton), Err(SavedError::Missing(_))));
        saved.store(&ruleset(), Generation(1)).unwrap();
        let mut other = policy();
        other.lan_if = "br0".to_owned();
        let other = plan(&Desired::default(), &other).unwrap().skeleton;
        assert!(matches!(saved.ruleset(&other), Err(SavedError::OtherRules(_))));
    }

    #[test]
    fn a_ruleset_that_could_not_be_saved_leaves_no_older_one_behind() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        saved.store(&ruleset(), Generation(1)).unwrap();
        // A folder where the temporary file belongs: nobody can write there, not even root.
        fs::create_dir_all(saved.dir.join(".ruleset.nft.new/full")).unwrap();
        let error = saved.store(&ruleset(), Generation(2)).unwrap_err();
        assert!(error.to_string().contains("ruleset.nft cannot be written"), "{error}");
        assert!(matches!(saved.ruleset(&ruleset().skeleton), Err(SavedError::Missing(_))));
        assert_eq!(saved.known().unwrap(), known(), "they are closed at boot");
    }

    #[test]
    fn the_database_is_remembered_until_the_file_is_removed_and_damage_is_told() {
        let state = tempfile::tempdir().unwrap();
        let saved = Saved::new(state.path());
        assert_eq!(saved.database().unwrap(), None);
        let id = DatabaseId("01935000-0000-7000-8000-000000000009".parse().unwrap());
        saved.store_database(id).unwrap();
        assert_eq!(saved.database().unwrap(), Some(id));
        fs::write(saved.database_path(), "").unwrap();
        assert!(matches!(saved.database(), Err(SavedError::Damaged { .. })));
        fs::remove_file(saved.database_path()).unwrap();
        assert_eq!(saved.database().unwrap(), None);
    }
}
