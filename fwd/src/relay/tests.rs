//! Both directions over streams in memory: who ends it, and when.

use std::future::pending;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Instant, sleep};

use super::*;
use crate::conn::Conn;
use crate::live::Live;

type Ends = Side<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

/// The relay's side of a stream, and the far end.
fn side(said: &str) -> (Ends, DuplexStream) {
    let (near, far) = duplex(64);
    let (read, write) = split(near);
    (Side { read, write, said: said.as_bytes().to_vec(), ended: false }, far)
}

fn whole(stopped: Stopped) -> bool {
    matches!(stopped, Stopped::Ended(Ended { whole: true, .. }))
}

fn traffic() -> Traffic {
    Traffic::new(Arc::default())
}

/// For streams in memory, which take none.
fn pipes() -> &'static Pipes {
    static NONE: LazyLock<Pipes> = LazyLock::new(|| Pipes::new(0));
    &NONE
}

#[tokio::test(start_paused = true)]
async fn what_was_said_before_comes_first() {
    let (client, mut far_client) = side("GET ");
    let (upstream, mut far_upstream) = side("220 ");
    let traffic = traffic();
    let talk = async {
        far_client.write_all(b"/").await.unwrap();
        far_client.shutdown().await.unwrap();
        far_upstream.write_all(b"ready").await.unwrap();
        far_upstream.shutdown().await.unwrap();
        let (mut up, mut down) = (String::new(), String::new());
        far_upstream.read_to_string(&mut up).await.unwrap();
        far_client.read_to_string(&mut down).await.unwrap();
        (up, down)
    };
    let mut seen = Vec::new();
    let relayed = relay(client, upstream, &traffic, pipes(), pending(), |bytes| {
        seen.extend_from_slice(bytes);
        false
    });
    let (ended, heard) = tokio::join!(relayed, talk);
    assert_eq!(heard, ("GET /".to_owned(), "220 ready".to_owned()));
    assert!(whole(ended));
    assert_eq!(seen, b"/", "what was said before was seen before");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_stops_listening_is_still_heard_to_its_last_word() {
    let (client, mut far_client) = side("");
    // Two streams make an upstream that hears nothing and still speaks.
    let (mut upstream, deaf) = side("");
    let (speaks, mut far_upstream) = side("");
    drop(deaf);
    upstream.read = speaks.read;
    let traffic = traffic();
    let talk = async {
        far_client.write_all(b"a long upload").await.unwrap();
        far_upstream.write_all(b"413 too long").await.unwrap();
        far_upstream.shutdown().await.unwrap();
        let mut heard = String::new();
        far_client.read_to_string(&mut heard).await.unwrap();
        heard
    };
    let (ended, heard) =
        tokio::join!(relay(client, upstream, &traffic, pipes(), pending(), |_bytes| false), talk);
    assert_eq!(heard, "413 too long");
    assert!(whole(ended));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_has_nothing_more_fetched_for_it() {
    for half_closed in [false, true] {
        let (client, mut far_client) = side("");
        let (upstream, mut far_upstream) = side("");
        let traffic = traffic();
        let start = Instant::now();
        let download = async {
            if half_closed {
                far_client.shutdown().await.unwrap();
                far_upstream.read_to_end(&mut Vec::new()).await.unwrap();
            }
            far_upstream.write_all(b"first").await.unwrap();
            far_client.read_exact(&mut [0; 5]).await.unwrap();
            drop(far_client);
            far_upstream.write_all(b"more, and it goes on").await.unwrap();
            std::future::pending::<()>().await
        };
        let ended = tokio::select! {
            ended = relay(client, upstream, &traffic, pipes(), pending(), |_bytes| false) => ended,
            () = download => panic!("goes on for ever"),
        };
        // The upstream must not take it for the whole.
        let broken_off = Stopped::Ended(Ended { by: End::Client, whole: false });
        assert_eq!((ended, start.elapsed()), (broken_off, Duration::ZERO), "{half_closed}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_both_directions_and_tells_whose_it_was() {
    struct Broken(io::ErrorKind);
    impl Half for Broken {
        fn socket(&self) -> Option<&tokio::net::TcpStream> {
            None
        }
    }
    impl AsyncRead for Broken {
        fn poll_read(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
            _buf: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::task::Poll::Ready(Err(self.0.into()))
        }
    }
    let reset = || Broken(io::ErrorKind::ConnectionReset);
    let (client, _far_client) = side("");
    let (upstream, _far_upstream) = side("");
    let broken = Side { read: reset(), write: client.write, said: Vec::new(), ended: false };
    let ended = relay(broken, upstream, &traffic(), pipes(), pending(), |_bytes| false).await;
    assert_eq!(ended, Stopped::Ended(Ended { by: End::Client, whole: false }));

    let (client, _far_client) = side("");
    let (upstream, _far_upstream) = side("");
    let broken = Side { read: reset(), write: upstream.write, said: Vec::new(), ended: false };
    let ended = relay(client, broken, &traffic(), pipes(), pending(), |_bytes| false).await;
    assert_eq!(ended, Stopped::Ended(Ended { by: End::Upstream, whole: false }));

    // TLS without a goodbye is an end like any other.
    let (client, far_client) = side("");
    drop(far_client);
    let (upstream, _far_upstream) = side("");
    let read = Broken(io::ErrorKind::UnexpectedEof);
    let rude = Side { read, write: upstream.write, said: Vec::new(), ended: false };
    assert!(whole(relay(client, rude, &traffic(), pipes(), pending(), |_bytes| false).await));
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_arrives_every_second_and_is_not_idle() {
    let mut flag = crate::tests::flag(15001);
    flag.limits.idle_timeout_s = 2;
    flag.upstreams = vec![crate::tests::upstream("de1", "127.0.0.1:1".parse().unwrap())];
    let (live, flag) = (Arc::<Live>::default(), Arc::new(flag));
    let here = std::net::Ipv4Addr::LOCALHOST;
    let conn = Conn::open(&live, flag.clone(), here.into(), std::net::SocketAddrV4::new(here, 443));
    conn.carried_by(&flag.upstreams[0]);
    let (client, mut far_client) = side("");
    let (upstream, mut far_upstream) = side("");
    let talk = async {
        for second in 0..600 {
            sleep(Duration::from_secs(1)).await;
            let sent = Instant::now();
            far_client.write_all(b"x").await.unwrap();
            far_upstream.read_exact(&mut [0]).await.unwrap();
            assert_eq!(sent.elapsed(), Duration::ZERO, "second {second}: it was held back");
        }
    };
    tokio::select! {
        () = talk => {}
        ended = relay(client, upstream, &conn.traffic, pipes(), pending(), |_bytes| true) => panic!("{ended:?}"),
        told = conn.told() => panic!("{told:?}"),
        never = live.watch_silence() => match never {},
    }
}
