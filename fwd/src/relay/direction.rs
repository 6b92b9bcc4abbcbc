//! One direction: what comes from one side goes to the other. Bulk between two sockets goes
//! through a pipe and is never copied; everything else goes through a buffer that all
//! connections share. A direction that waits to read holds neither.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, BufRead as _, Cursor};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, tcp};
use tokio::time::timeout;

use super::pipes::{Pipe, Pipes};

/// The shared buffer. Smaller ones cost a call for too few bytes, and larger ones leave the cache.
const BUFFER: usize = 64 * 1024;

/// Who sends so much before it is read is likely to go on, and a pipe pays from here on.
const BULK: usize = 16 * 1024;

/// Who sends only so much at a time is copied again: with a pipe it would take twice the calls.
const TRICKLE: usize = 4 * 1024;

/// After so many rounds the other connections have their turn.
const ROUNDS: usize = 16;

/// How long a client that still talks is listened to when its upstream takes no more. Closed at
/// once, the client's kernel would throw away the upstream's last words, which it has not read yet.
const LINGER: Duration = Duration::from_secs(5);

thread_local! {
    /// One for all connections: between two reads there is nothing in it.
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// One half of a side.
pub(crate) trait Half: Unpin {
    /// The socket, where the bytes on it are the bytes of the stream.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Half for tcp::ReadHalf<'_> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.as_ref())
    }
}

impl Half for tcp::WriteHalf<'_> {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self.as_ref())
    }
}

impl<S> Half for ReadHalf<S> {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl<S> Half for WriteHalf<S> {
    fn socket(&self) -> Option<&TcpStream> {
        None
    }
}

/// How a direction came to its end.
#[derive(Debug)]
pub(super) enum Finish {
    /// The end was said, and passed on.
    Said,
    ReadFailed,
    /// The receiver takes no more; the other direction has its last words.
    WriteFailed,
    /// The receiver takes no more, and says no more that anybody waits for.
    Gone,
}

pub(super) struct Direction<'a, R, W, See, Count> {
    pub(super) from: R,
    pub(super) to: W,
    /// Read, and not taken by the other side yet.
    pub(super) left: Cursor<Vec<u8>>,
    /// There is no more to be read.
    pub(super) ended: bool,
    /// Who still talks when the receiver takes no more is heard out: not an upstream whose client
    /// is gone, which would go on sending all that was asked for.
    pub(super) hears_out: bool,
    pub(super) pipes: &'a Pipes,
    pub(super) see: See,
    /// Is told of what was passed on, and with 0 of an end.
    pub(super) count: Count,
    /// What was read last was much: the next bytes go through a pipe.
    pub(super) bulk: bool,
    /// A pipe, and how much is in it.
    pub(super) held: Option<(Pipe, usize)>,
}

impl<R, W, See, Count> Direction<'_, R, W, See, Count>
where
    R: AsyncRead + Half,
    W: AsyncWrite + Half,
    See: FnMut(&[u8]) -> bool,
    Count: Fn(usize),
{
    /// Nothing is on its way, and more may come.
    pub(super) fn is_at_rest(&self) -> bool {
        !self.ended && self.held.is_none() && rest(&self.left).is_none()
    }

    pub(super) async fn pump(&mut self) -> Finish {
        match poll_fn(|cx| self.poll_move(cx)).await {
            Finish::Said => self.to.shutdown().await.map_or(Finish::WriteFailed, |()| Finish::Said),
            Finish::WriteFailed if !self.hears_out => Finish::Gone,
            finish @ (Finish::ReadFailed | Finish::Gone) => finish,
            Finish::WriteFailed => {
                self.held = None;
                let unheard = poll_fn(|cx| self.poll_discard(cx));
                // Boxed: it is rare, and its timer would double every connection.
                let _over = Box::pin(timeout(LINGER, unheard)).await;
                Finish::WriteFailed
            }
        }
    }

    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        for _round in 0..ROUNDS {
            if ready!(self.poll_deliver(cx)).is_err() {
                return Poll::Ready(Finish::WriteFailed);
            }
            if self.ended {
                return Poll::Ready(Finish::Said);
            }
            let taken = if self.bulk { ready!(self.poll_fill(cx)) } else { ready!(self.poll_read(cx)) };
            if let Err(finish) = taken {
                return Poll::Ready(finish);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hands over everything that was taken.
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = rest(&self.left) {
            let written = ready!(Pin::new(&mut self.to).poll_write(cx, bytes))?;
            self.passed(written)?;
            self.left.consume(written);
        }
        // Its room goes with it: who pushed back once may be silent for hours.
        self.left = Cursor::default();
        ready!(self.poll_drain(cx))?;
        // TLS keeps what its socket does not take at once.
        Pin::new(&mut self.to).poll_flush(cx)
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((pipe, inside)) = &mut self.held {
            let to = self.to.socket().ok_or(io::ErrorKind::NotConnected)?;
            ready!(to.poll_write_ready(cx))?;
            match to.try_io(Interest::WRITABLE, || pipe.drain(to, *inside)) {
                Ok(written) => {
                    *inside = inside.saturating_sub(written);
                    self.passed(written)?;
                }
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            if let Some((pipe, _empty)) = self.held.take_if(|(_, inside)| *inside == 0) {
                self.pipes.give_back(pipe);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn passed(&self, written: usize) -> io::Result<()> {
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (self.count)(written);
        Ok(())
    }

    /// Reads into the shared buffer, and keeps only what the other side does not take at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Finish>> {
        SHARED.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            match ready!(Pin::new(&mut self.from).poll_read(cx, &mut buffer)) {
                Ok(()) => {}
                // TLS that ends without its own goodbye: many proxies do not say it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(_) => return Poll::Ready(Err(Finish::ReadFailed)),
            }
            let bytes = buffer.filled();
            self.ended = bytes.is_empty();
            if self.ended {
                (self.count)(0);
                return Poll::Ready(Ok(()));
            }
            let curious = (self.see)(bytes);
            let sockets = self.from.socket().is_some() && self.to.socket().is_some();
            self.bulk = bytes.len() >= BULK && sockets && !curious;
            let written = match Pin::new(&mut self.to).poll_write(cx, bytes) {
                Poll::Ready(written) => written.and_then(|count| self.passed(count).map(|()| count)),
                Poll::Pending => Ok(0),
            };
            let Ok(written) = written else { return Poll::Ready(Err(Finish::WriteFailed)) };
            self.left.get_mut().extend_from_slice(bytes.get(written..).unwrap_or_default());
            Poll::Ready(Ok(()))
        })
    }

    /// Fills a pipe from the socket.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Finish>> {
        let Some(from) = self.from.socket() else { return Poll::Ready(Err(Finish::ReadFailed)) };
        loop {
            if ready!(from.poll_read_ready(cx)).is_err() {
                return Poll::Ready(Err(Finish::ReadFailed));
            }
            let Some(pipe) = self.pipes.take() else {
                self.bulk = false;
                return Poll::Ready(Ok(()));
            };
            match from.try_io(Interest::READABLE, || self.pipes.fill(&pipe, from)) {
                Ok(taken) => {
                    self.ended = taken == 0;
                    self.bulk = taken >= TRICKLE;
                    if self.ended {
                        (self.count)(0);
                        self.pipes.give_back(pipe);
                    } else {
                        self.held = Some((pipe, taken));
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(empty) if empty.kind() == io::ErrorKind::WouldBlock => self.pipes.give_back(pipe),
                Err(_) => return Poll::Ready(Err(Finish::ReadFailed)),
            }
        }
    }

    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        SHARED.with_borrow_mut(|buffer| {
            loop {
                let mut buffer = ReadBuf::new(buffer);
                let read = ready!(Pin::new(&mut self.from).poll_read(cx, &mut buffer));
                if read.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        })
    }
}

fn rest(left: &Cursor<Vec<u8>>) -> Option<&[u8]> {
    let at = usize::try_from(left.position()).ok()?;
    left.get_ref().get(at..).filter(|rest| !rest.is_empty())
}
