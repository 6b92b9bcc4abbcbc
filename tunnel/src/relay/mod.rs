//! A visitor's bytes between a socket and a channel: both directions in one future, so that neither
//! needs a lock, each with its own end.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::bucket::Bucket;
use crate::carrier::Channel;
use crate::wire::frame::Why;

pub mod datagrams;
mod inward;
mod outward;
mod pack;
#[cfg(test)]
mod tests;

use inward::Inward;
use outward::Outward;

/// The shared buffer of a thread: between two polls there is nothing in it.
const BUFFER: usize = 64 * 1024;
/// After so many rounds other streams have their turn.
const ROUNDS: usize = 16;
/// For the other end to say that it has heard of an end before its time. Then the channel is given up.
const LINGER: Duration = Duration::from_secs(5);

/// What a direction costs, and how fast it may go.
#[derive(Debug, Default)]
pub struct Flow {
    pub counts: Vec<Arc<AtomicU64>>,
    pub buckets: Vec<Arc<Bucket>>,
}

/// How a stream ended.
#[derive(Debug)]
pub struct Ended {
    /// Both ends were said: what arrived is the whole.
    pub whole: bool,
    /// What the other end gave as a reason, if it broke off.
    pub told: Option<Why>,
    /// The channel, if it can serve another stream.
    pub channel: Option<Channel>,
}

pub struct Relay<L> {
    local: L,
    channel: Channel,
    outward: Outward,
    inward: Inward,
    /// We opened the stream, and may open another when it is over: what the other end says late would
    /// be taken for words on that one.
    opener: bool,
    /// Since one side broke off.
    over: Option<Pin<Box<Sleep>>>,
}

impl<L: AsyncRead + AsyncWrite + Unpin> Relay<L> {
    /// For who opens the stream: `opening` goes before everything else, together with the first
    /// bytes if they are there.
    pub fn opening(local: L, channel: Channel, opening: Vec<u8>, compression: bool) -> Self {
        Self { opener: true, ..Self::new(local, channel, opening, compression) }
    }

    /// For who was asked to, and cannot.
    pub fn refusing(local: L, channel: Channel, why: Why) -> Self {
        let mut relay = Self::answering(local, channel, false);
        relay.outward.break_off(why, false);
        relay
    }

    /// For who was asked to.
    pub fn answering(local: L, channel: Channel, compression: bool) -> Self {
        Self::new(local, channel, Vec::new(), compression)
    }

    fn new(local: L, mut channel: Channel, opening: Vec<u8>, compression: bool) -> Self {
        let left = std::mem::take(&mut channel.left);
        Self {
            local,
            channel,
            outward: Outward::new(opening, compression),
            inward: Inward::new(left),
            opener: false,
            over: None,
        }
    }

    /// What goes into the tunnel, and what comes out of it.
    pub fn with(mut self, outward: Flow, inward: Flow) -> Self {
        self.outward.flow = outward;
        self.inward.flow = inward;
        self
    }

    /// Until both ends were said, or one side broke off. The socket is given back with it.
    pub async fn run(mut self) -> (L, Ended) {
        let whole = poll_fn(|cx| self.poll(cx)).await;
        let told = self.inward.told;
        let reusable = whole.is_ok() && self.channel.again;
        self.channel.left = self.inward.into_left();
        let whole = whole.unwrap_or(false);
        (self.local, Ended { whole, told, channel: reusable.then_some(self.channel) })
    }

    /// `Ok`: both ends were said, by an end or by a reset; was it the whole? `Err`: the channel broke.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            let out = self.outward.poll(cx, &mut self.local, &mut *self.channel.io);
            if let Poll::Ready(Err(error)) = out {
                return Poll::Ready(Err(error));
            }
            let late = !self.opener && out.is_pending();
            let inn = self.inward.poll(cx, &mut self.local, &mut *self.channel.io, late);
            if let Poll::Ready(Err(error)) = inn {
                return Poll::Ready(Err(error));
            }
            // Who broke off has nothing more to say, and nobody to say it to.
            let broke = self.outward.broke || self.inward.broke;
            if out.is_ready() && inn.is_ready() {
                return Poll::Ready(Ok(!broke));
            }
            if !broke {
                return Poll::Pending;
            }
            self.inward.discard = true;
            let newly = self.outward.break_off(Why::Broken, self.opener);
            let over = self.over.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let goes_on = newly || (self.inward.discards_from_now() && inn.is_pending());
            if !goes_on {
                return Poll::Pending;
            }
        }
    }
}

impl Flow {
    /// Counts, and says how long to wait before more is taken.
    fn passed(&self, count: usize) -> Option<Pin<Box<Sleep>>> {
        let counted = u64::try_from(count).unwrap_or(u64::MAX);
        for total in &self.counts {
            total.fetch_add(counted, Ordering::Relaxed);
        }
        if self.buckets.is_empty() {
            return None;
        }
        let now = Instant::now();
        let wait = self.buckets.iter().filter_map(|bucket| bucket.take(count, now)).max()?;
        Some(Box::pin(tokio::time::sleep_until(now + wait)))
    }
}
