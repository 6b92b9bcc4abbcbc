use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;
use crate::wire::frame;

/// Two relays with a channel between them: a visitor's end, and a target's.
struct Pair {
    visitor: DuplexStream,
    target: DuplexStream,
    near: tokio::task::JoinHandle<(DuplexStream, Ended)>,
    far: tokio::task::JoinHandle<(DuplexStream, Ended)>,
}

fn pair(compression: bool, room: usize) -> Pair {
    let (a, b) = duplex(room);
    let (visitor, at_gateway) = duplex(16 * 1024);
    let (target, at_client) = duplex(16 * 1024);
    let near = Relay::opening(at_gateway, Channel::lane(a), Vec::new(), compression);
    let far = Relay::answering(at_client, Channel::lane(b), compression);
    Pair { visitor, target, near: tokio::spawn(near.run()), far: tokio::spawn(far.run()) }
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

async fn sent_through(compression: bool, bytes: Vec<u8>, room: usize) {
    let Pair { visitor, mut target, near, far } = pair(compression, room);
    let (mut from, mut to) = tokio::io::split(visitor);
    let sent = bytes.clone();
    let talk = tokio::spawn(async move {
        to.write_all(&sent).await.unwrap();
        to.shutdown().await.unwrap();
    });
    let mut got = Vec::new();
    target.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes, "{} of {}", got.len(), bytes.len());
    // Half of it is closed; the other half still speaks.
    let mut back = Vec::new();
    let answer = async {
        target.write_all(&got).await.unwrap();
        target.shutdown().await
    };
    let (_shut, _read) = tokio::join!(answer, from.read_to_end(&mut back));
    assert!(back == bytes);
    talk.await.unwrap();
    for end in [near, far] {
        let (_, ended) = end.await.unwrap();
        assert!(ended.whole && ended.channel.is_some());
    }
}

#[tokio::test]
async fn everything_arrives_both_ways_and_half_a_close_is_kept() {
    for compression in [false, true] {
        sent_through(compression, noise(700_000), 50_000).await;
        sent_through(compression, vec![b'x'; 700_000], 3_000).await;
        sent_through(compression, Vec::new(), 100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_visitor_that_is_gone_is_told_and_the_channel_serves_the_next() {
    let Pair { visitor, mut target, near, far } = pair(false, 4_000);
    let pour = tokio::spawn(async move {
        let chunk = noise(10_000);
        while target.write_all(&chunk).await.is_ok() {}
    });
    drop(visitor);
    let (_, near) = near.await.unwrap();
    let (_, far) = far.await.unwrap();
    assert!(!near.whole, "nobody took it");
    assert!(near.channel.is_some() && far.channel.is_some());
    assert_eq!(far.told, Some(Why::Broken));
    pour.await.unwrap();
}

#[tokio::test]
async fn a_channel_that_breaks_is_not_the_end_of_the_stream() {
    let (a, b) = duplex(100);
    let (mut visitor, at_gateway) = duplex(100);
    let near = tokio::spawn(Relay::opening(at_gateway, Channel::lane(a), Vec::new(), false).run());
    visitor.write_all(b"hello").await.unwrap();
    drop(b);
    let (_, ended) = near.await.unwrap();
    assert!(!ended.whole && ended.channel.is_none());
}

#[tokio::test]
async fn what_comes_behind_the_end_is_kept_for_the_next_stream() {
    let (a, mut b) = duplex(100);
    let (_visitor, at_gateway) = duplex(100);
    let near = tokio::spawn(Relay::opening(at_gateway, Channel::lane(a), Vec::new(), false).run());
    b.write_all(&[frame::reset(Why::TargetRefused), frame::idle()].concat()).await.unwrap();
    let (_, ended) = near.await.unwrap();
    assert_eq!(ended.told, Some(Why::TargetRefused));
    assert_eq!(ended.channel.unwrap().left, frame::idle());
    let mut answer = [0; 4];
    b.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, frame::reset(Why::Broken), "the other end is told that we have heard");
}

#[tokio::test(start_paused = true)]
async fn an_other_end_that_never_answers_a_break_is_given_up() {
    let (a, mut silent) = duplex(100);
    let (visitor, at_gateway) = duplex(100);
    let near = tokio::spawn(Relay::opening(at_gateway, Channel::lane(a), Vec::new(), false).run());
    drop(visitor);
    silent.write_all(&[&frame::data_head(1).unwrap()[..], b"x"].concat()).await.unwrap();
    let near = timeout(Duration::from_secs(60), near).await.unwrap().unwrap().1;
    assert!(near.channel.is_none() && !near.whole);
}

#[tokio::test]
async fn the_opening_goes_out_together_with_the_first_bytes_and_also_alone() {
    let (a, mut b) = duplex(1000);
    let (mut visitor, at_gateway) = duplex(100);
    visitor.write_all(b"GET").await.unwrap();
    let opening = frame::open(b"where").unwrap();
    let _near = tokio::spawn(Relay::opening(at_gateway, Channel::lane(a), opening.clone(), false).run());
    let want = [opening.as_slice(), &frame::data_head(3).unwrap(), b"GET"].concat();
    let mut got = vec![0; want.len()];
    assert_eq!(b.read(&mut got).await.unwrap(), want.len(), "in one piece");
    assert_eq!(got, want);

    let (a, mut b) = duplex(1000);
    let (_visitor, at_gateway) = duplex(100);
    let _near = tokio::spawn(Relay::opening(at_gateway, Channel::lane(a), opening.clone(), false).run());
    let mut got = vec![0; opening.len()];
    b.read_exact(&mut got).await.unwrap();
    assert_eq!(got, opening, "the other end may be the one that speaks first");
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_a_direction_to_its_rate() {
    let (a, b) = duplex(100_000);
    let (visitor, at_gateway) = duplex(100_000);
    let (mut target, at_client) = duplex(100_000);
    let counted = Arc::<AtomicU64>::default();
    let flow = Flow { counts: vec![counted.clone()], buckets: vec![Arc::new(Bucket::per_second(100_000))] };
    let near = Relay::opening(at_gateway, Channel::lane(a), Vec::new(), false).with(flow, Flow::default());
    let _near = tokio::spawn(near.run());
    let _far = tokio::spawn(Relay::answering(at_client, Channel::lane(b), false).run());
    let start = Instant::now();
    let talk = tokio::spawn(async move {
        let mut visitor = visitor;
        visitor.write_all(&vec![0; 1_000_000]).await.unwrap();
        visitor
    });
    target.read_exact(&mut vec![0; 1_000_000]).await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!((8.5..11.0).contains(&took), "{took} s for 10 s worth of bytes");
    assert_eq!(counted.load(Ordering::Relaxed), 1_000_000);
    talk.await.unwrap();
}
