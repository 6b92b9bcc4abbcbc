//! Upstreams and clients at their worst: the next upstream is tried while nothing was said, and
//! afterwards both ends hear that it was broken off, and who did it.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fakes::{FakeProxy, Manner, echoes, origin};
use super::lines::Lines;
use super::through::{hang_up, is_reset, say};
use super::*;

/// A gateway whose upstream is the test itself.
async fn by_hand() -> (Gateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = Gateway::start(vec![upstream("de1", listener.local_addr().unwrap())]);
    (gateway, listener)
}

/// Takes the request for a tunnel and grants it.
async fn granted(listener: &TcpListener) -> TcpStream {
    let (mut proxy, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(proxy.read_u8().await.unwrap());
    }
    proxy.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    proxy
}

#[tokio::test]
async fn an_answer_without_an_end_is_given_up_for_the_next_upstream() {
    let endless: &'static str = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(64 * 1024)).leak();
    let fields: &'static str = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(11_000)).leak();
    let works = FakeProxy::to(origin(echoes).await).await;
    let closed = "first: the connection was closed in the middle of the handshake";
    let too_long = "first: the header of the answer does not end";
    for (what, answer, want) in [
        ("nothing", "", closed),
        ("half a line", "HTTP/1.1 20", closed),
        ("half a header", "HTTP/1.1 200 OK\r\nVia: x\r\n", closed),
        ("one field of 64 KiB", endless, too_long),
        ("64 KiB of fields", fields, too_long),
    ] {
        let mut lines = Lines::capture();
        let bad = FakeProxy::new(Manner::Answer(answer)).await;
        let gateway = Gateway::start(vec![upstream("first", bad.address), upstream("second", works.address)]);
        let mut client = gateway.connect().await;
        say(&mut client, b"ping").await;
        hang_up(client).await;
        let line = &lines.wait(1).await[0];
        assert_eq!((&line["upstream"], &line["reason"]), (&"second".into(), &want.into()), "{what}");
    }
}

#[tokio::test]
async fn a_tunnel_that_ends_at_once_is_an_end_and_one_that_breaks_is_broken_off() {
    for (breaks, heard) in [(false, None), (true, Some(ErrorKind::ConnectionReset))] {
        let mut lines = Lines::capture();
        let (gateway, listener) = by_hand().await;
        let mut client = gateway.connect().await;
        let proxy = granted(&listener).await;
        if breaks {
            proxy.set_zero_linger().unwrap();
        }
        drop(proxy);
        let end = client.read_to_end(&mut Vec::new()).await;
        assert_eq!(end.err().map(|error| error.kind()), heard);
        drop(client);
        let line = &lines.wait(1).await[0];
        assert_eq!((&line["end"], &line["bytes_down"]), (&"upstream".into(), &0.into()));
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_is_no_end_of_what_it_said() {
    let mut lines = Lines::capture();
    let (gateway, listener) = by_hand().await;
    let mut client = gateway.connect().await;
    let mut proxy = granted(&listener).await;
    client.write_all(b"half a file").await.unwrap();
    let mut heard = [0; 11];
    proxy.read_exact(&mut heard).await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(is_reset(&mut proxy).await, "the upstream must not take it for the whole");
    let line = &lines.wait(1).await[0];
    assert_eq!((&line["end"], &line["bytes_up"]), (&"client".into(), &11.into()));
    assert_eq!(gateway.live.open(), 0);
}

#[tokio::test]
async fn a_client_that_says_one_byte_of_its_name_is_not_waited_for() {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let mut by_name = upstream("de1", proxy.address);
    by_name.target = Target::Hostname;
    let gateway = Gateway::start(vec![by_name]);
    gateway.change(|flag| flag.limits.peek_ms = 20);
    let mut client = gateway.connect().await;
    client.write_all(b"G").await.unwrap();
    client.read_exact(&mut [0]).await.unwrap();
    assert_eq!(proxy.asked(), ["198.51.100.7:443"]);
    say(&mut client, b"ET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
}
