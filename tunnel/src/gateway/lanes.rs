//! Connections that a client keeps open for visitors to come. Nobody waits for them: they are looked
//! at when one is needed, and now and then.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::carrier::counted::Counted;
use crate::carrier::{Channel, Io};
use crate::heartbeat::DEAD;
use crate::wire::frame::{self, Decoder, Frame, Step};

/// Of one client.
pub(super) const MOST: usize = 64;

#[derive(Default)]
pub(super) struct Lanes {
    idle: Mutex<Vec<Idle>>,
    all: Arc<AtomicUsize>,
}

struct Idle {
    channel: Channel,
    heard: Instant,
}

impl Lanes {
    /// False: there are enough.
    pub(super) fn add(&self, io: impl Io + 'static) -> bool {
        if self.all.load(Ordering::Relaxed) >= MOST {
            return false;
        }
        self.give_back(Channel::lane(Counted::new(io, &self.all)));
        true
    }

    pub(super) fn give_back(&self, channel: Channel) {
        self.idle().push(Idle { channel, heard: Instant::now() });
    }

    /// The one that was used last, and still is a connection: its window is the widest.
    pub(super) fn take(&self) -> Option<Channel> {
        let now = Instant::now();
        loop {
            let mut idle = self.idle().pop()?;
            if idle.is_alive(now) {
                return Some(idle.channel);
            }
        }
    }

    /// Answers those that say that they are there, and lets go of those that do not.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.idle().retain_mut(|idle| idle.is_alive(now));
    }

    pub(super) fn close(&self) {
        self.idle().clear();
    }

    pub(super) fn count(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }

    /// A panic elsewhere leaves the list whole: each change is one call.
    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    /// Looks at what has come without waiting: between visitors that is nothing but a sign of life.
    fn is_alive(&mut self, now: Instant) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            let mut room = [0; 256];
            let mut buffer = ReadBuf::new(&mut room);
            match Pin::new(&mut *self.channel.io).poll_read(&mut cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return false,
                Poll::Ready(Ok(())) => self.channel.left.extend_from_slice(buffer.filled()),
            }
            if self.channel.left.len() > 1024 {
                return false;
            }
        }
        let mut at = 0;
        let mut decoder = Decoder::of_datagrams();
        loop {
            match decoder.step(self.channel.left.get(at..).unwrap_or_default()) {
                Ok((Step::NeedMore, _)) => break,
                Ok((Step::Frame(Frame::Idle), taken)) => {
                    at += taken;
                    self.heard = now;
                    // The client wants to know as well.
                    let written = Pin::new(&mut *self.channel.io).poll_write(&mut cx, &frame::idle());
                    if !matches!(written, Poll::Ready(Ok(frame::HEAD))) {
                        return false;
                    }
                    if let Poll::Ready(Err(_)) = Pin::new(&mut *self.channel.io).poll_flush(&mut cx) {
                        return false;
                    }
                }
                Ok(_) | Err(_) => return false,
            }
        }
        self.channel.left.drain(..at);
        now.saturating_duration_since(self.heard) < DEAD
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_says_that_it_is_there_is_answered_and_who_is_silent_is_let_go() {
        let lanes = Lanes::default();
        let (near, mut far) = duplex(1000);
        assert!(lanes.add(near));
        advance(DEAD - std::time::Duration::from_secs(1)).await;
        far.write_all(&frame::idle()).await.unwrap();
        lanes.sweep();
        let mut answer = [0; frame::HEAD];
        far.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, frame::idle());
        advance(DEAD - std::time::Duration::from_secs(1)).await;
        lanes.sweep();
        assert_eq!(lanes.count(), 1);
        advance(std::time::Duration::from_secs(1)).await;
        assert!(lanes.take().is_none());
        assert_eq!(lanes.count(), 0);
    }

    #[tokio::test]
    async fn a_lane_that_broke_or_talks_out_of_turn_is_not_given_to_a_visitor() {
        let lanes = Lanes::default();
        let (good, _far) = duplex(1000);
        let (broken, gone) = duplex(1000);
        let (loud, mut talks) = duplex(1000);
        for io in [good, broken, loud] {
            assert!(lanes.add(io));
        }
        drop(gone);
        talks.write_all(&frame::end()).await.unwrap();
        assert!(lanes.take().is_some());
        assert!(lanes.take().is_none());
    }

    #[tokio::test]
    async fn nobody_keeps_more_lanes_than_are_allowed() {
        let lanes = Lanes::default();
        let ends: Vec<_> = (0..=MOST).map(|_| duplex(10)).collect();
        let (near, _far): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        assert_eq!(near.into_iter().filter_map(|io| lanes.add(io).then_some(())).count(), MOST);
        let taken = lanes.take();
        let (one_more, _far) = duplex(10);
        assert!(!lanes.add(one_more), "one that is busy counts as well");
        drop(taken);
    }
}
