//! The unix socket by which the API learns what the forwarder has loaded and carries.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pgw_core::control::{Answer, Ask, HEARTBEAT};
use pgw_core::files::socket::{self, Place};
use pgw_core::flag::FlagFile;
use pgw_core::service::Service;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::experience::Experience;
use crate::forwarder::{Heir, Stop};
use crate::live::Live;

mod heir;

const MAX_CLIENTS: usize = 32;
const MAX_LINE: u64 = 4096;
/// For whoever asks and does not read the answer.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// What happens meanwhile a follower hears in one line.
const GATHERED: Duration = Duration::from_millis(250);
/// For those who are told at the end what was carried.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The socket, and its file for as long as it is ours.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    place: Place,
}

/// Where questions are answered.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) flag: watch::Receiver<Arc<FlagFile>>,
    pub(crate) live: Arc<Live>,
    pub(crate) experience: Arc<Experience>,
    pub(crate) stop: mpsc::Sender<Stop>,
    pub(crate) heirs: mpsc::Sender<Heir>,
    pub(crate) service: Arc<Service>,
    /// An heir has left without taking over: he may have put his socket in the place of ours.
    pub(crate) left_alone: Arc<Notify>,
    pub(crate) last_words: LastWords,
}

/// What is still to be said when the forwarder ends, and to whom.
#[derive(Clone, Default)]
pub(crate) struct LastWords {
    due: CancellationToken,
    /// Conversations in which somebody adds up what is carried, or has relieved this forwarder and is
    /// not answered yet: one that carries nothing would be gone before.
    keepers: TaskTracker,
}

impl LastWords {
    /// All has been carried. Returns when those who add it up know how much it was.
    pub(crate) async fn say(self) {
        self.due.cancel();
        self.keepers.close();
        let _some_do_not_listen = timeout(LAST_WORDS, self.keepers.wait()).await;
    }
}

impl Control {
    /// Makes the socket, in place of one that a dead forwarder left: who holds the port has
    /// the right to the socket.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let (listener, place) = socket::listen(path)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self { listener, path: path.to_owned(), place })
    }

    /// In its place, and not another forwarder's.
    fn is_there(&self) -> bool {
        Place::of(&self.path).is_ok_and(|found| found == self.place)
    }

    /// Answers, and does not return.
    pub(crate) async fn serve(mut self, desk: Desk) {
        let room = Arc::new(Semaphore::new(MAX_CLIENTS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = desk.left_alone.notified() => {
                    // Who waits to be accepted would be lost with the old one.
                    if self.is_there() {
                        continue;
                    }
                    match Self::bind(&self.path) {
                        Ok(again) => self = again,
                        Err(error) => tracing::error!(error = %error, "the control socket is lost"),
                    }
                    continue;
                }
            };
            let Ok((stream, _)) = accepted else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // One too many is hung up on, and asks again later.
            if let Ok(place) = room.clone().try_acquire_owned() {
                let desk = desk.clone();
                tokio::spawn(async move {
                    // Who hangs up in the middle of an answer has no use for it.
                    let _hung_up = converse(stream, &desk).await;
                    drop(place);
                });
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next forwarder of this port may have put its own in this place.
        if self.is_there() {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

async fn converse(stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    let mut heir = None;
    let mut keeper = None;
    loop {
        line.clear();
        let mut bounded = (&mut stream).take(MAX_LINE);
        tokio::select! {
            heard = bounded.read_until(b'\n', &mut line) => heard?,
            () = desk.last_words.due.cancelled(), if keeper.is_some() => {
                let traffic = desk.live.traffic(&desk.flag.borrow(), true, true);
                return say(&mut stream, &Answer::Traffic(traffic)).await;
            }
        };
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let mut owed = None;
        let answer = if whole {
            match serde_json::from_slice(&line) {
                Ok(Ask::Follow) => return desk.tell(&mut stream).await,
                Ok(Ask::HandOver) => match desk.hand_over(stream.get_ref()).await {
                    Ok(to) => {
                        heir = Some(to);
                        continue;
                    }
                    Err(error) => Answer::Error { detail: error.to_string() },
                },
                Ok(ask @ Ask::Drain { .. }) => {
                    owed = Some(desk.last_words.keepers.token());
                    if let Some(heir) = heir.take() {
                        heir.takes_over();
                    }
                    desk.answer(ask).await
                }
                Ok(ask) => {
                    if matches!(ask, Ask::Traffic { .. }) && keeper.is_none() {
                        keeper = Some(desk.last_words.keepers.token());
                    }
                    desk.answer(ask).await
                }
                Err(error) => Answer::Error { detail: format!("not a question of this version: {error}") },
            }
        } else {
            Answer::Error { detail: format!("a question is one line of at most {MAX_LINE} bytes") }
        };
        say(&mut stream, &answer).await?;
        drop(owed);
        if !whole {
            return Ok(());
        }
    }
}

impl Desk {
    /// One answer to one question.
    pub(crate) async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Status => Answer::Status(self.live.status(&self.flag.borrow())),
            Ask::Connections { after, limit } => {
                Answer::Connections(self.live.page(&self.flag.borrow(), after, limit))
            }
            Ask::Close { id } => Answer::Closed { id, was_open: self.live.close(id) },
            Ask::Drain { limit_s } => {
                let limit = limit_s.map(Duration::from_secs);
                // With no room for one more, others have said the same.
                let _heard = self.stop.try_send(Stop::Drain(limit));
                self.live.is_draining().await;
                Answer::Draining { connections: self.live.open() }
            }
            Ask::Follow => self.seen(),
            Ask::HandOver => Answer::Error { detail: "sockets go over a connection only".to_owned() },
            Ask::Traffic { names } => Answer::Traffic(self.live.traffic(&self.flag.borrow(), names, false)),
        }
    }

    fn seen(&self) -> Answer {
        Answer::Seen { upstreams: self.experience.seen(&self.flag.borrow().clone()) }
    }

    /// Tells what was seen of the upstreams until the follower says something, or leaves.
    async fn tell(&self, stream: &mut BufReader<UnixStream>) -> io::Result<()> {
        let mut troubles = self.experience.troubles();
        loop {
            troubles.mark_unchanged();
            say(stream, &self.seen()).await?;
            sleep(GATHERED).await;
            tokio::select! {
                _trouble = troubles.changed() => {}
                () = sleep(HEARTBEAT) => {}
                // The next forwarder of the port is the one to follow.
                () = self.live.is_draining() => return Ok(()),
                heard = stream.fill_buf() => return heard.map(|_anything| ()),
            }
        }
    }
}

async fn say(stream: &mut BufReader<UnixStream>, answer: &Answer) -> io::Result<()> {
    let mut text = serde_json::to_vec(answer)?;
    text.push(b'\n');
    timeout(ANSWER, stream.get_mut().write_all(&text)).await?
}

#[cfg(test)]
mod tests {
    use pgw_core::control::Seen;
    use pgw_core::dial::DialError;
    use pgw_core::health::CheckFailure;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::tests::{flag, upstream};

    struct Caller(BufReader<UnixStream>);

    impl Caller {
        async fn new(path: &Path) -> Self {
            Self(BufReader::new(UnixStream::connect(path).await.unwrap()))
        }

        async fn ask(&mut self, text: &str) -> Answer {
            self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            serde_json::from_str(&line).unwrap()
        }
    }

    fn serving(path: &Path) -> tokio::task::JoinHandle<()> {
        serving_what_was_seen(path, flag(15001), Arc::default())
    }

    fn serving_what_was_seen(
        path: &Path,
        flag: FlagFile,
        experience: Arc<Experience>,
    ) -> tokio::task::JoinHandle<()> {
        let control = Control::bind(path).unwrap();
        let (_flag, flag) = watch::channel(Arc::new(flag));
        let ((stop, _stopped), (heirs, _waiting)) = (mpsc::channel(1), mpsc::channel(1));
        let (live, service, left_alone) = (Arc::default(), Arc::default(), Arc::default());
        let last_words = LastWords::default();
        let desk = Desk { flag, live, experience, stop, heirs, service, left_alone, last_words };
        tokio::spawn(async move { control.serve(desk).await })
    }

    #[tokio::test]
    async fn a_question_is_answered_as_often_as_it_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let path = pgw_core::control::socket_path(dir.path(), 15001);
        let _serving = serving(&path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let mut caller = Caller::new(&path).await;
        for _time in 0..2 {
            let Answer::Status(status) = caller.ask("{\"ask\":\"status\"}\n").await else { panic!() };
            assert_eq!((status.port, status.connections), (15001, 0));
            assert_eq!(status.revision, flag(15001).revision);
        }
        assert!(matches!(caller.ask("{\"ask\":\"coffee\"}\n").await, Answer::Error { .. }));
        assert!(matches!(caller.ask("{\"ask\":\"status\"}\n").await, Answer::Status(_)));
        assert!(matches!(caller.ask(&"x".repeat(4096)).await, Answer::Error { .. }));
        let mut rest = Vec::new();
        assert_eq!(caller.0.read_to_end(&mut rest).await.unwrap(), 0, "hung up after an endless line");
    }

    #[tokio::test]
    async fn a_follower_hears_at_once_of_each_trouble_and_of_many_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = pgw_core::control::socket_path(dir.path(), 15001);
        let mut flag = flag(15001);
        flag.upstreams = vec![upstream("de1", "127.0.0.1:1".parse().unwrap())];
        let experience = Arc::new(Experience::default());
        let _serving = serving_what_was_seen(&path, flag.clone(), experience.clone());
        let dial =
            async |error: DialError| experience.of(&flag.upstreams[0], async { Err::<(), _>(error) }).await;
        let refused = || {
            let (kind, detail) = (CheckFailure::Refused, "connection refused".to_owned());
            DialError { kind, detail, asked: false, source: None }
        };

        let mut follower = Caller::new(&path).await;
        assert_eq!(follower.ask("{\"ask\":\"follow\"}\n").await, Answer::Seen { upstreams: vec![] });
        for failed in [3, 6] {
            for _trouble in 0..3 {
                assert!(dial(refused()).await.is_err());
            }
            let Answer::Seen { upstreams } = follower.ask("").await else { panic!() };
            let [Seen { failed: told, trouble: Some(trouble), .. }] = upstreams.as_slice() else { panic!() };
            assert_eq!(
                (*told, trouble.kind, trouble.words.as_str()),
                (failed, CheckFailure::Refused, "connection refused")
            );
        }
        follower.0.get_mut().write_all(b"enough\n").await.unwrap();
        assert_eq!(follower.0.read_to_end(&mut Vec::new()).await.unwrap_or_default(), 0, "hung up");
    }

    #[tokio::test]
    async fn callers_beyond_the_bound_are_hung_up_on_and_the_others_served() {
        let dir = tempfile::tempdir().unwrap();
        let path = pgw_core::control::socket_path(dir.path(), 15001);
        let _serving = serving(&path);
        let mut served = Vec::new();
        for _caller in 0..MAX_CLIENTS {
            let mut caller = Caller::new(&path).await;
            assert!(matches!(caller.ask("{\"ask\":\"status\"}\n").await, Answer::Status(_)));
            served.push(caller);
        }
        let mut rest = Vec::new();
        let one_too_many = Caller::new(&path).await.0.read_to_end(&mut rest).await;
        assert_eq!(one_too_many.unwrap_or_default(), 0);
        assert!(matches!(served[0].ask("{\"ask\":\"status\"}\n").await, Answer::Status(_)));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_only_the_own_one_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = pgw_core::control::socket_path(dir.path(), 15001);
        let first = Control::bind(&path).unwrap();
        let second = Control::bind(&path).unwrap();
        drop(first);
        assert!(path.exists(), "the successor's socket stays");
        drop(second);
        assert!(!path.exists());
    }
}
