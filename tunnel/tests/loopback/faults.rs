//! Bad input and bad luck. Nothing else on the gateway notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgw_core::redact::Secret;
use pgw_core::tunnel::Protocol;
use pgw_tunnel::tls;
use pgw_tunnel::wire::hello::{First, Hello, RefusalCode, Reply};
use pgw_tunnel::wire::{PROTOCOL, SERVER_NAME, line};
use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{Machine, PATIENCE, World, ask_echo, asks, echo};

/// A client whose words we choose.
pub(crate) async fn stranger(world: &World) -> TlsStream<TcpStream> {
    stranger_with(world, tls::client_config(world.pin.parse().unwrap(), false).unwrap()).await
}

async fn stranger_with(world: &World, config: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    TlsConnector::from(config).connect(name, stream).await.unwrap()
}

pub(crate) fn hello(name: &str, token: &Secret) -> Hello {
    Hello {
        protocol: PROTOCOL,
        version: "test".to_owned(),
        client: name.to_owned(),
        token: token.clone(),
        enrol: None,
        open_ports: Vec::new(),
        filter: Default::default(),
    }
}

async fn refused(world: &World, hello: Hello) -> RefusalCode {
    let mut stream = stranger(world).await;
    line::write(&mut stream, &First::Hello(hello)).await.unwrap();
    match timeout(PATIENCE, line::read::<Reply>(&mut stream)).await.unwrap().unwrap() {
        Reply::Refused(refusal) => refusal.code,
        Reply::Welcome(_) => panic!("let in"),
    }
}

#[tokio::test]
async fn who_is_not_known_is_refused_with_a_reason_and_a_revoked_client_is_cut_off() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let wrong = Secret::new("f".repeat(64));
    assert_eq!(refused(&world, hello("pc", &wrong)).await, RefusalCode::WrongToken);
    assert_eq!(refused(&world, hello("nobody", &token)).await, RefusalCode::WrongToken);
    let old = Hello { protocol: 0, ..hello("pc", &token) };
    assert_eq!(refused(&world, old).await, RefusalCode::TooOld);
    let new = Hello { protocol: PROTOCOL + 1, ..hello("pc", &token) };
    assert_eq!(refused(&world, new).await, RefusalCode::TooNew);
    let _machine = world.connect("pc", &token, &[]);
    world.until_online("pc", true).await;
    world.desired.clients[0].token = None;
    world.apply().await;
    world.until_online("pc", false).await;
    assert_eq!(refused(&world, hello("pc", &token)).await, RefusalCode::WrongToken);
}

#[tokio::test]
async fn a_gateway_with_another_authority_is_not_spoken_to() {
    let (world, other) = (World::new().await, World::new().await);
    let config = tls::client_config(other.pin.parse().unwrap(), false).unwrap();
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let error = TlsConnector::from(config).connect(name, stream).await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
}

/// A machine without a battery begins in 1970, or wherever else.
#[derive(Debug)]
struct Clock(u64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

#[tokio::test]
async fn a_client_whose_clock_is_off_comes_in() {
    let mut world = World::new().await;
    let (_, token) = world.client("pi").await;
    for years in [0, 1, 30, 130, 1_000] {
        let config = tls::client_config(world.pin.parse().unwrap(), false).unwrap();
        let mut config = ClientConfig::clone(&config);
        config.time_provider = Arc::new(Clock(years * 365 * 86_400));
        let mut stream = stranger_with(&world, Arc::new(config)).await;
        line::write(&mut stream, &First::Hello(hello("pi", &token))).await.unwrap();
        let reply = timeout(PATIENCE, line::read::<Reply>(&mut stream)).await.unwrap().unwrap();
        assert!(matches!(reply, Reply::Welcome(_)), "{years} years after 1970");
    }
}

#[tokio::test]
async fn nonsense_floods_and_silence_disturb_nobody_else() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let (_, flooding) = world.client("flood").await;
    let _machine = world.connect("pc", &token, &[asks(0, "tcp", echo().await)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    // Before anything is known of them.
    let mut strangers = Vec::new();
    for words in [&b"\x16\x03\x01\xff\xff"[..], b"GET / HTTP/1.1\r\n", b"\0", b""] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(words).await.unwrap();
        strangers.push(stream);
    }
    let mut huge = stranger(&world).await;
    huge.write_all(&[0xff; 4]).await.unwrap();
    // One that is let in, asks without an end and reads nothing.
    let mut stream = stranger(&world).await;
    line::write(&mut stream, &First::Hello(hello("flood", &flooding))).await.unwrap();
    let flood = tokio::spawn(async move {
        let ping = pgw_tunnel::wire::word::ClientWord::Ping { number: 1, rtt_ms: None };
        while line::write(&mut stream, &ping).await.is_ok() {}
    });
    world.until_online("flood", true).await;
    for _ in 0..20 {
        assert_eq!(ask_echo(world.public(port), vec![5; 20_000]).await, vec![5; 20_000]);
    }
    flood.abort();
}

#[tokio::test]
async fn a_visitor_that_sends_a_byte_now_and_then_and_many_at_once_are_nobodys_trouble() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let port = world.base + 6;
    world.tunnel(id, Protocol::Tcp, port, echo().await);
    world.desired.tunnels[0].limits.max_connections = Some(50);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    let mut slow = TcpStream::connect(world.public(port)).await.unwrap();
    slow.write_all(b"1").await.unwrap();
    assert_eq!(slow.read_u8().await.unwrap(), b'1');
    let mut crowd = Vec::new();
    for _ in 0..400 {
        if let Ok(stream) = TcpStream::connect(world.public(port)).await {
            crowd.push(stream);
        }
    }
    world.until("no more than it may have", |s| s.tunnels[0].active == 50).await;
    slow.write_all(b"2").await.unwrap();
    assert_eq!(timeout(PATIENCE, slow.read_u8()).await.unwrap().unwrap(), b'2');
    drop(crowd);
    drop(slow);
    world.until("all gone", |s| s.tunnels[0].active == 0).await;
    assert_eq!(ask_echo(world.public(port), vec![5; 20]).await, [5; 20]);
}

#[tokio::test]
async fn one_address_does_not_take_all_places() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let port = world.base + 7;
    world.tunnel(id, Protocol::Tcp, port, echo().await);
    world.desired.tunnels[0].limits.max_per_visitor = Some(2);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    let mut here = Vec::new();
    for n in 0..2 {
        let mut stream = TcpStream::connect(world.public(port)).await.unwrap();
        stream.write_all(&[n]).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), n);
        here.push(stream);
    }
    let mut third = TcpStream::connect(world.public(port)).await.unwrap();
    let _reset = third.write_all(b"x").await;
    assert!(!matches!(timeout(PATIENCE, third.read_u8()).await.unwrap(), Ok(b'x')));
    drop(here);
    world.until("free again", |s| s.tunnels[0].active == 0).await;
    assert_eq!(ask_echo(world.public(port), vec![1]).await, [1]);
}

/// G33.
#[tokio::test]
async fn a_target_outside_what_the_client_agrees_to_is_not_reached() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = world.base + 8;
    world.tunnel(id, Protocol::Tcp, port, listener.local_addr().unwrap());
    world.apply().await;
    let mut config = world.config("pc", "");
    config.token = Some(token);
    config.client.deny = vec!["127.0.0.0/8".parse().unwrap()];
    let _machine = Machine::start(config, world.dir.path().join("pc.token"));
    world.until_active(1).await;
    let mut visitor = TcpStream::connect(world.public(port)).await.unwrap();
    assert!(timeout(PATIENCE, visitor.read_u8()).await.unwrap().is_err(), "closed");
    assert!(timeout(Duration::from_millis(1), listener.accept()).await.is_err(), "and nobody was asked");
}

#[tokio::test]
async fn a_cable_that_is_pulled_ends_the_session_and_the_client_comes_back_another_way() {
    // What is on the way is held back, both ways, and no connection is told.
    let cable = Arc::new(AtomicBool::new(true));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let on_the_way = listener.local_addr().unwrap();
    let mut world = World::new().await;
    let to: SocketAddr = world.address;
    let whole = cable.clone();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(to).await.unwrap();
            let (near, far) = (near.into_split(), far.into_split());
            for (mut from, mut into) in [(near.0, far.1), (far.0, near.1)] {
                let cable = whole.clone();
                tokio::spawn(async move {
                    let mut room = vec![0; 16_384];
                    while let Ok(count) = from.read(&mut room).await {
                        if !cable.load(Ordering::Relaxed) {
                            std::future::pending::<()>().await;
                        }
                        if count == 0 || into.write_all(&room[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        }
    });
    let (_, token) = world.client("pc").await;
    let mut config = world.config("pc", "");
    config.server = on_the_way.to_string().try_into().unwrap();
    config.token = Some(token);
    config.client.open_ports =
        serde_saphyr::from_str(&format!("[{}]", asks(0, "tcp", echo().await))).unwrap();
    let _machine = Machine::start(config, world.dir.path().join("pc.token"));
    let port = world.until_active(1).await[0].public_port.unwrap();
    let first = world.status().await.clients[0].session.clone().unwrap().id;
    let start = std::time::Instant::now();
    cable.store(false, Ordering::Relaxed);
    // Sooner or later both ends know by their silence alone. New connections get through.
    cable_back(&cable, start).await;
    let back = async {
        loop {
            let status = world.status().await;
            if status.clients[0].session.as_ref().is_some_and(|session| session.id != first) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(75), back).await.expect("it did not come back");
    world.until_active(1).await;
    assert_eq!(ask_echo(world.public(port), vec![9; 100]).await, [9; 100]);
}

/// When everything that was on the way has met the cut, the way is free for others.
async fn cable_back(cable: &AtomicBool, since: std::time::Instant) {
    let longer_than_a_heartbeat = Duration::from_secs(17);
    tokio::time::sleep(longer_than_a_heartbeat.saturating_sub(since.elapsed())).await;
    cable.store(true, Ordering::Relaxed);
}
