//! Connections that sleep. One on which nothing moves needs no task, no buffers and no place with
//! the runtime: its two sockets wait here, and what comes on one of them, or a word that it shall
//! end, brings it back.

use std::convert::Infallible;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Wake, Waker};

use pgw_core::sni::Sniffer;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::conn::Conn;
use crate::live::Live;

/// Brought back in one go; then the others have their turn.
const AT_ONCE: usize = 64;

/// Everything by which either side makes itself heard.
const HEARD: EventFlags = EventFlags::IN.union(EventFlags::RDHUP);

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A connection while it sleeps.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) conn: Conn,
    pub(crate) client: TcpStream,
    pub(crate) upstream: TcpStream,
    pub(crate) sniffer: Sniffer,
    /// A forwarder that stops waits for it.
    pub(crate) _counted: TaskTrackerToken,
}

/// Wakes them. Each lies in its own [`crate::conn::Known`]: room that it had from its first moment, so
/// that sleep leaves no holes in memory.
pub(crate) struct Asleep {
    live: Arc<Live>,
    epoll: AsyncFd<OwnedFd>,
    bell: Arc<Bell>,
}

/// Rings when one of them is told to end.
#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

impl Asleep {
    pub(crate) fn new(live: Arc<Live>) -> io::Result<Self> {
        #[expect(deprecated, reason = "its successor is unsafe; what is owned here is never replaced")]
        let epoll = AsyncFd::with_interest(epoll::create(CreateFlags::CLOEXEC)?, Interest::READABLE)?;
        Ok(Self { live, epoll, bell: Arc::default() })
    }

    /// From now on it sleeps. What came before this is heard as well.
    pub(crate) fn lay_down(&self, sleeper: Sleeper) -> Result<(), (Sleeper, io::Error)> {
        let id = sleeper.conn.id;
        let add = |socket| epoll::add(self.epoll.get_ref(), socket, EventData::new_u64(id), HEARD);
        let added = add(&sleeper.client).and_then(|()| add(&sleeper.upstream));
        if let Err(error) = added {
            self.forget(&sleeper);
            return Err((sleeper, error.into()));
        }
        sleeper.conn.known().lie_down(sleeper, &Waker::from(self.bell.clone()));
        Ok(())
    }

    /// Gives those that are to be woken to `wake`; does not return.
    pub(crate) async fn watch(&self, wake: impl Fn(Sleeper)) -> Infallible {
        loop {
            let woken = tokio::select! {
                heard = self.heard() => heard,
                () = self.bell.0.notified() => self.live.told(),
            };
            for sleeper in woken.into_iter().filter_map(|id| self.live.get(id)?.get_up()) {
                self.forget(&sleeper);
                wake(sleeper);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Those on whose sockets something came.
    async fn heard(&self) -> Vec<u64> {
        let waiting = self.epoll.async_io(Interest::READABLE, |epoll| {
            let mut events = [MaybeUninit::uninit(); AT_ONCE];
            match epoll::wait(epoll, &mut events, Some(&NOW))? {
                ([], _) => Err(io::ErrorKind::WouldBlock.into()),
                (events, _) => Ok(events.iter().map(|event| event.data.u64()).collect()),
            }
        });
        waiting.await.unwrap_or_default()
    }

    fn forget(&self, sleeper: &Sleeper) {
        for socket in [&sleeper.client, &sleeper.upstream] {
            // One that was never put there need not be taken away.
            let _absent = epoll::delete(self.epoll.get_ref(), socket);
        }
    }
}
