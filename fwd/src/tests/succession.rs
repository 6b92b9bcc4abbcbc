//! One forwarder after another on the same port.

use std::path::PathBuf;

use pgw_core::control::{Answer, Ask, socket_path};
use tempfile::TempDir;

use super::fakes::{FakeProxy, echoes, origin};
use super::through::{hang_up, say};
use super::*;
use crate::control::Control;
use crate::sockets::Sockets;
use crate::succession::Predecessor;

struct Served {
    gateway: Gateway,
    dir: TempDir,
}

impl Served {
    /// A forwarder with its control socket.
    async fn start() -> Self {
        let proxy = FakeProxy::to(origin(echoes).await).await;
        let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
        let dir = tempfile::tempdir().unwrap();
        let control = Control::bind(&socket_path(dir.path(), 15001)).unwrap();
        let desk = gateway.desk();
        tokio::spawn(control.serve(desk));
        Self { gateway, dir }
    }

    fn path(&self) -> PathBuf {
        socket_path(self.dir.path(), 15001)
    }

    /// What blocks a forwarder that serves nobody yet must not block its predecessor here.
    async fn asks(&self) -> (Predecessor, Sockets) {
        let path = self.path();
        tokio::task::spawn_blocking(move || Predecessor::ask(&path)).await.unwrap().unwrap()
    }
}

async fn relieve(predecessor: Predecessor) {
    tokio::task::spawn_blocking(|| predecessor.relieve()).await.unwrap().unwrap();
}

#[tokio::test]
async fn g7_the_next_forwarder_accepts_while_the_one_before_it_carries_on() {
    let old = Served::start().await;
    let mut early = old.gateway.connect().await;
    say(&mut early, b"before").await;
    let (predecessor, sockets) = old.asks().await;
    let mut late = old.gateway.connect().await;
    say(&mut late, b"nothing has changed yet").await;
    relieve(predecessor).await;
    assert!(old.gateway.status().draining);

    // It is accepted by nobody yet, and refused by nobody either.
    let mut between = old.gateway.connect().await;
    let [listener, _datagrams] = sockets.as_fds();
    let listener = listener::adopt(listener.try_clone_to_owned().unwrap().into()).unwrap();
    let (mut accepted, _) = listener.accept().await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut between, b"hello").await.unwrap();
    let mut heard = [0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut accepted, &mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");

    say(&mut early, b"still here").await;
    say(&mut late, b"and here").await;
    hang_up(early).await;
    hang_up(late).await;
    old.gateway.running.await.unwrap();
}

#[tokio::test]
async fn an_heir_that_leaves_changes_nothing_and_the_next_one_is_welcome() {
    let old = Served::start().await;
    for _heir in 0..3 {
        let (predecessor, sockets) = old.asks().await;
        // As far as it can come without having taken over.
        let control = Control::bind(&old.path()).unwrap();
        drop((predecessor, sockets));
        let asked = old.path();
        // Nobody answers behind the heir's socket; the old one puts its own there again.
        let answered = async {
            loop {
                let path = asked.clone();
                let told = tokio::task::spawn_blocking(move || Predecessor::ask(&path).is_ok());
                if tokio::time::timeout(SHORT, told).await.is_ok_and(|told| told.unwrap_or(false)) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered).await.unwrap();
        drop(control);
    }
    let mut client = old.gateway.connect().await;
    say(&mut client, b"ping").await;
    assert!(!old.gateway.status().draining);
}

#[tokio::test]
async fn who_stops_hands_over_nothing_and_who_followed_is_let_go() {
    let old = Served::start().await;
    let mut client = old.gateway.connect().await;
    say(&mut client, b"ping").await;
    let mut follower = tokio::net::UnixStream::connect(old.path()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut follower, b"{\"ask\":\"follow\"}\n").await.unwrap();
    old.gateway.stop.send(Stop::Signal).await.unwrap();
    let mut heard = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut follower, &mut heard).await.unwrap();
    let path = old.path();
    let refused = tokio::task::spawn_blocking(move || Predecessor::ask(&path).err().unwrap());
    let refused = refused.await.unwrap().to_string();
    assert!(refused.contains("stopping"), "{refused}");
    assert!(matches!(old.gateway.ask(Ask::HandOver).await, Answer::Error { .. }));
}

#[tokio::test]
async fn sockets_of_another_port_are_not_served() {
    let old = Served::start().await;
    let (_predecessor, sockets) = old.asks().await;
    let told = sockets.take(1).err().unwrap().to_string();
    assert!(told.contains("for another port"), "{told}");
}

#[tokio::test]
async fn after_a_hand_over_the_first_signal_gives_the_flag_files_time_and_the_second_none() {
    let old = Served::start().await;
    let mut client = old.gateway.connect().await;
    say(&mut client, b"ping").await;
    let (predecessor, _sockets) = old.asks().await;
    relieve(predecessor).await;
    old.gateway.stop.send(Stop::Signal).await.unwrap();
    say(&mut client, b"drains for its usual time").await;
    old.gateway.stop.send(Stop::Signal).await.unwrap();
    assert!(super::through::is_reset(&mut client).await);
    old.gateway.running.await.unwrap();
}
