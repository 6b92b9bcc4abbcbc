//! What the control socket shows of connections, and what it does to them.

use std::collections::BTreeSet;

use pgw_core::control::{Answer, Ask, ConnectionsPage};
use pgw_core::redact::SniLog;
use tokio::io::AsyncReadExt;

use super::fakes::{FakeProxy, Manner, echoes, origin};
use super::lines::Lines;
use super::through::{hang_up, is_reset, say};
use super::*;
use crate::control::{Desk, LastWords};

const REQUEST: &[u8] = b"GET /secret HTTP/1.1\r\nHost: mail.alice.example.co.uk\r\n\r\n";

impl Gateway {
    pub(super) async fn ask(&self, ask: Ask) -> Answer {
        self.desk().answer(ask).await
    }

    pub(super) fn desk(&self) -> Desk {
        Desk {
            flag: self.flag.subscribe(),
            live: self.live.clone(),
            experience: self.shared.experience.clone(),
            stop: self.stop.clone(),
            heirs: self.heirs.clone(),
            service: self.shared.service.clone(),
            left_alone: Arc::default(),
            last_words: LastWords::default(),
        }
    }

    pub(super) async fn page(&self, after: Option<u64>, limit: Option<u32>) -> ConnectionsPage {
        match self.ask(Ask::Connections { after, limit }).await {
            Answer::Connections(page) => page,
            other => panic!("{other:?}"),
        }
    }
}

async fn echoing() -> Gateway {
    let proxy = FakeProxy::to(origin(echoes).await).await;
    Gateway::start(vec![upstream("de1", proxy.address)])
}

#[tokio::test]
async fn an_open_connection_is_shown_as_its_log_line_will_be() {
    for (policy, name, shows_destination) in [
        (SniLog::Off, "-", false),
        (SniLog::Redacted, "*.example.co.uk", false),
        (SniLog::Full, "mail.alice.example.co.uk", true),
    ] {
        let gateway = echoing().await;
        gateway.change(|flag| flag.sni_log = policy);
        let mut client = gateway.connect().await;
        say(&mut client, REQUEST).await;
        let mut page = gateway.page(None, None).await;
        assert_eq!((page.port, page.client.as_str(), page.next), (15001, "tv", None));
        let row = page.connections.remove(0);
        assert_eq!((row.upstream.as_deref(), row.name.as_str()), (Some("de1"), name));
        assert_eq!(row.mapping_id, Some(gateway.flag().upstreams[0].mapping_id));
        assert_eq!(row.destination, shows_destination.then_some(DESTINATION));
        assert_eq!((row.bytes_up, row.bytes_down), (56, 56));
        assert!(row.idle_ms <= row.age_ms);
        // What is open is hidden, too, as soon as the operator wants less to be seen.
        gateway.change(|flag| flag.sni_log = SniLog::Off);
        let row = gateway.page(None, None).await.connections.remove(0);
        assert_eq!((row.name.as_str(), row.destination), ("-", None), "{policy:?}");
        hang_up(client).await;
    }
}

#[tokio::test]
async fn a_connection_without_a_tunnel_yet_is_shown_and_can_be_closed() {
    let mut lines = Lines::capture();
    let hangs = FakeProxy::new(Manner::Hang).await;
    let gateway = Gateway::start(vec![upstream("de1", hangs.address)]);
    let mut client = gateway.connect().await;
    while gateway.live.open() == 0 {
        tokio::task::yield_now().await;
    }
    let row = gateway.page(None, None).await.connections.remove(0);
    assert_eq!((row.upstream, row.mapping_id, row.name.as_str()), (None, None, "-"));
    let closed = gateway.ask(Ask::Close { id: row.id }).await;
    assert_eq!(closed, Answer::Closed { id: row.id, was_open: true });
    assert!(is_reset(&mut client).await);
    assert_eq!(lines.wait(1).await[0]["end"], "closed");
}

#[tokio::test]
async fn closing_one_breaks_off_both_of_its_ends_and_no_other_connection() {
    let mut lines = Lines::capture();
    let (tell, mut told) = mpsc::channel(1);
    let origin = origin(move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut heard = Vec::new();
            let ended = loop {
                match stream.read_buf(&mut heard).await {
                    Ok(0) => break "end",
                    Ok(_) => {
                        tokio::io::AsyncWriteExt::write_all(&mut stream, &heard.split_off(0)).await.unwrap()
                    }
                    Err(_) => break "reset",
                }
            };
            tell.send(ended).await.unwrap();
        }
    })
    .await;
    let proxy = FakeProxy::to(origin).await;
    let gateway = Gateway::start(vec![upstream("de1", proxy.address)]);
    let (mut one, mut other) = (gateway.connect().await, gateway.connect().await);
    say(&mut one, b"one").await;
    say(&mut other, b"other").await;
    let rows = gateway.page(None, None).await.connections;
    let id = rows.iter().find(|row| row.bytes_up == 3).unwrap().id;
    assert_eq!(gateway.ask(Ask::Close { id }).await, Answer::Closed { id, was_open: true });
    assert!(is_reset(&mut one).await);
    // The fake proxy ends both halves when one of them broke.
    told.recv().await.unwrap();
    let line = &lines.wait(1).await[0];
    assert_eq!((&line["end"], &line["bytes_up"]), (&"closed".into(), &3.into()));
    say(&mut other, b"still here").await;
    assert_eq!(gateway.ask(Ask::Close { id }).await, Answer::Closed { id, was_open: false }, "it is gone");
}

#[tokio::test]
async fn what_is_open_all_the_time_is_on_exactly_one_page() {
    let gateway = echoing().await;
    let mut clients = Vec::new();
    for _client in 0..7 {
        let mut client = gateway.connect().await;
        say(&mut client, b"ping").await;
        clients.push(client);
    }
    let all: BTreeSet<u64> = gateway.page(None, None).await.connections.iter().map(|row| row.id).collect();
    let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = gateway.page(after, Some(3)).await;
        assert!(page.connections.len() <= 3);
        seen.extend(page.connections.iter().map(|row| row.id));
        pages += 1;
        let Some(next) = page.next else { break };
        after = Some(next);
        // Others come and go meanwhile.
        if pages == 1 {
            let id = seen[0];
            gateway.ask(Ask::Close { id }).await;
            while gateway.live.open() == 7 {
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!((pages, seen.len()), (3, 7));
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all);
    assert_eq!(gateway.page(None, Some(0)).await.connections.len(), 1, "no page is empty for want of room");
    assert_eq!(gateway.page(Some(u64::MAX), None).await.connections, []);
}

#[tokio::test]
async fn ids_say_nothing_to_the_next_forwarder_of_the_port() {
    let (one, other) = (echoing().await, echoing().await);
    let mut clients = (one.connect().await, other.connect().await);
    say(&mut clients.0, b"ping").await;
    say(&mut clients.1, b"ping").await;
    let id = one.page(None, None).await.connections[0].id;
    assert!(id < 1 << 53);
    assert_eq!(other.ask(Ask::Close { id }).await, Answer::Closed { id, was_open: false });
    say(&mut clients.1, b"still here").await;
}

#[tokio::test]
async fn a_drained_forwarder_has_left_its_port_when_it_says_so_and_lets_the_rest_finish() {
    let gateway = echoing().await;
    let mut client = gateway.connect().await;
    say(&mut client, b"ping").await;
    let drain = Ask::Drain { limit_s: Some(60) };
    assert_eq!(gateway.ask(drain).await, Answer::Draining { connections: 1 });
    let SocketAddr::V4(address) = gateway.address else { panic!() };
    let _successor = listener::bind(address).unwrap();
    // Asked again and again, it still ends.
    for _again in 0..20 {
        assert_eq!(gateway.ask(drain).await, Answer::Draining { connections: 1 });
    }
    assert!(gateway.status().draining);
    say(&mut client, b"still here").await;
    hang_up(client).await;
    gateway.running.await.unwrap();
}

#[tokio::test]
async fn a_drain_can_be_shortened_and_not_prolonged() {
    let mut lines = Lines::capture();
    let gateway = echoing().await;
    let mut client = gateway.connect().await;
    say(&mut client, b"ping").await;
    gateway.ask(Ask::Drain { limit_s: None }).await;
    gateway.ask(Ask::Drain { limit_s: Some(0) }).await;
    gateway.ask(Ask::Drain { limit_s: Some(u64::MAX) }).await;
    assert!(is_reset(&mut client).await);
    gateway.running.await.unwrap();
    assert_eq!(lines.wait(1).await[0]["end"], "drain");
}
