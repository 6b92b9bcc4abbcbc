//! Bytes between a client and its tunnel: both directions, each with its own end.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::conn::{End, Traffic};

const BUFFER: usize = 32 * 1024;

/// How long a side that still talks is listened to when nobody wants to hear it any more.
/// Closed at once, its own kernel would throw away what it has not read yet.
const LINGER: Duration = Duration::from_secs(5);

/// One side, and what it has already said.
pub(crate) struct Side<R, W> {
    pub(crate) read: R,
    pub(crate) write: W,
    pub(crate) said: Vec<u8>,
    /// It will say no more.
    pub(crate) ended: bool,
}

/// How a relay came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) by: End,
    /// Both ends were said and passed on. Otherwise the other side must not take what it got
    /// for the whole.
    pub(crate) whole: bool,
}

/// How one direction came to its end.
enum Finish {
    /// The end was said, and passed on.
    Said,
    ReadFailed,
    /// The receiver takes no more; the other direction has its last words.
    WriteFailed,
}

/// Until both directions are through, or nothing moved for `idle`. `see` is shown what the
/// client says.
pub(crate) async fn relay<CR, CW, UR, UW>(
    client: Side<CR, CW>,
    upstream: Side<UR, UW>,
    idle: Duration,
    traffic: &Traffic,
    see: impl FnMut(&[u8]),
) -> Ended
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    UR: AsyncRead + Unpin,
    UW: AsyncWrite + Unpin,
{
    let clock = Clock::start();
    let up = Direction { said: client.said, ended: client.ended, clock: &clock };
    let down = Direction { said: upstream.said, ended: upstream.ended, clock: &clock };
    let up = pin!(up.pump(client.read, upstream.write, see, |count| traffic.up(count)));
    let down = pin!(down.pump(upstream.read, client.write, |_bytes| (), |count| traffic.down(count)));
    tokio::select! {
        ended = both(up, down) => ended,
        () = clock.stood_still(idle) => Ended { by: End::Idle, whole: false },
    }
}

async fn both(
    mut up: impl Future<Output = Finish> + Unpin,
    mut down: impl Future<Output = Finish> + Unpin,
) -> Ended {
    tokio::select! {
        first = &mut up => after(first, down, End::Client, End::Upstream).await,
        first = &mut down => after(first, up, End::Upstream, End::Client).await,
    }
}

/// Lets the `other` direction finish where it can; the first one went between these two.
async fn after(first: Finish, other: impl Future<Output = Finish>, from: End, to: End) -> Ended {
    let by = match first {
        Finish::ReadFailed => return Ended { by: from, whole: false },
        Finish::Said => from,
        Finish::WriteFailed => to,
    };
    match other.await {
        Finish::Said | Finish::WriteFailed => Ended { by, whole: true },
        Finish::ReadFailed => Ended { by: to, whole: false },
    }
}

struct Direction<'a> {
    said: Vec<u8>,
    ended: bool,
    clock: &'a Clock,
}

impl Direction<'_> {
    async fn pump(
        self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        mut see: impl FnMut(&[u8]),
        mut count: impl FnMut(usize),
    ) -> Finish {
        let mut buffer = vec![0; BUFFER];
        let mut passed = self.pass(&self.said, &mut to, &mut count).await;
        loop {
            if passed.is_err() {
                let _rest = timeout(LINGER, tokio::io::copy(&mut from, &mut tokio::io::sink())).await;
                return Finish::WriteFailed;
            }
            let read = if self.ended { Ok(0) } else { from.read(&mut buffer).await };
            self.clock.moved();
            let bytes = match read {
                Ok(0) => break,
                // TLS that ends without its own goodbye: many proxies do not say it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Ok(read) => buffer.get(..read).unwrap_or_default(),
                Err(_) => return Finish::ReadFailed,
            };
            see(bytes);
            passed = self.pass(bytes, &mut to, &mut count).await;
        }
        match to.shutdown().await {
            Ok(()) => Finish::Said,
            Err(_) => Finish::WriteFailed,
        }
    }

    async fn pass(
        &self,
        mut bytes: &[u8],
        to: &mut (impl AsyncWrite + Unpin),
        count: &mut impl FnMut(usize),
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = to.write(bytes).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.clock.moved();
            count(written);
            bytes = bytes.get(written..).unwrap_or_default();
        }
        // TLS keeps what its socket does not take at once.
        to.flush().await
    }
}

/// When something last moved, in either direction.
struct Clock {
    start: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
}

impl Clock {
    fn start() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    fn moved(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    async fn stood_still(&self, idle: Duration) {
        loop {
            let last = self.last.load(Ordering::Relaxed);
            sleep_until(self.start + Duration::from_millis(last) + idle).await;
            if self.last.load(Ordering::Relaxed) == last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex, split};

    use super::*;

    type Half = Side<ReadHalf<DuplexStream>, WriteHalf<DuplexStream>>;

    /// The relay's side of a stream, and the far end.
    fn side(said: &str) -> (Half, DuplexStream) {
        let (near, far) = duplex(64);
        let (read, write) = split(near);
        (Side { read, write, said: said.as_bytes().to_vec(), ended: false }, far)
    }

    fn traffic() -> Traffic {
        Traffic::new(Arc::default())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test(start_paused = true)]
    async fn only_silence_in_both_directions_is_idle() {
        let (client, mut far_client) = side("");
        let (upstream, mut far_upstream) = side("");
        let start = Instant::now();
        let traffic = traffic();
        let talk = async {
            for _hour in 0..3 {
                tokio::time::advance(HOUR - Duration::from_secs(1)).await;
                far_upstream.write_all(b"x").await.unwrap();
                far_client.read_exact(&mut [0]).await.unwrap();
            }
            std::future::pending::<()>().await
        };
        let ended = tokio::select! {
            ended = relay(client, upstream, HOUR, &traffic, |_bytes| ()) => ended,
            () = talk => panic!("talks for ever"),
        };
        assert_eq!(ended, Ended { by: End::Idle, whole: false });
        let lasted = start.elapsed();
        assert!(lasted >= 3 * (HOUR - Duration::from_secs(1)) + HOUR && lasted < 5 * HOUR, "{lasted:?}");
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
        let relayed = relay(client, upstream, HOUR, &traffic, |bytes| seen.extend_from_slice(bytes));
        let (ended, heard) = tokio::join!(relayed, talk);
        assert_eq!(heard, ("GET /".to_owned(), "220 ready".to_owned()));
        assert!(ended.whole);
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
        let (ended, heard) = tokio::join!(relay(client, upstream, HOUR, &traffic, |_bytes| ()), talk);
        assert_eq!(heard, "413 too long");
        assert!(ended.whole);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_ends_both_directions_and_tells_whose_it_was() {
        struct Broken(io::ErrorKind);
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
        let ended = relay(broken, upstream, HOUR, &traffic(), |_bytes| ()).await;
        assert_eq!(ended, Ended { by: End::Client, whole: false });

        let (client, _far_client) = side("");
        let (upstream, _far_upstream) = side("");
        let broken = Side { read: reset(), write: upstream.write, said: Vec::new(), ended: false };
        let ended = relay(client, broken, HOUR, &traffic(), |_bytes| ()).await;
        assert_eq!(ended, Ended { by: End::Upstream, whole: false });

        // TLS without a goodbye is an end like any other.
        let (client, far_client) = side("");
        drop(far_client);
        let (upstream, _far_upstream) = side("");
        let read = Broken(io::ErrorKind::UnexpectedEof);
        let rude = Side { read, write: upstream.write, said: Vec::new(), ended: false };
        assert!(relay(client, rude, HOUR, &traffic(), |_bytes| ()).await.whole);
    }
}
