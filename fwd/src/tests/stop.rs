//! Stopping: what is open may finish, within bounds.

use std::io::ErrorKind;

use super::fakes::{FakeProxy, echoes, origin};
use super::lines::Lines;
use super::through::{hang_up, is_reset, say};
use super::*;

async fn with_one_connection(drain_s: u64) -> (Gateway, TcpStream) {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    gateway.change(|flag| flag.limits.drain_s = drain_s);
    let mut client = gateway.connect().await;
    say(&mut client, b"ping").await;
    (gateway, client)
}

#[tokio::test]
async fn a_stopping_forwarder_accepts_nothing_and_lets_open_connections_finish() {
    let (gateway, mut client) = with_one_connection(60).await;
    gateway.stop.send(Stop::Signal).await.unwrap();
    while !gateway.status().draining {
        tokio::task::yield_now().await;
    }
    let refused = TcpStream::connect(gateway.address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    say(&mut client, b"still here").await;
    hang_up(client).await;
    gateway.running.await.unwrap();
}

#[tokio::test]
async fn draining_ends_with_its_time() {
    let mut lines = Lines::capture();
    let (gateway, mut client) = with_one_connection(0).await;
    gateway.stop.send(Stop::Signal).await.unwrap();
    assert!(is_reset(&mut client).await);
    gateway.running.await.unwrap();
    assert_eq!(lines.wait(1).await[0]["end"], "drain");
}

#[tokio::test]
async fn a_second_signal_ends_the_draining_at_once() {
    let (gateway, mut client) = with_one_connection(60).await;
    gateway.stop.send(Stop::Signal).await.unwrap();
    gateway.stop.send(Stop::Signal).await.unwrap();
    assert!(is_reset(&mut client).await);
    gateway.running.await.unwrap();
}
