use std::path::Path;

use pgw_core::control::{Answer, Ask, FwdTraffic, socket_path};
use pgw_core::ids::{ClientId, MappingId};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

use super::super::source::tests::told;
use super::*;
use crate::store::open::{Opening, PATIENCE};
use crate::store::sqlite::SqliteStore;

const SOON: Duration = Duration::from_millis(5);
const NEVER: Duration = Duration::from_secs(3600);

struct House {
    place: tempfile::TempDir,
    telemetry: Arc<Telemetry>,
    board: Arc<Board>,
    told: UnboundedReceiver<u16>,
    _stop: DropGuard,
}

/// One conversation, from the forwarder's side.
struct Conversation(BufReader<UnixStream>);

impl House {
    async fn new(interval: Duration) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("fwd")).unwrap();
        let opening = Opening { patience: PATIENCE, ..Opening::new("gw1", &place.path().join("secret.key")) };
        let store = SqliteStore::open(&place.path().join("pgw.db"), &opening).await.unwrap();
        let telemetry = Arc::new(Telemetry::new(Arc::new(store), NEVER));
        let board = Arc::new(Board::new(NEVER));
        let stop = CancellationToken::new();
        let run_dir = place.path().to_owned();
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        let puller =
            Puller { telemetry: telemetry.clone(), board: board.clone(), run_dir, interval, told: tell };
        tokio::spawn(puller.run(stop.clone()));
        Self { place, telemetry, board, told, _stop: stop.drop_guard() }
    }

    /// A forwarder begins to serve this port, in place of another.
    fn forwarder(&self, port: u16) -> UnixListener {
        let listener = bind(self.place.path(), port);
        self.board.forwarder_ready(port, [MappingId(Uuid::nil())].into());
        listener
    }

    fn counted(&self) -> u64 {
        self.telemetry.totals().clients.get(&ClientId(Uuid::from_u128(7))).map_or(0, |sum| sum.bytes_down)
    }

    async fn counts(&self, bytes: u64) {
        let counting = async {
            while self.counted() != bytes {
                tokio::task::yield_now().await;
            }
        };
        let counted = timeout(Duration::from_secs(30), counting).await;
        assert!(counted.is_ok(), "{} were counted, and not {bytes}", self.counted());
    }
}

fn bind(run_dir: &Path, port: u16) -> UnixListener {
    let path = socket_path(run_dir, port);
    let _none_before = std::fs::remove_file(&path);
    UnixListener::bind(path).unwrap()
}

impl Conversation {
    async fn with(listener: &UnixListener) -> Self {
        Self(BufReader::new(listener.accept().await.unwrap().0))
    }

    async fn asked(&mut self) -> Ask {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn say(&mut self, traffic: FwdTraffic) {
        let line = serde_json::to_string(&Answer::Traffic(traffic)).unwrap() + "\n";
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, traffic: FwdTraffic) {
        assert!(matches!(self.asked().await, Ask::Traffic { .. }));
        self.say(traffic).await;
    }
}

#[tokio::test]
async fn a_forwarder_is_asked_again_and_again_on_one_connection_and_for_names_seldom() {
    let house = House::new(SOON).await;
    let listener = house.forwarder(15001);
    let mut talk = Conversation::with(&listener).await;
    assert_eq!(talk.asked().await, Ask::Traffic { names: true });
    talk.say(told(1, &[(1, 0)])).await;
    for bytes in 1..20 {
        assert_eq!(talk.asked().await, Ask::Traffic { names: false });
        talk.say(told(1, &[(1, bytes)])).await;
    }
    house.counts(19).await;
}

#[tokio::test]
async fn last_words_are_heard_without_asking() {
    let house = House::new(NEVER).await;
    let listener = house.forwarder(15001);
    let mut talk = Conversation::with(&listener).await;
    talk.answer(told(1, &[(1, 10)])).await;
    house.counts(10).await;
    talk.say(FwdTraffic { last: true, ..told(1, &[(1, 15)]) }).await;
    house.counts(15).await;
}

#[tokio::test]
async fn one_that_is_no_longer_wanted_still_has_its_last_words() {
    let house = House::new(NEVER).await;
    let listener = house.forwarder(15001);
    let mut talk = Conversation::with(&listener).await;
    talk.answer(told(1, &[(1, 10)])).await;
    house.board.forwarder_gone(15001);
    // It is asked once more, and then it ends.
    talk.answer(told(1, &[(1, 11)])).await;
    talk.say(FwdTraffic { last: true, ..told(1, &[(1, 15)]) }).await;
    house.counts(15).await;
}

#[tokio::test]
async fn one_that_drains_and_the_next_of_its_port_are_both_heard() {
    let house = House::new(SOON).await;
    let first = house.forwarder(15001);
    let mut old = Conversation::with(&first).await;
    let second = bind(house.place.path(), 15001);
    let drains = |bytes, last| FwdTraffic { draining: true, last, ..told(1, &[(1, bytes)]) };
    old.answer(drains(10, false)).await;
    let mut new = Conversation::with(&second).await;
    new.answer(told(2, &[(1, 100)])).await;
    old.answer(drains(20, false)).await;
    new.answer(told(2, &[(1, 200)])).await;
    house.counts(220).await;
    old.answer(drains(25, true)).await;
    new.answer(told(2, &[(1, 201)])).await;
    house.counts(226).await;
}

#[tokio::test]
async fn those_who_say_nothing_hold_up_nobody() {
    let house = House::new(SOON).await;
    let silent: Vec<_> = (15002..15200).map(|port| house.forwarder(port)).collect();
    let listener = house.forwarder(15001);
    let mut talk = Conversation::with(&listener).await;
    for bytes in 1..10 {
        talk.answer(told(1, &[(1, bytes)])).await;
    }
    house.counts(9).await;
    drop(silent);
}

#[tokio::test]
async fn one_that_comes_back_after_a_silence_is_heard_again() {
    let house = House::new(SOON).await;
    let listener = house.forwarder(15001);
    let mut talk = Conversation::with(&listener).await;
    talk.answer(told(1, &[(1, 10)])).await;
    house.counts(10).await;
    drop(talk);
    let mut talk = Conversation::with(&listener).await;
    talk.answer(told(1, &[(1, 30)])).await;
    house.counts(30).await;
}

/// G42.
#[tokio::test]
async fn one_that_is_asked_three_times_in_vain_is_told_as_silent_until_it_answers() {
    let mut house = House::new(SOON).await;
    let listener = house.forwarder(15001);
    let mut talk = Conversation::with(&listener).await;
    talk.answer(told(1, &[(1, 10)])).await;
    // It hangs up: once, and once more, says nothing.
    drop(talk);
    for _ in 0..2 {
        assert!(!house.board.is_silent(15001));
        drop(Conversation::with(&listener).await);
    }
    assert_eq!(house.told.recv().await, Some(15001));
    assert!(house.board.is_silent(15001) && house.board.forwarder_known(15001), "it is not called dead");
    let mut talk = Conversation::with(&listener).await;
    talk.answer(told(1, &[(1, 30)])).await;
    assert_eq!(house.told.recv().await, Some(15001));
    assert!(!house.board.is_silent(15001));
}
