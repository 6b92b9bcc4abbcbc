//! The flag file: read at the start, watched, and taken over when it changes. A file that
//! cannot be used changes nothing.

use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pgw_core::flag::{FlagError, FlagFile, Limits, MOST_WARM};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

use crate::current::Current;

const MAX_LENGTH: u64 = 1024 * 1024;

/// How often a file that cannot be watched is looked at.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error(transparent)]
    Flag(#[from] FlagError),
}

/// One port's flag file.
pub(crate) struct FlagSource {
    path: PathBuf,
    port: u16,
}

impl FlagSource {
    pub(crate) fn new(path: PathBuf, port: u16) -> Self {
        Self { path, port }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn load(&self) -> Result<FlagFile, LoadError> {
        self.parse(&self.read()?)
    }

    fn read(&self) -> Result<Vec<u8>, LoadError> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(MAX_LENGTH + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_LENGTH { Err(LoadError::TooLong) } else { Ok(text) }
    }

    fn parse(&self, text: &[u8]) -> Result<FlagFile, LoadError> {
        let mut flag = FlagFile::read(text, self.port)?;
        flag.limits = bounded(flag.limits);
        Ok(flag)
    }

    /// Keeps `current` up to date, and does not return. `ask` is somebody's wish to look now.
    pub(crate) async fn watch(&self, current: &Current, ask: &Notify) {
        let mut watcher = Watcher::new();
        let mut complained = None;
        loop {
            // First the watch, then the look: what changes between the two is seen.
            let watched = watcher.as_mut().is_some_and(|watcher| watcher.arm(&self.path));
            // One that cannot be read just now (no more files, say) gives no event when it can.
            let readable = self.refresh(current, &mut complained);
            let event = async {
                match watcher.as_mut().filter(|_watcher| watched && readable) {
                    Some(watcher) => watcher.event().await,
                    None => tokio::time::sleep(LOOK).await,
                }
            };
            tokio::select! {
                () = event => {}
                () = ask.notified() => {}
            }
        }
    }

    /// Says whether it could be read, whatever there was to be read.
    fn refresh(&self, current: &Current, complained: &mut Option<u64>) -> bool {
        let read = self.read();
        let readable = read.is_ok();
        let seen = fingerprint(&read);
        match read.and_then(|text| self.parse(&text)) {
            Ok(flag) => {
                *complained = None;
                let (revision, upstreams) = (flag.revision, flag.upstreams.len());
                if current.take_over(flag) {
                    tracing::info!(port = self.port, %revision, upstreams, "flag file taken over");
                }
            }
            // That is how it is removed: the forwarder's end comes right behind it.
            Err(LoadError::Read(error)) if error.kind() == io::ErrorKind::NotFound => {
                if *complained != Some(seen) {
                    *complained = Some(seen);
                    tracing::info!(port = self.port, "the flag file is gone; the last good one holds");
                }
            }
            // Once for each content: it is looked at again and again.
            Err(error) if *complained != Some(seen) => {
                *complained = Some(seen);
                let path = self.path.display();
                tracing::error!(port = self.port, %path, "the flag file {error}; keeping the last good one");
            }
            Err(_) => {}
        }
        readable
    }
}

fn fingerprint(read: &Result<Vec<u8>, LoadError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match read {
        Ok(text) => text.hash(&mut hasher),
        Err(error) => error.to_string().hash(&mut hasher),
    }
    hasher.finish()
}

/// What can be used of limits, whoever wrote them: no time so short that nothing works, none
/// that cannot be counted.
fn bounded(limits: Limits) -> Limits {
    Limits {
        connect_timeout_ms: limits.connect_timeout_ms.clamp(1, 600_000),
        idle_timeout_s: limits.idle_timeout_s.clamp(1, 30 * 24 * 3600),
        max_connections: limits.max_connections.min(1_000_000),
        peek_ms: limits.peek_ms.min(60_000),
        drain_s: limits.drain_s.min(3600),
        warm: limits.warm.min(MOST_WARM),
    }
}

/// Watches the file itself, by its inode. All forwarders' files share one directory, and
/// watching that would wake a thousand forwarders for each change of one.
struct Watcher {
    /// A pipe only in that it is read in the same way.
    events: pipe::Receiver,
    watched: Option<i32>,
}

impl Watcher {
    /// `None` when the kernel gives no more of them (128 for a user, mostly): the file is then
    /// looked at now and again.
    fn new() -> Option<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok()?;
        let events = pipe::Receiver::from_file_unchecked(File::from(descriptor)).ok()?;
        Some(Self { events, watched: None })
    }

    /// Watches whatever file now stands there. A rename over it takes the old one's last
    /// link, which is an event of the old one.
    fn arm(&mut self, path: &Path) -> bool {
        let changes =
            WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        let armed = inotify::add_watch(&self.events, path, changes).ok();
        if let Some(old) = self.watched.filter(|old| Some(*old) != armed) {
            // Mostly the kernel has forgotten it already, together with the file.
            let _gone = inotify::remove_watch(&self.events, old);
        }
        self.watched = armed;
        armed.is_some()
    }

    /// Something happened; what it was, a look at the file tells.
    async fn event(&mut self) {
        let mut events = [0; 4096];
        if !matches!(self.events.read(&mut events).await, Ok(read) if read > 0) {
            // Not to be expected, and nothing to be hurried by.
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::tests::flag;
    use crate::tests::lines::Lines;

    struct Folder {
        dir: tempfile::TempDir,
        current: Current,
        ask: Arc<Notify>,
    }

    impl Folder {
        /// A folder with a flag file of revision 1, and somebody who watches it.
        fn watched() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let folder =
                Self { dir, current: Current::new(revision(1), Arc::default()), ask: Arc::default() };
            folder.replace(&serde_json::to_vec(&revision(1)).unwrap());
            let (source, current, ask) = (folder.source(), folder.current.clone(), folder.ask.clone());
            tokio::spawn(async move { source.watch(&current, &ask).await });
            folder
        }

        fn source(&self) -> FlagSource {
            FlagSource::new(self.dir.path().join("15001"), 15001)
        }

        /// As the API does it: whole or not at all.
        fn replace(&self, text: &[u8]) {
            fs::write(self.dir.path().join("new"), text).unwrap();
            fs::rename(self.dir.path().join("new"), self.source().path()).unwrap();
        }

        async fn sees(&self, wanted: u128) {
            let wanted = revision(wanted).revision;
            self.current.subscribe().wait_for(|flag| flag.revision == wanted).await.unwrap();
        }
    }

    fn revision(number: u128) -> FlagFile {
        FlagFile { revision: Uuid::from_u128(number), ..flag(15001) }
    }

    fn text(number: u128) -> Vec<u8> {
        serde_json::to_vec(&revision(number)).unwrap()
    }

    #[tokio::test]
    async fn a_changed_file_is_taken_over_however_it_was_written() {
        let folder = Folder::watched();
        for number in 2..10 {
            folder.replace(&text(number));
            folder.sees(number).await;
        }
        fs::write(folder.source().path(), text(10)).unwrap();
        folder.sees(10).await;
    }

    #[tokio::test]
    async fn a_bad_or_missing_file_keeps_the_last_good_one() {
        let folder = Folder::watched();
        let mut changes = folder.current.subscribe();
        for bad in [&b""[..], b"{", b"[]", &text(2)[..50], &vec![b' '; 2 << 20]] {
            folder.replace(bad);
            folder.ask.notify_one();
            tokio::task::yield_now().await;
            assert!(folder.source().load().is_err());
        }
        fs::remove_file(folder.source().path()).unwrap();
        folder.ask.notify_one();
        tokio::task::yield_now().await;
        assert!(!changes.has_changed().unwrap());
        folder.replace(&text(3));
        folder.ask.notify_one();
        changes.changed().await.unwrap();
        assert_eq!(changes.borrow().revision, revision(3).revision);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_cannot_be_watched_is_looked_at_now_and_again() {
        let folder = Folder::watched();
        fs::remove_file(folder.source().path()).unwrap();
        folder.ask.notify_one();
        tokio::task::yield_now().await;
        folder.replace(&text(2));
        folder.sees(2).await;
    }

    #[tokio::test]
    async fn nonsense_in_its_place_is_told_once_and_changes_nothing() {
        let mut lines = Lines::capture();
        let folder = Folder::watched();
        folder.replace(b"nonsense");
        lines.wait_for("keeping the last good one", 1).await;
        for _look in 0..10 {
            folder.ask.notify_one();
            tokio::task::yield_now().await;
        }
        folder.replace(b"other nonsense");
        lines.wait_for("keeping the last good one", 2).await;
        assert_eq!(folder.current.subscribe().borrow().revision, revision(1).revision);
        folder.replace(&text(2));
        folder.sees(2).await;
        assert_eq!(lines.all().matches("keeping the last good one").count(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_could_not_be_read_for_a_time_is_read_when_it_can_be() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        // A folder in its place can be watched and not read.
        fs::create_dir_all(at("before/15001")).unwrap();
        fs::create_dir(at("after")).unwrap();
        fs::write(at("after/15001"), text(2)).unwrap();
        std::os::unix::fs::symlink(at("before"), at("ports")).unwrap();
        let mut lines = Lines::capture();
        let current = Current::new(revision(1), Arc::default());
        let (source, watched) = (FlagSource::new(at("ports/15001"), 15001), current.clone());
        tokio::spawn(async move { source.watch(&watched, &Notify::new()).await });
        lines.wait_for("cannot be read", 1).await;
        std::os::unix::fs::symlink(at("after"), at("new")).unwrap();
        fs::rename(at("new"), at("ports")).unwrap();
        let wanted = revision(2).revision;
        let mut seen = current.subscribe();
        let found = tokio::time::timeout(10 * LOOK, seen.wait_for(|flag| flag.revision == wanted)).await;
        assert!(found.is_ok(), "it waits for an event that does not come");
    }

    #[test]
    fn a_file_that_cannot_be_used_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let source = FlagSource::new(dir.path().join("15001"), 15001);
        assert!(source.load().unwrap_err().to_string().starts_with("cannot be read: No such file"));
        for (text, want) in [
            (&b"{"[..], "is not a flag file: EOF while parsing"),
            (&serde_json::to_vec(&flag(15002)).unwrap(), "is for port 15002, not 15001"),
            (&vec![b' '; 2 << 20], "is longer than 1048576 bytes"),
        ] {
            fs::write(source.path(), text).unwrap();
            let told = source.load().unwrap_err().to_string();
            assert!(told.starts_with(want), "{told}");
        }
    }

    #[test]
    fn limits_that_nobody_can_mean_are_brought_within_reason() {
        let none = Limits { connect_timeout_ms: 0, idle_timeout_s: 0, ..Limits::default() };
        let none = bounded(none);
        assert_eq!((none.connect_timeout_ms, none.idle_timeout_s), (1, 1));
        let endless = Limits {
            connect_timeout_ms: u64::MAX,
            idle_timeout_s: u64::MAX,
            max_connections: u32::MAX,
            peek_ms: u64::MAX,
            drain_s: u64::MAX,
            warm: u8::MAX,
        };
        let endless = bounded(endless);
        assert_eq!((endless.drain_s, endless.warm), (3600, MOST_WARM));
        assert_eq!(bounded(Limits::default()), Limits::default());
    }
}
