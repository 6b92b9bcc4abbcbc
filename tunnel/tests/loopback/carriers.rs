//! What the connection looks like from outside changes nothing inside.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Machine, World, ask_echo, asks, echo, noise, udp_echo};

/// A proxy that asks for bob's password, and counts who came through.
async fn http_proxy() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let through = Arc::<AtomicUsize>::default();
    let counted = through.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = counted.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                if !head.contains("Proxy-Authorization: Basic Ym9iOnMzY3JldA==") {
                    stream.write_all(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                    return;
                }
                let to = head.split_whitespace().nth(1).unwrap();
                let mut onward = TcpStream::connect(to).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let _ended = copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    (address, through)
}

async fn serves(world: &World, port: u16) {
    let sent = noise(400_000);
    assert!(ask_echo(world.public(port), sent.clone()).await == sent);
    let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    udp.connect(world.public(port + 1)).await.unwrap();
    udp.send(&sent[..5_000]).await.unwrap();
    let mut got = vec![0; 65_535];
    let count = tokio::time::timeout(crate::world::PATIENCE, udp.recv(&mut got)).await.unwrap().unwrap();
    assert!(got[..count] == sent[..5_000]);
}

#[tokio::test]
async fn a_websocket_carries_what_tls_carries_also_through_a_proxy_that_has_to_be_used() {
    let (proxy, through) = http_proxy().await;
    for (carrier, look) in [("websocket", "websocket"), ("tls", "tls"), ("auto", "tls")] {
        let mut world = World::new().await;
        let (_, token) = world.client("pc").await;
        let proxy = format!("carrier: {carrier}\nproxy: http://bob:s3cret@{proxy}");
        let mut config = world.config("pc", &proxy);
        config.token = Some(token);
        let ports = [asks(world.base, "tcp", echo().await), asks(world.base + 1, "udp", udp_echo().await)];
        config.client.open_ports = serde_saphyr::from_str(&format!("[{}]", ports.join(", "))).unwrap();
        let before = through.load(Ordering::Relaxed);
        let _machine = Machine::start(config, world.dir.path().join("pc.token"));
        world.until_active(2).await;
        serves(&world, world.base).await;
        let session = world.status().await.clients[0].session.clone().unwrap();
        assert_eq!(session.carrier, look);
        assert!(through.load(Ordering::Relaxed) > before + 2, "all its connections go by the proxy");
    }
}

#[tokio::test]
async fn quic_carries_what_the_others_carry() {
    let mut world = World::new().await;
    let (_, token) = world.client("pc").await;
    let mut config = world.config("pc", "carrier: quic");
    config.token = Some(token);
    let ports = [asks(world.base, "tcp", echo().await), asks(world.base + 1, "udp", udp_echo().await)];
    config.client.open_ports = serde_saphyr::from_str(&format!("[{}]", ports.join(", "))).unwrap();
    let machine = Machine::start(config, world.dir.path().join("pc.token"));
    world.until_active(2).await;
    serves(&world, world.base).await;
    assert_eq!(world.status().await.clients[0].session.as_ref().unwrap().carrier, "quic");
    machine.kill().await;
    world.until_online("pc", false).await;
}

#[tokio::test]
async fn where_only_a_websocket_gets_through_it_is_found() {
    // It lets TLS pass only if it does not ask for what no browser asks for.
    let world_at = Arc::new(std::sync::OnceLock::<SocketAddr>::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let firewall = listener.local_addr().unwrap();
    let behind = world_at.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let to = *behind.get().unwrap();
            tokio::spawn(async move {
                let mut hello = vec![0; 4096];
                let count = stream.read(&mut hello).await.unwrap_or(0);
                let hello = &hello[..count];
                if hello.windows(10).any(|window| window == b"pgw-tunnel") {
                    return;
                }
                let mut onward = TcpStream::connect(to).await.unwrap();
                onward.write_all(hello).await.unwrap();
                let _ended = copy_bidirectional(&mut stream, &mut onward).await;
            });
        }
    });
    let mut world = World::new().await;
    world_at.set(world.address).unwrap();
    let (_, token) = world.client("pc").await;
    let mut config = world.config("pc", "");
    config.server = firewall.to_string().try_into().unwrap();
    config.token = Some(token);
    let _machine = Machine::start(config, world.dir.path().join("pc.token"));
    let status = world.until_online("pc", true).await;
    assert_eq!(status.clients[0].session.as_ref().unwrap().carrier, "websocket");
}
