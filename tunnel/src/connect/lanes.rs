//! Connections that wait for visitors: some more than are in use, so that nobody waits for one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::session::Joiner;
use super::target::Targets;
use crate::carrier::{Channel, Io};
use crate::heartbeat::{Beat, Heartbeat};
use crate::wire::frame::{self, Decoder, Frame, Step};
use crate::wire::hello::Kind;
use crate::wire::open::Open;

/// Waiting for visitors, or being made.
const SPARE: usize = 8;
/// One more than that is let go of when it was not needed for so long.
const NOT_NEEDED: Duration = Duration::from_secs(60);
/// After one that could not be made.
const PAUSE: Duration = Duration::from_secs(2);
/// A sign of life is taken within this, or the connection is dead.
const TAKEN: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Counts {
    spare: AtomicUsize,
    all: AtomicUsize,
    changed: Notify,
}

/// For as long as the session lasts.
pub(super) async fn keep(joiner: Arc<Joiner>, targets: Arc<Targets>, most: usize) {
    let counts = Arc::<Counts>::default();
    let mut lanes = tokio::task::JoinSet::new();
    loop {
        while counts.spare.load(Ordering::Relaxed) < SPARE && counts.all.load(Ordering::Relaxed) < most {
            counts.spare.fetch_add(1, Ordering::Relaxed);
            counts.all.fetch_add(1, Ordering::Relaxed);
            lanes.spawn(lane(joiner.clone(), targets.clone(), counts.clone()));
        }
        tokio::select! {
            () = counts.changed.notified() => {}
            Some(_ended) = lanes.join_next() => {
                counts.all.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

async fn lane(joiner: Arc<Joiner>, targets: Arc<Targets>, counts: Arc<Counts>) {
    let mut channel = match joiner.join(Kind::Lane).await {
        Ok(io) => Channel::lane(io),
        Err(error) => {
            tracing::debug!(%error, "no further connection to the gateway");
            sleep(PAUSE).await;
            counts.spare.fetch_sub(1, Ordering::Relaxed);
            return;
        }
    };
    loop {
        let waited = next(&mut channel, &counts).await;
        // It is not spare any more, whatever it is now: another one is made in its place.
        let before = counts.spare.fetch_sub(1, Ordering::Relaxed);
        let Ok(Some(open)) = waited else { return };
        if before <= SPARE {
            counts.changed.notify_one();
        }
        match targets.serve(channel, open).await {
            Some(again) => channel = again,
            None => return,
        }
        counts.spare.fetch_add(1, Ordering::Relaxed);
    }
}

/// The next opening; none if there are enough lanes without this one.
async fn next(channel: &mut Channel, counts: &Counts) -> io::Result<Option<Open>> {
    let mut heart = Heartbeat::new(Instant::now());
    let since = Instant::now();
    loop {
        if let Some(open) = opening(channel)? {
            return Ok(Some(open));
        }
        let due = match heart.due(Instant::now()) {
            Beat::Dead => return Err(io::ErrorKind::TimedOut.into()),
            Beat::Speak => {
                if since.elapsed() >= NOT_NEEDED && counts.spare.load(Ordering::Relaxed) > SPARE {
                    return Ok(None);
                }
                timeout(TAKEN, say(&mut *channel.io)).await??;
                heart.speaks(Instant::now());
                continue;
            }
            Beat::Wait(due) => due,
        };
        channel.left.reserve(256);
        if let Ok(read) = tokio::time::timeout_at(due, channel.io.read_buf(&mut channel.left)).await {
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            heart.hears(Instant::now());
        }
    }
}

async fn say(io: &mut dyn Io) -> io::Result<()> {
    io.write_all(&frame::idle()).await?;
    io.flush().await
}

/// Between two streams come signs of life, and what the other end said late of the one before.
fn opening(channel: &mut Channel) -> io::Result<Option<Open>> {
    let mut decoder = Decoder::of_datagrams();
    loop {
        let (step, taken) = decoder.step(&channel.left).map_err(io::Error::other)?;
        let open = match step {
            Step::NeedMore => return Ok(None),
            Step::Frame(Frame::Open(open)) => Some(Open::decode(open).map_err(io::Error::other)?),
            Step::Frame(Frame::Idle | Frame::Reset(_)) => None,
            Step::Data(_) | Step::Frame(Frame::End | Frame::Datagram(_) | Frame::Packed(_)) => {
                return Err(io::ErrorKind::InvalidData.into());
            }
        };
        channel.left.drain(..taken);
        if open.is_some() {
            return Ok(open);
        }
    }
}

/// The one opening of a channel that serves one visitor.
pub(super) async fn only(channel: &mut Channel) -> io::Result<Open> {
    loop {
        if let Some(open) = opening(channel)? {
            return Ok(open);
        }
        channel.left.reserve(256);
        if channel.io.read_buf(&mut channel.left).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
