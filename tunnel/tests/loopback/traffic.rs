//! What visitors send arrives, whole and in its borders.

use std::time::Duration;

use pgw_core::tunnel::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, ask_echo, asks, echo, noise, udp_echo};

#[tokio::test]
async fn a_client_asks_for_a_port_and_what_arrives_there_reaches_its_target() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let _machine = world.connect("pc", &token, &[asks(0, "tcp", echo().await)]);
    let tunnels = world.until_active(1).await;
    let port = tunnels[0].public_port.unwrap();
    assert_eq!(port, world.base, "the lowest");
    for length in [0, 1, 70_000, 3_000_000] {
        let sent = noise(length);
        let got = ask_echo(world.public(port), sent.clone()).await;
        assert!(got == sent, "{} of {length}", got.len());
    }
    let status = world.status().await;
    assert_eq!(status.tunnels[0].bytes_in, 3_070_001);
    assert_eq!(status.tunnels[0].bytes_out, 3_070_001);
    assert_eq!((status.tunnels[0].connections, status.tunnels[0].active), (4, 0));
}

#[tokio::test]
async fn more_visitors_than_lanes_are_served_at_the_same_time() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let _machine = world.connect("pc", &token, &[asks(0, "tcp", echo().await)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    let mut visitors = Vec::new();
    for n in 0..200_u8 {
        let mut visitor = TcpStream::connect(world.public(port)).await.unwrap();
        visitor.write_all(&[n; 100]).await.unwrap();
        visitors.push(visitor);
    }
    for (n, visitor) in visitors.iter_mut().enumerate() {
        let mut got = [0; 100];
        timeout(PATIENCE, visitor.read_exact(&mut got))
            .await
            .unwrap_or_else(|_| panic!("visitor {n}"))
            .unwrap();
        assert_eq!(got, [u8::try_from(n).unwrap(); 100]);
    }
    assert_eq!(world.status().await.tunnels[0].active, 200);
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = world.base + 3;
    world.tunnel(id, Protocol::Tcp, port, listener.local_addr().unwrap());
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    let mut visitor = TcpStream::connect(world.public(port)).await.unwrap();
    let (mut server, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    server.write_all(b"220 hello").await.unwrap();
    let mut got = [0; 9];
    timeout(PATIENCE, visitor.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(&got, b"220 hello");
}

/// G34.
#[tokio::test]
async fn datagrams_keep_their_borders_up_to_the_longest_there_is() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let _machine = world.connect("pc", &token, &[asks(0, "udp", udp_echo().await)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    for length in [0, 1, 1_500, 2_500, 9_000, 65_507] {
        let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        visitor.connect(world.public(port)).await.unwrap();
        let sent = noise(length);
        let mut got = vec![0; 65_535];
        let answered = async {
            // A datagram may be lost on its way, here as well: a burst is not what is tried.
            loop {
                visitor.send(&sent).await.unwrap();
                if let Ok(count) = timeout(Duration::from_secs(5), visitor.recv(&mut got)).await {
                    return count.unwrap();
                }
            }
        };
        let count = timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("{length} bytes"));
        assert!(got[..count] == sent, "{count} of {length}");
    }
}

#[tokio::test]
async fn tcp_and_udp_may_share_a_port_and_each_visitor_has_its_own_conversation() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let udp = UdpSocket::bind(target).await.unwrap();
    let _machine = world.connect("pc", &token, &[asks(0, "both", target)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    let _visitor = TcpStream::connect(world.public(port)).await.unwrap();
    timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut seen = Vec::new();
    for n in 0..2_u8 {
        let visitor = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        visitor.connect(world.public(port)).await.unwrap();
        visitor.send(&[n]).await.unwrap();
        let mut room = [9; 10];
        let (count, from) = timeout(PATIENCE, udp.recv_from(&mut room)).await.unwrap().unwrap();
        assert_eq!(room[..count], [n]);
        udp.send_to(&[n, n], from).await.unwrap();
        let count = timeout(PATIENCE, visitor.recv(&mut room)).await.unwrap().unwrap();
        assert_eq!(room[..count], [n, n]);
        seen.push(from);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn compressed_and_not_is_the_same_to_visitors_and_the_target_may_be_told_who_they_are() {
    let mut world = World::new().await;
    let (id, token) = world.client("pc").await;
    let port = world.base + 1;
    world.tunnel(id, Protocol::Tcp, port, echo().await);
    world.desired.tunnels[0].compression = true;
    world.desired.tunnels[0].proxy_protocol = true;
    world.apply().await;
    let _machine = world.connect("pc", &token, &[]);
    world.until_active(1).await;
    for sent in [vec![b'a'; 500_000], noise(500_000)] {
        let got = ask_echo(world.public(port), sent.clone()).await;
        assert_eq!(got[..12], *b"\r\n\r\n\0\r\nQUIT\n");
        assert!(got[28..] == sent);
    }
}

/// G34.
#[tokio::test]
async fn a_hundred_stalled_visitors_stall_nobody_else() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    // It says more than any buffer holds, to whoever asks.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0];
                stream.read_exact(&mut asked).await.unwrap();
                let chunk = [1; 20_000];
                let chunks = if asked == *b"m" { 10_000 } else { 10 };
                for _ in 0..chunks {
                    if stream.write_all(&chunk).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let _machine = world.connect("pc", &token, &[asks(0, "tcp", target)]);
    let port = world.until_active(1).await[0].public_port.unwrap();
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let socket = TcpSocket::new_v4().unwrap();
        // Less to be waited for until nothing moves.
        socket.set_recv_buffer_size(4096).unwrap();
        let mut visitor = socket.connect(world.public(port)).await.unwrap();
        visitor.write_all(b"m").await.unwrap();
        stalled.push(visitor);
    }
    for _ in 0..20 {
        let mut visitor = TcpStream::connect(world.public(port)).await.unwrap();
        visitor.write_all(b"s").await.unwrap();
        let mut got = Vec::new();
        timeout(PATIENCE, visitor.read_to_end(&mut got)).await.expect("stalled by another").unwrap();
        assert_eq!(got.len(), 200_000);
    }
}
