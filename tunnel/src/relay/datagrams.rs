//! One visitor's datagrams between a socket and a channel, each whole and in its borders. What finds
//! no room is dropped, as datagrams are; what was taken is never cut.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep};

use super::{Ended, Flow, ROUNDS};
use crate::carrier::{Channel, Io};
use crate::wire::frame::{self, Decoder, Frame, HEAD, LONGEST, Step, Why};

/// What is gathered for one write.
const GATHERED: usize = 64 * 1024;
/// What is read at once of what came through the tunnel.
const READ: usize = 64 * 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEAD + LONGEST].into());
}

/// Where datagrams come from and go to.
pub trait Socket {
    fn poll_receive(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>>;
    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<usize>>;
}

/// The client's side: connected to the target.
impl Socket for UdpSocket {
    fn poll_receive(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll_recv(cx, to)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<usize>> {
        UdpSocket::poll_send(self, cx, datagram)
    }
}

pub struct Datagrams<S> {
    socket: S,
    channel: Channel,
    out: Flow,
    inn: Flow,
    decoder: Decoder,
    pending: Vec<u8>,
    pending_at: usize,
    left: Vec<u8>,
    wait: Option<Pin<Box<Sleep>>>,
    idle: Duration,
    sleep: Pin<Box<Sleep>>,
    moved: Instant,
    /// Our last frame is in `pending`, or was sent.
    ended: bool,
    told: Option<Option<Why>>,
}

impl<S: Socket> Datagrams<S> {
    /// Ends by itself when nothing has come or gone for `idle`.
    pub fn new(socket: S, mut channel: Channel, opening: Vec<u8>, idle: Duration) -> Self {
        Self {
            socket,
            left: std::mem::take(&mut channel.left),
            channel,
            out: Flow::default(),
            inn: Flow::default(),
            decoder: Decoder::of_datagrams(),
            pending: opening,
            pending_at: 0,
            wait: None,
            idle,
            sleep: Box::pin(tokio::time::sleep(idle)),
            moved: Instant::now(),
            ended: false,
            told: None,
        }
    }

    pub fn with(mut self, out: Flow, inn: Flow) -> Self {
        (self.out, self.inn) = (out, inn);
        self
    }

    pub async fn run(mut self) -> Ended {
        let done = poll_fn(|cx| self.poll(cx)).await;
        let reusable = done.is_ok() && self.channel.again;
        self.channel.left = self.left;
        Ended { whole: done.is_ok(), told: self.told.flatten(), channel: reusable.then_some(self.channel) }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let out = self.poll_out(cx)?;
        let inn = self.poll_in(cx)?;
        if inn.is_ready() && !self.ended {
            self.end();
            return self.poll_out(cx);
        }
        if out.is_ready() && inn.is_ready() {
            return Poll::Ready(Ok(()));
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            let over = self.moved + self.idle;
            if Instant::now() < over {
                self.sleep.as_mut().reset(over);
                continue;
            }
            if self.ended {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.end();
            self.moved = Instant::now();
            self.sleep.as_mut().reset(self.moved + super::LINGER);
            self.idle = super::LINGER;
            let _flushing = self.poll_out(cx)?;
        }
        Poll::Pending
    }

    fn end(&mut self) {
        self.ended = true;
        self.pending.extend(frame::end());
    }

    /// Ready when our end was handed over.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _round in 0..ROUNDS {
            while let Some(bytes) = self.pending.get(self.pending_at..).filter(|bytes| !bytes.is_empty()) {
                let written = ready!(Pin::new(&mut *self.channel.io).poll_write(cx, bytes))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.pending_at += written;
            }
            (self.pending, self.pending_at) = (Vec::new(), 0);
            if self.ended {
                return Pin::new(&mut *self.channel.io).poll_flush(cx);
            }
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            self.gather(cx);
            if self.pending.is_empty() {
                let _flushed = Pin::new(&mut *self.channel.io).poll_flush(cx)?;
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes what is there, up to one write.
    fn gather(&mut self, cx: &mut Context<'_>) {
        SHARED.with_borrow_mut(|shared| {
            while self.pending.len() < GATHERED && self.wait.is_none() {
                let mut buffer = ReadBuf::new(shared);
                match self.socket.poll_receive(cx, &mut buffer) {
                    Poll::Pending => return,
                    // A target that nobody listens at says so by an error, and may listen later.
                    Poll::Ready(Err(_refused)) => {}
                    Poll::Ready(Ok(())) => {
                        let datagram = buffer.filled();
                        if let Some(head) = frame::data_head(datagram.len()) {
                            self.pending.extend(head);
                            self.pending.extend(datagram);
                            self.moved = Instant::now();
                            self.wait = self.out.passed(datagram.len());
                        }
                    }
                }
            }
        });
    }

    /// Ready when the other end has said its end.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _round in 0..ROUNDS {
            if self.told.is_some() {
                return Poll::Ready(Ok(()));
            }
            let mut at = 0;
            loop {
                let input = self.left.get(at..).unwrap_or_default();
                let (step, taken) = self.decoder.step(input).map_err(io::Error::other)?;
                match step {
                    Step::NeedMore => break,
                    Step::Frame(Frame::Datagram(datagram)) => {
                        let sent = self.socket.poll_send(cx, datagram);
                        if sent.is_pending() {
                            self.left.drain(..at);
                            return Poll::Pending;
                        }
                        self.moved = Instant::now();
                        // A limit drops nothing here: what came through the tunnel is paid for.
                        let _paid = self.inn.passed(datagram.len());
                    }
                    Step::Frame(Frame::Idle) => {}
                    Step::Frame(Frame::End) => self.told = Some(None),
                    Step::Frame(Frame::Reset(why)) => self.told = Some(Some(why)),
                    Step::Data(_) | Step::Frame(Frame::Open(_) | Frame::Packed(_)) => {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                }
                at += taken;
                if self.told.is_some() {
                    break;
                }
            }
            self.left.drain(..at);
            if self.told.is_none() {
                ready!(read(&mut *self.channel.io, cx, &mut self.left))?;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn read(io: &mut dyn Io, cx: &mut Context<'_>, left: &mut Vec<u8>) -> Poll<io::Result<()>> {
    SHARED.with_borrow_mut(|shared| {
        let mut buffer = ReadBuf::new(shared.get_mut(..READ).unwrap_or_default());
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        if buffer.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        left.extend_from_slice(buffer.filled());
        if left.capacity() > 4 * READ {
            left.shrink_to(left.len());
        }
        Poll::Ready(Ok(()))
    })
}
