//! What reaches the other end, by which upstream, and what the client sees when nothing does.

use std::io::ErrorKind;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fakes::{FakeProxy, Manner, echoes, listens_first, origin};
use super::lines::Lines;
use super::*;

/// Sends, and waits for the echo.
pub(super) async fn say(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).await.unwrap();
    let mut heard = vec![0; text.len()];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, text);
}

/// Ends the conversation from the client's side.
pub(super) async fn hang_up(mut client: TcpStream) {
    client.shutdown().await.unwrap();
    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
}

pub(super) async fn is_reset(client: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    matches!(client.read_to_end(&mut rest).await, Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn a_client_that_said_everything_still_hears_the_answer() {
    let mut lines = Lines::capture();
    let proxy = FakeProxy::to(origin(listens_first).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut client = gateway.connect().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "heard 8: question");
    assert_eq!(proxy.asked(), ["198.51.100.7:443"]);
    let line = &lines.wait(1).await[0];
    assert_eq!(
        (&line["end"], &line["bytes_up"], &line["bytes_down"]),
        (&"client".into(), &8.into(), &17.into())
    );
    assert!(!line.contains_key("reason"));
}

#[tokio::test]
async fn an_origin_that_said_everything_still_hears_the_client() {
    let mut lines = Lines::capture();
    let (heard_by_origin, mut heard) = mpsc::channel(1);
    let origin = origin(move |mut stream| {
        let heard_by_origin = heard_by_origin.clone();
        async move {
            stream.write_all(b"greeting").await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            heard_by_origin.send(heard).await.unwrap();
        }
    });
    let proxy = FakeProxy::to(origin.await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut client = gateway.connect().await;
    let mut greeting = String::new();
    client.read_to_string(&mut greeting).await.unwrap();
    assert_eq!(greeting, "greeting");
    client.write_all(b"late words").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(heard.recv().await.unwrap(), "late words");
    assert_eq!(lines.wait(1).await[0]["end"], "upstream");
}

#[tokio::test]
async fn a_server_that_speaks_first_waits_for_nobody() {
    // `peek_ms` is a minute here, and the client says nothing at all before it has heard.
    let origin = origin(|mut stream| async move { stream.write_all(b" 220 ready").await.unwrap() });
    let proxy = FakeProxy::new(Manner::Tunnel { origin: origin.await, early: "early" }).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut heard = String::new();
    let mut client = gateway.connect().await;
    let hearing = tokio::time::timeout(Duration::from_secs(30), client.read_to_string(&mut heard));
    hearing.await.expect("it waits for the client").unwrap();
    assert_eq!(heard, "early 220 ready");
}

#[tokio::test]
async fn the_next_upstream_carries_what_the_first_one_cannot() {
    let works = FakeProxy::to(origin(echoes).await).await;
    let auth = FakeProxy::new(Manner::Answer("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")).await;
    let target = FakeProxy::new(Manner::Answer("HTTP/1.1 502 Bad Gateway\r\n\r\n")).await;
    let garbage = FakeProxy::new(Manner::Answer("SSH-2.0-x\r\n")).await;
    let hangs = FakeProxy::new(Manner::Hang).await;
    let nowhere = nowhere().await;
    for (what, first, timeout, want) in [
        ("refused", nowhere, 60_000, format!("first: connecting to {nowhere}: connection refused")),
        ("hang", hangs.address, 150, "first: no answer within 150ms while asking for the tunnel".into()),
        ("auth", auth.address, 60_000, "first: 407 Proxy Authentication Required".into()),
        ("target", target.address, 60_000, "first: 502 Bad Gateway".into()),
        ("garbage", garbage.address, 60_000, "first: the answer is not HTTP/1".into()),
    ] {
        let mut lines = Lines::capture();
        let gateway = Gateway::start(vec![upstream("first", first), upstream("second", works.address)]);
        gateway.change(|flag| flag.limits.connect_timeout_ms = timeout);
        let mut client = gateway.connect().await;
        say(&mut client, b"ping").await;
        hang_up(client).await;
        let line = &lines.wait(1).await[0];
        assert_eq!((&line["upstream"], &line["reason"]), (&"second".into(), &want.into()), "{what}");
    }
}

#[tokio::test]
async fn an_upstream_that_was_too_slow_is_closed_at_once_and_saw_no_byte_of_the_client() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let works = FakeProxy::to(origin(echoes).await).await;
    let first = upstream("first", silent.local_addr().unwrap());
    let gateway = Gateway::start(vec![first, upstream("second", works.address)]);
    let mut client = gateway.connect().await;
    let (mut asked, _) = silent.accept().await.unwrap();
    say(&mut client, b"ping").await;
    let mut heard = String::new();
    asked.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "CONNECT 198.51.100.7:443 HTTP/1.1\r\nHost: 198.51.100.7:443\r\n\r\n");
    say(&mut client, b"pong").await;
    hang_up(client).await;
    // The next one does not wait for it again.
    say(&mut gateway.connect().await, b"ping").await;
    assert_eq!(works.asked().len(), 2);
    assert!(silent.accept().now_or_never().is_none(), "asked again, though it hung just now");
}

#[tokio::test]
async fn a_connection_that_no_upstream_carries_is_broken_off_and_not_answered_empty() {
    let mut lines = Lines::capture();
    let target = FakeProxy::new(Manner::Answer("HTTP/1.1 502 Bad Gateway\r\n\r\n")).await;
    let gateway = Gateway::start(vec![upstream("de1", nowhere().await), upstream("fr1", target.address)]);
    assert!(is_reset(&mut gateway.connect().await).await);
    let line = &lines.wait(1).await[0];
    assert_eq!((&line["end"], &line["upstream"]), (&"no_upstream".into(), &"-".into()));
    assert!(line["reason"].as_str().unwrap().ends_with("; fr1: 502 Bad Gateway"), "{line:?}");
    gateway.change(|flag| flag.upstreams.clear());
    assert!(is_reset(&mut gateway.connect().await).await, "no upstream at all");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_upstream_is_dialled_is_let_go() {
    let mut lines = Lines::capture();
    let hangs = FakeProxy::new(Manner::Hang).await;
    let gateway = Gateway::start(vec![upstream("de1", hangs.address)]);
    let client = gateway.connect().await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert_eq!(lines.wait(1).await[0]["end"], "client");
    assert_eq!(gateway.live.open(), 0);
}

#[tokio::test]
async fn only_redirected_connections_of_its_own_client_are_served() {
    let mut lines = Lines::capture();
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let stranger = redirected(Ipv4Addr::new(192, 168, 2, 4));
    let untracked: Lookup = Arc::new(|_stream, _peer| Err(ErrorKind::NotFound.into()));
    let itself: Lookup = Arc::new(|stream, _peer| match stream.local_addr()? {
        SocketAddr::V4(to) => Ok(Origin { from: CLIENT, to }),
        SocketAddr::V6(_) => Err(ErrorKind::Unsupported.into()),
    });
    for (n, (lookup, reason)) in [
        (stranger, "not this port's client"),
        (untracked, "not redirected here: the kernel knows no original destination"),
        (itself, "dialled the forwarder itself"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut flag = flag(15001);
        flag.upstreams = vec![upstream("de1", proxy.address)];
        let gateway = Gateway::start_with(flag, Dialer::new(), lookup);
        assert!(is_reset(&mut gateway.connect().await).await, "{reason}");
        let line = &lines.wait(n + 1).await[n];
        assert_eq!((&line["end"], &line["reason"]), (&"refused".into(), &reason.into()));
        assert_eq!(line["peer"], "127.0.0.1");
        let status = gateway.status();
        assert_eq!((status.refused, status.accepted, status.connections), (1, 1, 0));
    }
    assert_eq!(proxy.asked(), [""; 0], "nothing was dialled for them");
}

#[tokio::test]
async fn more_connections_than_the_bound_are_refused_and_the_others_go_on() {
    let mut lines = Lines::capture();
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    gateway.change(|flag| flag.limits.max_connections = 1);
    let mut first = gateway.connect().await;
    say(&mut first, b"ping").await;
    assert!(is_reset(&mut gateway.connect().await).await);
    assert_eq!(lines.wait(1).await[0]["reason"], "more than 1 connections");
    say(&mut first, b"pong").await;
    hang_up(first).await;
    lines.wait(2).await;
    say(&mut gateway.connect().await, b"ping").await;
}

#[tokio::test]
async fn a_large_transfer_arrives_whole_in_both_directions() {
    let proxy = FakeProxy::to(origin(listens_first).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let sent: Vec<u8> = (0..8 << 20).map(|n: u32| n.to_le_bytes()[usize::try_from(n % 4).unwrap()]).collect();
    let mut client = gateway.connect().await;
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(&sent));
    let status = gateway.status();
    assert_eq!(status.bytes_up, 8 << 20);
}
