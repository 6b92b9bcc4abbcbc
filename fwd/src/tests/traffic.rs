//! What is told of the bytes that were carried, to the last one.

use pgw_core::control::{Answer, Ask, Carried, FwdTraffic, Sum};
use pgw_core::redact::SniLog;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::fakes::{FakeProxy, echoes, origin};
use super::lines::Lines;
use super::through::{hang_up, say};
use super::*;
use crate::control::{Control, Desk, LastWords};

async fn echoing() -> Gateway {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    Gateway::start(vec![upstream("de1", proxy.address)])
}

impl Gateway {
    fn traffic(&self) -> FwdTraffic {
        self.live.traffic(&self.flag(), true, false)
    }

    /// What the only upstream carried.
    fn carried(&self) -> Sum {
        let mapping_id = Some(self.flag().upstreams[0].mapping_id);
        match self.traffic().carried.as_slice() {
            [] => Sum::default(),
            [Carried { mapping_id: of, sum }] if *of == mapping_id => *sum,
            other => panic!("{other:?}"),
        }
    }
}

fn sum(connections: u64, bytes: u64) -> Sum {
    Sum { connections, bytes_up: bytes, bytes_down: bytes }
}

#[tokio::test]
async fn each_byte_is_counted_once_while_its_connection_is_open_and_after() {
    let mut lines = Lines::capture();
    let gateway = echoing().await;
    let mut one = gateway.connect().await;
    say(&mut one, b"one").await;
    assert_eq!(gateway.carried(), sum(1, 3));
    let mut other = gateway.connect().await;
    say(&mut other, b"other").await;
    assert_eq!((gateway.traffic().open, gateway.carried()), (2, sum(2, 8)));
    hang_up(one).await;
    lines.wait(1).await;
    assert_eq!((gateway.traffic().open, gateway.carried()), (1, sum(2, 8)));
    say(&mut other, b"more").await;
    assert_eq!(gateway.carried(), sum(2, 12));
    hang_up(other).await;
    lines.wait(2).await;
    assert_eq!((gateway.traffic().open, gateway.carried()), (0, sum(2, 12)));
}

#[tokio::test]
async fn names_are_counted_without_what_is_personal_in_them_whatever_the_log_shows() {
    for (policy, want) in [(SniLog::Off, None), (SniLog::Redacted, Some(2)), (SniLog::Full, Some(2))] {
        let mut lines = Lines::capture();
        let gateway = echoing().await;
        gateway.change(|flag| flag.sni_log = policy);
        let mut clients = Vec::new();
        for person in ["alice", "bob"] {
            let mut client = gateway.connect().await;
            let request = format!("GET / HTTP/1.1\r\nHost: mail.{person}.example.co.uk\r\n\r\n");
            say(&mut client, request.as_bytes()).await;
            clients.push(client);
        }
        // One of them is over, the other one is not.
        hang_up(clients.remove(0)).await;
        lines.wait(1).await;
        let told: Vec<_> =
            gateway.traffic().names.into_iter().map(|name| (name.name, name.sum.connections)).collect();
        let want: Vec<_> = want.map(|count| ("*.example.co.uk".to_owned(), count)).into_iter().collect();
        assert_eq!(told, want, "{policy:?}");
        gateway.change(|flag| flag.sni_log = SniLog::Off);
        assert!(gateway.traffic().names.is_empty(), "what was counted is hidden, too");
    }
}

#[tokio::test]
async fn who_adds_it_up_hears_of_the_last_byte_when_the_forwarder_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = pgw_core::control::socket_path(dir.path(), 15001);
    let gateway = echoing().await;
    let control = Control::bind(&path).unwrap();
    let last_words = LastWords::default();
    let desk = Desk { last_words: last_words.clone(), ..gateway.desk() };
    let serving = tokio::spawn(async move { control.serve(desk).await });
    let mut keeper = BufReader::new(UnixStream::connect(&path).await.unwrap());
    let mut heard = async |ask: Option<Ask>| {
        if let Some(ask) = ask {
            let line = serde_json::to_string(&ask).unwrap() + "\n";
            keeper.write_all(line.as_bytes()).await.unwrap();
        }
        let mut line = String::new();
        keeper.read_line(&mut line).await.unwrap();
        (!line.is_empty()).then(|| match serde_json::from_str(&line).unwrap() {
            Answer::Traffic(traffic) => traffic,
            other => panic!("{other:?}"),
        })
    };
    let first = heard(Some(Ask::Traffic { names: false })).await.unwrap();
    assert_eq!((first.carried.len(), first.last), (0, false));

    let mut client = gateway.connect().await;
    say(&mut client, b"ping").await;
    gateway.stop.send(Stop::Signal).await.unwrap();
    hang_up(client).await;
    gateway.running.await.unwrap();
    serving.abort();
    last_words.say().await;
    let last = heard(None).await.unwrap();
    assert_eq!((last.run, last.last, last.draining, last.open), (first.run, true, true, 0));
    assert_eq!(last.carried.iter().map(|carried| carried.sum).collect::<Vec<_>>(), [sum(1, 4)]);
    assert_eq!(heard(None).await, None, "that was all");
}

#[tokio::test]
async fn who_relieves_a_forwarder_that_carries_nothing_is_answered_before_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = pgw_core::control::socket_path(dir.path(), 15001);
    let gateway = echoing().await;
    let control = Control::bind(&path).unwrap();
    let last_words = LastWords::default();
    let (stop, mut stopped) = tokio::sync::mpsc::channel(1);
    let desk = Desk { last_words: last_words.clone(), stop, ..gateway.desk() };
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move { control.serve(desk).await }));
    let mut heir = BufReader::new(UnixStream::connect(&path).await.unwrap());
    heir.write_all(b"{\"ask\":\"drain\",\"limit_s\":1}\n").await.unwrap();
    stopped.recv().await.unwrap();

    let end = tokio::spawn(last_words.say());
    tokio::task::yield_now().await;
    assert!(!end.is_finished(), "it ends with a question open");
    gateway.live.drain();
    end.await.unwrap();
    let mut line = String::new();
    heir.read_line(&mut line).await.unwrap();
    assert!(matches!(serde_json::from_str(&line), Ok(Answer::Draining { connections: 0 })), "{line}");
}
