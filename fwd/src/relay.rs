//! Bytes between a client and its tunnel: both directions, each with its own end.

use std::io::Cursor;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::conn::{End, Traffic};

mod direction;
mod pipes;
#[cfg(test)]
mod tests;

use direction::{Direction, Finish, Half};
pub(crate) use pipes::{MOST as MOST_PIPES, Pipes};

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

/// Until both directions are through, or nothing moved for `idle`. `see` is shown what the
/// client says, until it has seen enough: then it says `false`.
pub(crate) async fn relay<CR, CW, UR, UW>(
    client: Side<CR, CW>,
    upstream: Side<UR, UW>,
    idle: Duration,
    traffic: &Traffic,
    pipes: &Pipes,
    see: impl FnMut(&[u8]) -> bool,
) -> Ended
where
    CR: AsyncRead + Half,
    CW: AsyncWrite + Half,
    UR: AsyncRead + Half,
    UW: AsyncWrite + Half,
{
    let clock = Clock::start();
    let mut up = Direction {
        from: client.read,
        to: upstream.write,
        left: Cursor::new(client.said),
        ended: client.ended,
        hears_out: true,
        clock: &clock,
        pipes,
        see,
        count: |count| traffic.up(count),
        bulk: false,
        held: None,
    };
    let mut down = Direction {
        from: upstream.read,
        to: client.write,
        left: Cursor::new(upstream.said),
        ended: upstream.ended,
        hears_out: false,
        clock: &clock,
        pipes,
        see: |_bytes: &[u8]| false,
        count: |count| traffic.down(count),
        bulk: false,
        held: None,
    };
    let (up, down) = (pin!(up.pump()), pin!(down.pump()));
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
        Finish::Gone => return Ended { by: to, whole: false },
        Finish::Said => from,
        Finish::WriteFailed => to,
    };
    match other.await {
        Finish::Said | Finish::WriteFailed => Ended { by, whole: true },
        Finish::ReadFailed => Ended { by: to, whole: false },
        Finish::Gone => Ended { by: from, whole: false },
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
