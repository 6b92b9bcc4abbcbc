//! Connections that sleep: nobody at either end can tell, but by the memory.

use std::io::ErrorKind;

use pgw_core::control::Ask;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fakes::{FakeProxy, echoes, origin};
use super::lines::Lines;
use super::through::{hang_up, is_reset, say};
use super::*;

impl Gateway {
    /// Waits until so many sleep, without waiting for the time that it takes.
    async fn sleeping(&self, count: u32) {
        tokio::time::pause();
        let falling_asleep = async {
            while self.live.asleep() != count {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let slept = tokio::time::timeout(Duration::from_secs(60), falling_asleep).await;
        assert!(slept.is_ok(), "{} of {count} sleep", self.live.asleep());
        tokio::time::resume();
    }
}

async fn with_sleepers(count: u32) -> (Gateway, Vec<TcpStream>) {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut clients = Vec::new();
    for _client in 0..count {
        let mut client = gateway.connect().await;
        say(&mut client, b"ping").await;
        clients.push(client);
    }
    gateway.sleeping(count).await;
    (gateway, clients)
}

#[tokio::test]
async fn a_sleeping_connection_wakes_for_the_client_and_sleeps_again() {
    let mut lines = Lines::capture();
    let (gateway, mut clients) = with_sleepers(3).await;
    for _time in 0..3 {
        say(&mut clients[1], b"still here").await;
        assert_eq!(gateway.live.asleep(), 2, "the others sleep on");
        gateway.sleeping(3).await;
    }
    assert_eq!((gateway.live.open(), gateway.status().bytes_up), (3, 4 * 3 + 10 * 3));
    hang_up(clients.remove(1)).await;
    let line = &lines.wait(1).await[0];
    assert_eq!((&line["end"], &line["bytes_down"]), (&"client".into(), &34.into()));
    assert_eq!((gateway.live.open(), gateway.live.asleep()), (2, 2));
}

#[tokio::test]
async fn a_sleeping_connection_hears_its_upstream_too() {
    let (speak, spoken) = tokio::sync::watch::channel(false);
    let origin = origin(move |mut stream| {
        let mut spoken = spoken.clone();
        async move {
            stream.write_all(b"220 ready").await.unwrap();
            spoken.wait_for(|spoken| *spoken).await.unwrap();
            stream.write_all(b"421 timeout").await.unwrap();
        }
    });
    let proxy = FakeProxy::to(origin.await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut client = gateway.connect().await;
    client.read_exact(&mut [0; 9]).await.unwrap();
    gateway.sleeping(1).await;
    speak.send_replace(true);
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "421 timeout", "the last words, and the end");
}

#[tokio::test]
async fn a_client_that_vanishes_or_ends_while_it_sleeps_is_let_go() {
    let mut lines = Lines::capture();
    let (gateway, mut clients) = with_sleepers(2).await;
    clients[0].set_zero_linger().unwrap();
    drop(clients.remove(0));
    lines.wait(1).await;
    hang_up(clients.remove(0)).await;
    lines.wait(2).await;
    assert_eq!((gateway.live.open(), gateway.live.asleep()), (0, 0));
}

#[tokio::test]
async fn every_word_that_ends_a_connection_reaches_a_sleeping_one() {
    let mut lines = Lines::capture();
    let (gateway, mut clients) = with_sleepers(3).await;
    let id = gateway.page(None, None).await.connections[1].id;
    gateway.ask(Ask::Close { id }).await;
    assert!(is_reset(&mut clients.remove(1)).await);
    gateway.change(|flag| flag.upstreams.clear());
    for client in &mut clients {
        assert!(is_reset(client).await);
    }
    let ends: Vec<_> = lines.wait(3).await.iter().map(|line| line["end"].clone()).collect();
    assert_eq!(ends, ["closed", "removed", "removed"]);
    assert_eq!(gateway.live.asleep(), 0);
}

#[tokio::test]
async fn a_stopping_forwarder_waits_for_sleeping_connections_and_ends_them_in_time() {
    let mut lines = Lines::capture();
    let (gateway, mut clients) = with_sleepers(2).await;
    gateway.ask(Ask::Drain { limit_s: Some(60) }).await;
    say(&mut clients[0], b"still here").await;
    gateway.ask(Ask::Drain { limit_s: Some(0) }).await;
    for client in &mut clients {
        assert!(is_reset(client).await);
    }
    gateway.running.await.unwrap();
    for line in lines.wait(2).await {
        assert_eq!(line["end"], "drain");
    }
}

#[tokio::test]
async fn an_idle_connection_ends_in_its_sleep() {
    let mut lines = Lines::capture();
    let (gateway, mut clients) = with_sleepers(1).await;
    tokio::time::pause();
    let ended = clients[0].read(&mut [0]).await.map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
    assert_eq!(lines.wait(1).await[0]["end"], "idle");
    assert_eq!(gateway.live.open(), 0);
}

#[tokio::test]
async fn who_has_ended_one_half_does_not_sleep_and_loses_nothing() {
    let (tell, told) = tokio::sync::watch::channel(false);
    let origin = origin(move |mut stream| {
        let mut told = told.clone();
        async move {
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            told.wait_for(|told| *told).await.unwrap();
            stream.write_all(&heard).await.unwrap();
        }
    });
    let proxy = FakeProxy::to(origin.await).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let mut client = gateway.connect().await;
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(30)).await;
    tokio::time::resume();
    assert_eq!((gateway.live.open(), gateway.live.asleep()), (1, 0));
    tell.send_replace(true);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "question");
}
