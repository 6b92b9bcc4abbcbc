//! An upstream behind TLS carries a connection like any other, to its last byte.

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bulk::{hear, numbers, send};
use super::fakes::{Manner, certified, listens_first, origin, speak};
use super::*;

/// An https proxy for `localhost`, and who trusts it.
async fn tls_proxy(manner: Manner) -> (SocketAddr, Dialer) {
    let (acceptor, trusting) = certified("localhost");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            tokio::spawn(speak(stream, manner, Arc::default()));
        }
    });
    (address, Dialer::with_tls(trusting))
}

fn through(address: SocketAddr, dialer: Dialer) -> Gateway {
    let mut flag = flag(15001);
    flag.upstreams = vec![upstream("de1", address)];
    flag.upstreams[0].upstream.scheme = Scheme::Https;
    flag.upstreams[0].upstream.host = "localhost".parse().unwrap();
    Gateway::start_with(flag, dialer, redirected(CLIENT))
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_whole_through_tls() {
    let origin = origin(listens_first).await;
    let (address, dialer) = tls_proxy(Manner::Tunnel { origin, early: "early " }).await;
    let gateway = through(address, dialer);
    let sent: Vec<u8> = (0..2 << 20).map(|n: u32| n.to_be_bytes()[3]).collect();
    let mut client = gateway.connect().await;
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(heard.starts_with(b"early heard 2097152: ") && heard.ends_with(&sent));
}

#[tokio::test]
async fn both_directions_arrive_whole_at_slow_readers_through_tls() {
    const MUCH: usize = 1_234_567;
    let (to_test, mut heard_by_origin) = mpsc::channel(1);
    let origin = origin(move |stream| {
        let to_test = to_test.clone();
        async move {
            let (read, write) = stream.into_split();
            let (heard, ()) = tokio::join!(hear(read), send(write, numbers(MUCH, 7)));
            to_test.send(heard).await.unwrap();
        }
    })
    .await;
    let (address, dialer) = tls_proxy(Manner::Tunnel { origin, early: "" }).await;
    let gateway = through(address, dialer);
    let client = gateway.connect().await;
    SockRef::from(&client).set_recv_buffer_size(64 * 1024).unwrap();
    let (read, write) = client.into_split();
    let (heard, ()) = tokio::join!(hear(read), send(write, numbers(MUCH, 3)));
    assert!(heard == numbers(MUCH, 7), "down");
    assert!(heard_by_origin.recv().await.unwrap() == numbers(MUCH, 3), "up");
}
