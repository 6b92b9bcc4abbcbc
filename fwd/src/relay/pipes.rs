//! Pipes that bytes go through from socket to socket without ever being copied. All connections
//! share them, and one is held only while there are bytes in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// A quarter of what Linux lets an unprivileged user have in pipes (`pipe-user-pages-soft`), with
/// every pipe at its full size: who runs many forwarders has them all as one user.
pub(crate) const MOST: usize = 64;

/// As in the bare splice relay that the forwarder is measured against.
const SIZE: usize = 256 * 1024;

/// What a new pipe has by itself. Beyond the user's share the kernel gives much less, and copying
/// is the better way then.
const SMALLEST: usize = 64 * 1024;

/// Pipes that nobody took for so long are closed; pipes that could not be had are not asked for.
const REST: Duration = Duration::from_secs(1);

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// The pipes of a forwarder.
pub(crate) struct Pipes {
    room: Arc<Semaphore>,
    stock: Mutex<Stock>,
    spliced: AtomicU64,
    returned: Notify,
}

#[derive(Default)]
struct Stock {
    spare: Vec<Pipe>,
    denied_at: Option<Instant>,
}

/// An empty pipe, or one with bytes on their way. Dropped, it is gone with what is in it.
pub(crate) struct Pipe {
    into: OwnedFd,
    out: OwnedFd,
    size: usize,
    _room: OwnedSemaphorePermit,
}

impl Pipes {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            room: Arc::new(Semaphore::new(most)),
            stock: Mutex::default(),
            spliced: AtomicU64::new(0),
            returned: Notify::new(),
        }
    }

    /// An empty pipe, if one can be had that is worth having.
    pub(super) fn take(&self) -> Option<Pipe> {
        let mut stock = self.stock();
        stock.spare.pop().or_else(|| self.make(&mut stock))
    }

    /// For an empty pipe.
    pub(super) fn give_back(&self, pipe: Pipe) {
        self.stock().spare.push(pipe);
        self.returned.notify_one();
    }

    /// Takes as much from the socket as the pipe holds.
    pub(super) fn fill(&self, pipe: &Pipe, from: impl AsFd) -> io::Result<usize> {
        let taken = splice(from, None, &pipe.into, None, pipe.size, FLAGS)?;
        self.spliced.fetch_add(u64::try_from(taken).unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(taken)
    }

    /// How many bytes were never copied.
    pub(crate) fn spliced(&self) -> u64 {
        self.spliced.load(Ordering::Relaxed)
    }

    /// Closes the spare pipes when the traffic rests; does not return.
    pub(crate) async fn tidy(&self) -> std::convert::Infallible {
        loop {
            self.returned.notified().await;
            let mut before = None;
            while before != Some(self.spliced()) {
                before = Some(self.spliced());
                sleep(REST).await;
            }
            self.stock().spare.clear();
        }
    }

    fn make(&self, stock: &mut Stock) -> Option<Pipe> {
        if stock.denied_at.is_some_and(|at| at.elapsed() < REST) {
            return None;
        }
        let room = self.room.clone().try_acquire_owned().ok()?;
        match Pipe::open(room) {
            Ok(pipe) if pipe.size >= SMALLEST => return Some(pipe),
            Ok(small) => tracing::debug!(size = small.size, "pipes are small now: bytes are copied"),
            Err(error) => tracing::debug!(error = %error, "no pipe can be had: bytes are copied"),
        }
        stock.denied_at = Some(Instant::now());
        None
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        // Nothing in there can be left half done.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn open(room: OwnedSemaphorePermit) -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let size = fcntl_setpipe_size(&into, SIZE).or_else(|_denied| fcntl_getpipe_size(&into))?;
        Ok(Self { into, out, size, _room: room })
    }

    pub(super) fn drain(&self, to: impl AsFd, count: usize) -> io::Result<usize> {
        Ok(splice(&self.out, None, to, None, count, FLAGS)?)
    }
}

#[cfg(test)]
impl Pipes {
    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        // Every pipe has a permit, and with it a share of the room.
        Arc::strong_count(&self.room) - 1
    }

    /// How many have bytes in them.
    pub(crate) fn held(&self) -> usize {
        self.open() - self.stock().spare.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn spare_pipes_are_used_again_and_closed_when_nobody_wants_them() {
        let pipes = Pipes::new(2);
        let (one, two) = (pipes.take().unwrap(), pipes.take().unwrap());
        assert!(pipes.take().is_none(), "not more than the bound");
        pipes.give_back(one);
        drop(two);
        assert_eq!((pipes.open(), pipes.held()), (1, 0), "a pipe that was lost makes room");
        pipes.give_back(pipes.take().unwrap());
        tokio::select! {
            never = pipes.tidy() => match never {},
            () = sleep(3 * REST) => {}
        }
        assert_eq!(pipes.open(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_was_denied_is_asked_for_again_later() {
        let pipes = Pipes::new(1);
        pipes.stock().denied_at = Some(Instant::now());
        assert!(pipes.take().is_none());
        sleep(REST).await;
        assert!(pipes.take().is_some());
    }
}
