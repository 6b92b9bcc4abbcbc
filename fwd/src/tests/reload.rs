//! A flag file that changes under open connections.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fakes::{FakeProxy, Manner, echoes, origin};
use super::lines::Lines;
use super::through::{hang_up, is_reset, say};
use super::*;

#[tokio::test]
async fn connections_of_an_upstream_that_was_taken_away_are_closed_and_no_others() {
    let mut lines = Lines::capture();
    let origin = origin(echoes).await;
    let (first, second) = (FakeProxy::to(origin).await, FakeProxy::to(origin).await);
    let gateway = Gateway::start(vec![upstream("de1", first.address)]);
    let mut by_first = gateway.connect().await;
    say(&mut by_first, b"ping").await;

    gateway.change(|flag| flag.upstreams.insert(0, upstream("fr1", second.address)));
    let mut by_second = gateway.connect().await;
    say(&mut by_second, b"ping").await;
    say(&mut by_first, b"still here").await;

    gateway.change(|flag| flag.upstreams.retain(|upstream| upstream.upstream.name == "fr1"));
    assert!(is_reset(&mut by_first).await);
    say(&mut by_second, b"still here").await;
    hang_up(by_second).await;
    let ends: Vec<_> =
        lines.wait(2).await.iter().map(|l| (l["upstream"].clone(), l["end"].clone())).collect();
    assert_eq!(ends, [("de1".into(), "removed".into()), ("fr1".into(), "client".into())]);
}

#[tokio::test]
async fn what_does_not_move_the_exit_leaves_its_connections_alone() {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut client = gateway.connect().await;
    say(&mut client, b"ping").await;
    gateway.change(|flag| {
        flag.revision = uuid::Uuid::nil();
        flag.limits.idle_timeout_s = 1;
        flag.upstreams[0].upstream.name = "renamed".into();
        flag.upstreams[0].upstream.credentials =
            Some(pgw_core::proxy::Credentials::new("bob", "new").unwrap());
    });
    say(&mut client, b"still here").await;
    gateway.change(|flag| flag.upstreams[0].upstream.port = 1);
    assert!(is_reset(&mut client).await, "the same mapping, another exit");
}

#[tokio::test]
async fn a_port_that_changes_hands_keeps_nothing_of_its_former_client() {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut former = gateway.connect().await;
    say(&mut former, b"ping").await;
    gateway.change(|flag| flag.client.ip_cidr = "192.168.2.4".parse().unwrap());
    assert!(is_reset(&mut former).await);
    assert!(is_reset(&mut gateway.connect().await).await);
}

#[tokio::test]
async fn an_upstream_taken_away_while_it_was_dialled_carries_nothing() {
    let mut lines = Lines::capture();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let slow = listener.local_addr().unwrap();
    let gateway = Gateway::start(vec![upstream("de1", slow)]);
    let mut client = gateway.connect().await;
    client.write_all(b"secret").await.unwrap();
    let (mut proxy, _) = listener.accept().await.unwrap();
    gateway.change(|flag| flag.upstreams.clear());
    proxy.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    assert!(is_reset(&mut client).await);
    let mut heard = Vec::new();
    let _reset = proxy.read_to_end(&mut heard).await;
    assert!(!heard.windows(6).any(|window| window == b"secret"));
    assert_eq!(lines.wait(1).await[0]["end"], "removed");
}

#[tokio::test]
async fn an_upstream_taken_away_before_its_turn_is_not_dialled() {
    let next = FakeProxy::to(origin(echoes).await).await;
    let hangs = FakeProxy::new(Manner::Hang).await;
    let gateway = Gateway::start(vec![upstream("de1", hangs.address), upstream("fr1", next.address)]);
    gateway.change(|flag| flag.limits.connect_timeout_ms = u64::try_from(SHORT.as_millis()).unwrap());
    let mut client = gateway.connect().await;
    while gateway.live.open() == 0 {
        tokio::task::yield_now().await;
    }
    gateway.change(|flag| drop(flag.upstreams.pop()));
    assert!(is_reset(&mut client).await);
    assert_eq!(next.asked(), [""; 0]);
}
