use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::bounds::Bounds;
use super::frame::Filter;
use super::reader::{Access, HEARTBEAT, MOST_MISSED, Reader};
use super::*;
use crate::store::open::Opening;
use crate::store::sqlite::SqliteStore;
use crate::store::{Events as _, LogEnds, Store};

struct House {
    store: Arc<SqliteStore>,
    _place: tempfile::TempDir,
}

type Stream = BoxStream<'static, Result<Bytes, Infallible>>;

impl House {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let opening = Opening::new("gw1", &place.path().join("secret.key"));
        let store = SqliteStore::open(&place.path().join("pgw.db"), &opening).await.unwrap();
        Self { store: Arc::new(store), _place: place }
    }

    /// A new process: it begins where the log ends.
    async fn start(&self) -> (Arc<Bus>, CancellationToken) {
        let bus = Arc::new(Bus::new("gw1", self.store.log_ends().await.unwrap().latest));
        let stop = CancellationToken::new();
        tokio::spawn(Pump { store: self.store.clone(), bus: bus.clone() }.run(stop.clone()));
        (bus, stop)
    }

    async fn read(&self, bus: &Bus, after: Option<i64>, filter: Filter) -> Stream {
        let ends = self.store.log_ends().await.unwrap();
        self.reader(bus, after, filter, ends, always())
    }

    fn reader(&self, bus: &Bus, after: Option<i64>, filter: Filter, ends: LogEnds, access: Access) -> Stream {
        let store: Arc<dyn Store> = self.store.clone();
        Reader::new(bus.seat().unwrap(), store, filter, access, "gw1", after, ends).stream().boxed()
    }
}

fn always() -> Access {
    Box::new(|| Box::pin(async { true }))
}

fn event(id: i64, kind: Kind) -> Event {
    let new = match kind {
        Kind::Change => NewEvent::change(None, Thing::Token, Action::Revoked, "ci", &[]),
        _ => NewEvent::agent(AgentState::Warns, id.to_string()),
    };
    let NewEvent { at, kind, client_id, mapping_id, proxy_id, by, data } = new;
    // As exactly as it is told.
    let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap();
    Event { id, at, gateway: "gw1".into(), kind, client_id, mapping_id, proxy_id, by, data }
}

fn warnings(how_many: i64) -> Vec<NewEvent> {
    (0..how_many).map(|n| NewEvent::agent(AgentState::Warns, n.to_string())).collect()
}

/// The name and id of the next block.
async fn next(stream: &mut Stream) -> Option<(String, i64)> {
    let bytes = tokio::time::timeout(Duration::from_secs(60), stream.next()).await.expect("in time")?;
    let text = String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    assert!(text.ends_with("\n\n") && !text.trim_end().contains("\n\n"), "one block: {text:?}");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let name = field("event: ").unwrap_or_else(|| "heartbeat".to_owned());
    assert_eq!(field("data: ").is_none(), name == "heartbeat");
    Some((name, field("id: ").unwrap().parse().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_resumes_misses_nothing_and_sees_nothing_twice_however_often_either_end_restarts() {
    let seed: u64 = rand::random();
    let mut dice = StdRng::seed_from_u64(seed);
    let house = House::new().await;
    let (mut seen, mut stands_at) = (Vec::new(), 0);
    for life in 1..=4 {
        let (bus, stop) = house.start().await;
        let store = house.store.clone();
        let mut written = dice.random_range(20..60);
        let batches: Vec<i64> = std::iter::from_fn(|| {
            let batch = dice.random_range(1..=7).min(written);
            written -= batch;
            (batch > 0).then_some(batch)
        })
        .collect();
        let writer = tokio::spawn(async move {
            for batch in batches {
                store.record(&warnings(batch)).await.unwrap();
            }
            store.log_ends().await.unwrap().latest
        });
        let mut writer = Some(writer);
        let mut latest = None;
        // In its last life somebody reads to the end.
        while life < 4 || latest != Some(stands_at) {
            if writer.as_ref().is_some_and(tokio::task::JoinHandle::is_finished) {
                latest = Some(writer.take().unwrap().await.unwrap());
                if life < 4 {
                    break;
                }
            }
            let mut stream = house.read(&bus, Some(stands_at), Filter::default()).await;
            // It goes away in the middle of something, or when nothing comes for a moment.
            let patience = Duration::from_millis(dice.random_range(1..40));
            for _ in 0..dice.random_range(1..25) {
                let Ok(Some(Ok(bytes))) = tokio::time::timeout(patience, stream.next()).await else { break };
                let mut one: Stream = futures_util::stream::iter([Ok(bytes)]).boxed();
                let (name, id) = next(&mut one).await.unwrap();
                assert_ne!(name, "gap", "seed {seed}");
                if name == "agent" {
                    seen.push(id);
                }
                stands_at = id;
            }
        }
        if let Some(writer) = writer {
            writer.await.unwrap();
        }
        stop.cancel();
    }
    let last = house.store.log_ends().await.unwrap().latest;
    assert_eq!(seen, (1..=last).collect::<Vec<_>>(), "seed {seed}");
}

#[tokio::test]
async fn an_event_is_with_its_readers_as_soon_as_it_is_committed() {
    let house = House::new().await;
    let (bus, _stop) = house.start().await;
    let mut stream = house.read(&bus, None, Filter::default()).await;
    assert_eq!(next(&mut stream).await, Some(("hello".into(), 0)));
    for id in 1..=5 {
        let begun = tokio::time::Instant::now();
        house.store.record(&warnings(1)).await.unwrap();
        assert_eq!(next(&mut stream).await, Some(("agent".into(), id)));
        assert!(begun.elapsed() < Duration::from_secs(4), "the commit wakes them, and no interval");
    }
}

#[tokio::test]
async fn who_missed_what_is_no_longer_there_or_too_much_is_told_of_a_gap() {
    let house = House::new().await;
    let many = MOST_MISSED + 50;
    for (what, after, ends, latest, gap) in [
        ("all of it is there", 5, LogEnds { oldest: 6, latest: 9 }, 9, false),
        ("the next one is gone", 4, LogEnds { oldest: 6, latest: 9 }, 9, true),
        ("too much", 5, LogEnds { oldest: 1, latest: many }, many, true),
        ("it has not happened", 10, LogEnds { oldest: 1, latest: 9 }, 9, true),
        ("it is on its way", 10, LogEnds { oldest: 1, latest: 10 }, 9, false),
        ("nothing was missed", 9, LogEnds { oldest: 1, latest: 9 }, 9, false),
    ] {
        let bus = Bus::new("gw1", latest);
        let mut stream = house.reader(&bus, Some(after), Filter::default(), ends, always());
        let stands_at = if gap { latest } else { after };
        assert_eq!(next(&mut stream).await, Some(("hello".into(), stands_at)), "{what}");
        if gap {
            assert_eq!(next(&mut stream).await, Some(("gap".into(), latest)), "{what}");
            bus.publish(&[event(latest + 1, Kind::Agent)]);
            assert_eq!(next(&mut stream).await, Some(("agent".into(), latest + 1)), "{what}");
        }
    }
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_so_and_gets_what_follows() {
    let house = House::new().await;
    let bus = Bus::new("gw1", 0);
    let mut stream = house.read(&bus, None, Filter::default()).await;
    assert_eq!(next(&mut stream).await, Some(("hello".into(), 0)));
    let events: Vec<Event> = (1..=5000).map(|id| event(id, Kind::Agent)).collect();
    bus.publish(&events);
    let Some((name, mut stands_at)) = next(&mut stream).await else { panic!("it ended") };
    assert!(name == "gap" && stands_at > 1000, "{name} {stands_at}");
    while stands_at < 5000 {
        assert_eq!(next(&mut stream).await, Some(("agent".into(), stands_at + 1)));
        stands_at += 1;
    }
}

#[tokio::test]
async fn five_hundred_readers_share_what_was_written_once() {
    let house = House::new().await;
    let bus = Bus::new("gw1", 0);
    let mut streams = Vec::new();
    for _ in 0..500 {
        let mut stream = house.read(&bus, None, Filter::default()).await;
        assert_eq!(next(&mut stream).await, Some(("hello".into(), 0)));
        streams.push(stream);
    }
    assert_eq!(bus.readers(), 500);
    bus.publish(&(1..=20).map(|id| event(id, Kind::Agent)).collect::<Vec<_>>());
    let mut addresses = std::collections::BTreeSet::new();
    for stream in &mut streams {
        for _ in 0..20 {
            addresses.insert(stream.next().await.unwrap().unwrap().as_ptr() as usize);
        }
    }
    assert_eq!(addresses.len(), 20, "each event lies in memory once");
    while bus.readers() < MOST_READERS {
        streams.push(house.read(&bus, None, Filter::default()).await);
    }
    assert!(bus.seat().is_err());
    streams.pop();
    assert!(bus.seat().is_ok(), "who goes makes room");
    bus.close();
    for mut stream in streams {
        while let Some((name, _)) = next(&mut stream).await {
            assert_eq!(name, "hello");
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_readers_access_at_once_or_at_the_next_heartbeat() {
    let house = House::new().await;
    tokio::time::pause();
    let (bus, quiet) = (Bus::new("gw1", 0), Bus::new("gw1", 0));
    let ends = LogEnds { oldest: 1, latest: 0 };
    let allowed = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let access = || -> Access {
        let allowed = allowed.clone();
        Box::new(move || {
            let allowed = allowed.load(std::sync::atomic::Ordering::SeqCst);
            Box::pin(async move { allowed })
        })
    };
    let (mut at_once, mut later) = (
        house.reader(&bus, None, Filter::default(), ends, access()),
        house.reader(&quiet, None, Filter::default(), ends, access()),
    );
    for stream in [&mut at_once, &mut later] {
        assert_eq!(next(stream).await, Some(("hello".into(), 0)));
        assert_eq!(next(stream).await, Some(("heartbeat".into(), 0)));
    }
    allowed.store(false, std::sync::atomic::Ordering::SeqCst);
    bus.publish(&[event(1, Kind::Change)]);
    assert_eq!(next(&mut at_once).await, None);
    let begun = tokio::time::Instant::now();
    assert_eq!(next(&mut later).await, None);
    assert!(begun.elapsed() <= HEARTBEAT);
}

#[tokio::test]
async fn a_filter_shows_what_was_asked_for_and_stands_where_the_rest_is() {
    let house = House::new().await;
    let bus = Bus::new("gw1", 0);
    let filter = Filter { kinds: vec![Kind::Change], client_id: None };
    let mut stream = house.read(&bus, None, filter).await;
    assert_eq!(next(&mut stream).await, Some(("hello".into(), 0)));
    bus.publish(&[event(1, Kind::Agent), event(2, Kind::Change), event(3, Kind::Agent)]);
    assert_eq!(next(&mut stream).await, Some(("change".into(), 2)));
    tokio::time::pause();
    assert_eq!(
        next(&mut stream).await,
        Some(("heartbeat".into(), 3)),
        "it resumes behind what it passed over"
    );
}

#[test]
fn an_event_is_one_block_whatever_it_tells() {
    let mut odd = event(7, Kind::Agent);
    odd.data = json!({"detail": "two\nlines\r\n\ndata: forged\u{2028}"});
    let text = String::from_utf8(frame::Frame::from(&odd).bytes.to_vec()).unwrap();
    assert_eq!(text.lines().count(), 4, "{text:?}");
    let data = text.lines().nth(2).unwrap().strip_prefix("data: ").unwrap();
    assert_eq!(serde_json::from_str::<Event>(data).unwrap(), odd);
}

#[tokio::test]
async fn what_is_noted_is_written_in_order_and_the_last_of_it_when_it_stops() {
    let house = House::new().await;
    let (recorder, task) = recorder::recorder(house.store.clone());
    let stop = CancellationToken::new();
    for n in 0..10 {
        recorder.note(NewEvent::agent(AgentState::Warns, n.to_string()));
    }
    stop.cancel();
    task.run(stop).await;
    let written = house.store.events_after(0, 100).await.unwrap();
    let told: Vec<_> = written.iter().map(|event| event.data["detail"].as_str().unwrap()).collect();
    assert_eq!(told, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[tokio::test]
async fn old_events_are_forgotten_piece_by_piece() {
    let house = House::new().await;
    house.store.record(&warnings(1_700)).await.unwrap();
    let (store, stop) = (house.store.clone(), CancellationToken::new());
    let mut written = house.store.written();
    tokio::spawn(Bounds { store, days: 1, rows: 100 }.run(stop.clone()));
    while house.store.log_ends().await.unwrap().oldest < 1_601 {
        tokio::time::timeout(Duration::from_secs(30), written.changed()).await.expect("it goes on").unwrap();
    }
    assert_eq!(house.store.events_after(0, 2_000).await.unwrap().len(), 100);
    assert!(Timestamp::now() > house.store.events_after(0, 1).await.unwrap()[0].at);
    stop.cancel();
}
