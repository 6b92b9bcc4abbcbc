//! `target: hostname`: the upstream is asked for the name, if there is one in time.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fakes::{FakeProxy, echoes, origin};
use super::through::say;
use super::*;

/// A ClientHello that asks for `name`.
pub(super) fn hello(name: &str) -> Vec<u8> {
    fn field(width: usize, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[4 - width..], content].concat()
    }
    let names = field(2, &[&[0][..], &field(2, name.as_bytes())].concat());
    let extensions = field(2, &[&[0, 0][..], &field(2, &names)].concat());
    let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &extensions].concat();
    [&[22, 3, 1][..], &field(2, &[&[1][..], &field(3, &body)].concat())].concat()
}

/// Says `pieces` one by one, each when the one before is on its way; returns what the proxy
/// was asked for. Every byte must come back from the origin.
async fn asked_for(pieces: Vec<&[u8]>, peek_ms: u64) -> String {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let mut by_name = upstream("de1", proxy.address);
    by_name.target = Target::Hostname;
    let gateway = Gateway::start(vec![by_name]);
    gateway.change(|flag| flag.limits.peek_ms = peek_ms);
    let mut client = gateway.connect().await;
    client.set_nodelay(true).unwrap();
    for piece in &pieces {
        client.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, pieces.concat());
    // An echo is no answer to a hello, which is then sent once more, by another tunnel.
    let mut asked = proxy.asked();
    asked.dedup();
    asked.concat()
}

#[tokio::test]
async fn the_upstream_is_asked_for_the_name_that_the_client_says() {
    let hello = hello("www.example.com");
    assert_eq!(asked_for(vec![&hello], 60_000).await, "www.example.com:443");
    let request = b"GET / HTTP/1.1\r\nHost: a.example:80\r\n\r\n";
    assert_eq!(asked_for(vec![request], 60_000).await, "a.example:443");
}

#[tokio::test]
async fn a_hello_in_single_bytes_is_understood_and_passed_on_whole() {
    let hello = hello("www.example.com");
    assert_eq!(asked_for(hello.chunks(1).collect(), 60_000).await, "www.example.com:443");
}

#[tokio::test]
async fn without_a_usable_name_the_upstream_is_asked_for_the_address() {
    let address = "198.51.100.7:443";
    let (literal, empty, itself) = (hello("192.0.2.1"), hello(""), hello("localhost"));
    for (what, said) in [
        ("an address in the hello", &literal[..]),
        ("an empty name", &empty),
        ("the asker himself", &itself),
        ("an address that is written as a name", b"GET / HTTP/1.1\r\nHost: 0x7f000001\r\n\r\n"),
        ("two hosts", b"GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n"),
        ("another protocol", b"SSH-2.0-x\r\n"),
        ("half a request and the end", b"GET / HT"),
        ("nothing and the end", b""),
    ] {
        assert_eq!(asked_for(vec![said], 60_000).await, address, "{what}");
    }
}

#[tokio::test]
async fn who_will_say_no_name_is_passed_on_at_once() {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let mut by_name = upstream("de1", proxy.address);
    by_name.target = Target::Hostname;
    // Which waits for a minute, if it waits.
    let gateway = Gateway::start(vec![by_name]);
    for said in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
        b"GET http://a.example/ HTTP/1.1\r\n",
        b"\x15\x03\x01",
    ] {
        let mut client = gateway.connect().await;
        say(&mut client, said).await;
    }
    assert_eq!(proxy.asked(), ["198.51.100.7:443"; 4]);
}

#[tokio::test]
async fn a_silent_client_is_waited_for_no_longer_than_the_bound() {
    let greets = origin(|mut stream| async move { stream.write_all(b"220 ready").await.unwrap() }).await;
    let proxy = FakeProxy::to(greets).await;
    let mut by_name = upstream("de1", proxy.address);
    by_name.target = Target::Hostname;
    let gateway = Gateway::start(vec![by_name]);
    gateway.change(|flag| flag.limits.peek_ms = 50);
    let mut heard = String::new();
    gateway.connect().await.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "220 ready");
    assert_eq!(proxy.asked(), ["198.51.100.7:443"]);
}
