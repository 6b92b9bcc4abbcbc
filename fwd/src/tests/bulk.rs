//! Much at once: by pipes where they can be had, by copying where not, and not a byte differs.

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::fakes::{FakeProxy, echoes, listens_first, origin};
use super::through::{hang_up, say};
use super::*;

const MUCH: usize = 4 << 20;

/// As many bytes as wanted, in which no two places look alike.
pub(super) fn numbers(count: usize, salt: u32) -> Vec<u8> {
    let numbers = (0u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).wrapping_add(salt).to_le_bytes());
    numbers.take(count).collect()
}

/// A forwarder that may have so many pipes.
async fn with_pipes<F>(most: usize, serve: impl Fn(TcpStream) -> F + Send + 'static) -> Gateway
where
    F: Future<Output = ()> + Send + 'static,
{
    let proxy = FakeProxy::to(origin(serve).await).await;
    let mut flag = flag(15001);
    flag.upstreams = vec![upstream("de1", proxy.address)];
    Gateway::start_with_pipes(flag, Dialer::new(), redirected(CLIENT), most)
}

/// Sends in pieces of odd sizes.
pub(super) async fn send(mut to: OwnedWriteHalf, bytes: Vec<u8>) {
    let mut rest = bytes.as_slice();
    for size in [1, 4095, 70_001, 13, 300_007, 16_384].into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(size.min(rest.len()));
        to.write_all(piece).await.unwrap();
        rest = after;
    }
    to.shutdown().await.unwrap();
}

/// Hears everything, a little at a time and through a narrow window.
pub(super) async fn hear(mut from: OwnedReadHalf) -> Vec<u8> {
    let mut heard = Vec::new();
    let mut piece = vec![0; 7_001];
    loop {
        match from.read(&mut piece).await.unwrap() {
            0 => return heard,
            count => heard.extend_from_slice(&piece[..count]),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn both_directions_arrive_whole_at_a_slow_reader_with_pipes_with_few_and_with_none() {
    for most in [MOST_PIPES, 1, 0] {
        let (to_test, mut heard_by_origin) = mpsc::channel(1);
        let gateway = with_pipes(most, move |stream| {
            let to_test = to_test.clone();
            async move {
                let (read, write) = stream.into_split();
                let (heard, ()) = tokio::join!(hear(read), send(write, numbers(MUCH, 7)));
                to_test.send(heard).await.unwrap();
            }
        })
        .await;
        let client = gateway.connect().await;
        SockRef::from(&client).set_recv_buffer_size(64 * 1024).unwrap();
        let (read, write) = client.into_split();
        let (heard, ()) = tokio::join!(hear(read), send(write, numbers(MUCH, 3)));
        assert!(heard == numbers(MUCH, 7), "down, {most} pipes");
        assert!(heard_by_origin.recv().await.unwrap() == numbers(MUCH, 3), "up, {most} pipes");
        assert_eq!(gateway.shared.pipes.spliced() > 0, most > 0, "{most} pipes");
        assert_eq!(gateway.shared.pipes.held(), 0, "{most} pipes");
        let status = gateway.status();
        assert_eq!((status.bytes_up, status.bytes_down), (4 << 20, 4 << 20), "{most} pipes");
    }
}

#[tokio::test]
async fn bulk_is_spliced_and_its_end_is_passed_on() {
    let gateway = with_pipes(MOST_PIPES, listens_first).await;
    let sent = numbers(MUCH, 0);
    let mut client = gateway.connect().await;
    client.write_all(&sent).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert!(heard.ends_with(&sent));
    let status = gateway.status();
    let (spliced, all) = (gateway.shared.pipes.spliced(), status.bytes_up + status.bytes_down);
    assert!(spliced > all / 10 * 9, "{spliced} of {all}");
}

/// The task is most of what a connection takes until it sleeps. Its place with the runtime comes
/// on top, and grows in steps of 128 bytes.
#[tokio::test]
async fn a_connection_takes_a_kilobyte_at_most_while_it_is_awake() {
    let gateway = with_pipes(MOST_PIPES, echoes).await;
    let client = TcpStream::connect(gateway.address).await.unwrap();
    let peer = client.local_addr().unwrap();
    let served = crate::serve::admit(&gateway.shared, client, peer, 0).unwrap();
    let size = size_of_val(&served);
    assert!(size <= 1024, "{size}");
}

#[tokio::test]
async fn small_talk_takes_no_pipe() {
    let gateway = with_pipes(MOST_PIPES, echoes).await;
    let mut client = gateway.connect().await;
    for _round in 0..100 {
        say(&mut client, &[b'x'; 1000]).await;
    }
    hang_up(client).await;
    assert_eq!(gateway.shared.pipes.spliced(), 0);
}

#[tokio::test]
async fn a_connection_that_idles_holds_no_pipe_after_bulk() {
    let gateway = with_pipes(MOST_PIPES, echoes).await;
    let mut clients = Vec::new();
    for salt in 0..8 {
        let (mut read, mut write) = gateway.connect().await.into_split();
        let (sent, mut heard) = (numbers(1 << 20, salt), vec![0; 1 << 20]);
        let (written, _) = tokio::join!(write.write_all(&sent), read.read_exact(&mut heard));
        written.unwrap();
        assert!(heard == sent);
        clients.push((read, write));
    }
    let pipes = &gateway.shared.pipes;
    assert!(pipes.spliced() > 0);
    assert_eq!(pipes.held(), 0);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pipes.open(), 0, "the spare ones are closed");
    tokio::time::resume();
    for (mut read, mut write) in clients {
        write.write_all(b"still here").await.unwrap();
        read.read_exact(&mut [0; 10]).await.unwrap();
    }
}
