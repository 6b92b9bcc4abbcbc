//! Bytes between a client and its tunnel: both directions, each with its own end.

use std::io::Cursor;
use std::pin::pin;

use tokio::io::{AsyncRead, AsyncWrite};

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

/// Why a relay does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    Ended(Ended),
    /// Both sides may still speak, and nothing of what they said is left here.
    AtRest,
}

/// How a relay came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) by: End,
    /// Both ends were said and passed on. Otherwise the other side must not take what it got
    /// for the whole.
    pub(crate) whole: bool,
}

/// Until both directions are through, or `tired` is while nothing is on its way in either. `see` is shown what the client says, until it has seen
/// enough: then it says `false`.
pub(crate) fn relay<CR, CW, UR, UW>(
    client: Side<CR, CW>,
    upstream: Side<UR, UW>,
    traffic: &Traffic,
    pipes: &Pipes,
    tired: impl Future<Output = ()>,
    see: impl FnMut(&[u8]) -> bool,
) -> impl Future<Output = Stopped>
where
    CR: AsyncRead + Half,
    CW: AsyncWrite + Half,
    UR: AsyncRead + Half,
    UW: AsyncWrite + Half,
{
    // Made here and not in the future, which would keep room for both sides twice.
    let mut up = Direction {
        from: client.read,
        to: upstream.write,
        left: Cursor::new(client.said),
        ended: client.ended,
        hears_out: true,
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
        pipes,
        see: |_bytes: &[u8]| false,
        count: |count| traffic.down(count),
        bulk: false,
        held: None,
    };
    async move {
        let mut tired = pin!(tired);
        let mut asked = false;
        loop {
            {
                let (mut going_up, mut going_down) = (pin!(up.pump()), pin!(down.pump()));
                tokio::select! {
                    first = &mut going_up => {
                        return Stopped::Ended(after(first, going_down, End::Client, End::Upstream).await);
                    }
                    first = &mut going_down => {
                        return Stopped::Ended(after(first, going_up, End::Upstream, End::Client).await);
                    }
                    () = &mut tired, if !asked => asked = true,
                }
            }
            if up.is_at_rest() && down.is_at_rest() {
                return Stopped::AtRest;
            }
        }
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
