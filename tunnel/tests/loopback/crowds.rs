//! Too much of something, and everybody else (G39).

use std::future::poll_fn;
use std::time::{Duration, Instant};

use pgw_core::tunnel::Protocol;
use pgw_tunnel::wire::hello::{First, Join, Kind, Reply};
use pgw_tunnel::wire::line;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use crate::faults::{hello, stranger};
use crate::world::{PATIENCE, World, ask_echo, asks, echo};

const CROWD: usize = 10_000;

/// The visitors' ends, and those of the few that are let in.
fn files_for(visitors: usize) {
    pgw_core::resources::raise_file_limit();
    let files = pgw_core::resources::file_limit();
    assert!(files > visitors + 4_000, "this test needs more than {files} open files: ulimit -Hn");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_visitors_at_once_are_kept_within_bounds_and_nobody_else_notices() {
    files_for(CROWD);
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let (_, quiet) = world.client("quiet").await;
    world.desired.clients[0].max_connections = 300;
    let port = world.base + 6;
    world.tunnel(id, Protocol::Tcp, port, echo().await);
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    let _other = world.connect("quiet", &quiet, &[asks(world.base + 7, "tcp", echo().await)]);
    world.until_active(2).await;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        // One address has not so many ports as this and the other tests want.
        let last = u8::try_from(n % 50).unwrap() + 2;
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 1, last], 0).into()).unwrap();
        crowd.push(tokio::spawn(socket.connect(world.public(port))));
    }
    let start = Instant::now();
    assert_eq!(ask_echo(world.public(world.base + 7), vec![5; 20_000]).await, vec![5; 20_000]);
    let answered = start.elapsed();
    let mut held = Vec::new();
    for visitor in crowd {
        held.extend(timeout(PATIENCE, visitor).await.unwrap().unwrap().ok());
    }
    world.until("no more than it may have", |s| s.tunnels.iter().any(|t| t.active == 300)).await;
    // A client that comes now comes in, and so does a visitor of another one.
    let (_, late) = world.client("late").await;
    let _late = world.connect("late", &late, &[asks(world.base + 8, "tcp", echo().await)]);
    world.until_active(3).await;
    assert_eq!(ask_echo(world.public(world.base + 8), vec![6; 200]).await, [6; 200]);
    assert!(answered < Duration::from_secs(10), "the others waited for {answered:?}");
    drop(held);
    world.until("all gone", |s| s.tunnels.iter().all(|t| t.active == 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_opens_streams_without_an_end_disturbs_nobody() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let (_, flooding) = world.client("flood").await;
    let _machine = world.connect("pc", &token, &[asks(world.base + 6, "tcp", echo().await)]);
    world.until_active(1).await;
    let mut control = stranger(&world).await;
    line::write(&mut control, &First::Hello(hello("flood", &flooding))).await.unwrap();
    let Reply::Welcome(welcome) = line::read::<Reply>(&mut control).await.unwrap() else { panic!("refused") };
    let mut mux = stranger(&world).await;
    let join = Join { session: welcome.session, secret: welcome.secret, kind: Kind::Mux };
    line::write(&mut mux, &First::Join(join)).await.unwrap();
    let flood = tokio::spawn(async move {
        let mut connection =
            yamux::Connection::new(mux.compat(), yamux::Config::default(), yamux::Mode::Server);
        let mut opened = 0_usize;
        loop {
            let polled = poll_fn(|cx| {
                // Until the connection is lost; what the other end says has to be heard, too.
                match connection.poll_new_outbound(cx) {
                    std::task::Poll::Ready(Ok(_stream)) => std::task::Poll::Ready(true),
                    std::task::Poll::Ready(Err(_)) => std::task::Poll::Ready(false),
                    std::task::Poll::Pending => match connection.poll_next_inbound(cx) {
                        std::task::Poll::Ready(None | Some(Err(_))) => std::task::Poll::Ready(false),
                        _ => std::task::Poll::Pending,
                    },
                }
            });
            if !polled.await {
                return opened;
            }
            opened += 1;
            if opened == 100_000 {
                return opened;
            }
        }
    });
    for _ in 0..50 {
        assert_eq!(ask_echo(world.public(world.base + 6), vec![5; 2_000]).await, vec![5; 2_000]);
    }
    flood.abort();
    world.until_online("pc", true).await;
}

#[tokio::test]
async fn all_tunnels_of_a_client_together_are_no_faster_than_the_client_may_be() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    world.desired.clients[0].bandwidth = Some(RATE);
    let ports = [world.base + 6, world.base + 7];
    let target = source().await;
    for port in ports {
        world.tunnel(id, Protocol::Tcp, port, target);
    }
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(2).await;
    let start = Instant::now();
    let took = futures_util::future::join_all(ports.map(|port| {
        let address = world.public(port);
        async move {
            let mut visitor = TcpStream::connect(address).await.unwrap();
            let mut got = Vec::new();
            timeout(PATIENCE, visitor.read_to_end(&mut got)).await.unwrap().unwrap();
            got.len()
        }
    }))
    .await;
    assert_eq!(took, [OFFERED, OFFERED]);
    // A quarter of a second's worth may come at once.
    let least = Duration::from_millis(2 * OFFERED as u64 * 1_000 / RATE - 250);
    // What is read last is waited for by nobody.
    let slack = Duration::from_millis(400);
    assert!(start.elapsed() + slack > least, "{:?}, and not {least:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_is_held_back_later_is_held_back_on_all_its_tunnels() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let ports = [world.base + 6, world.base + 7, world.base + 8];
    let target = source().await;
    for port in ports {
        world.tunnel(id, Protocol::Tcp, port, target);
    }
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(ports.len()).await;
    world.desired.clients[0].bandwidth = Some(RATE);
    world.apply().await;
    world.until("as it is wanted now", |s| s.revision == world.desired.revision).await;
    // The look that makes it so is over when its last change is seen.
    world.desired.tunnels.pop();
    world.apply().await;
    world.until("one is gone", |s| s.tunnels.len() == ports.len() - 1).await;
    for port in &ports[..2] {
        let start = Instant::now();
        let mut visitor = TcpStream::connect(world.public(*port)).await.unwrap();
        let mut got = Vec::new();
        timeout(PATIENCE, visitor.read_to_end(&mut got)).await.unwrap().unwrap();
        assert_eq!(got.len(), OFFERED);
        // A quarter of a second's worth may come at once, and as much again is slack.
        let least = Duration::from_millis(OFFERED as u64 * 1_000 / RATE - 500);
        assert!(start.elapsed() > least, "port {port}: {:?}, and not {least:?}", start.elapsed());
    }
}

const RATE: u64 = 400_000;
const OFFERED: usize = 400_000;

/// Gives everybody the same, and hangs up.
async fn source() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.write_all(&vec![7; OFFERED]).await });
        }
    });
    address
}
