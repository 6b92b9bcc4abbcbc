//! Out of the tunnel to the socket.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::{BUFFER, Flow, ROUNDS, pack};
use crate::carrier::Io;
use crate::wire::frame::{Decoder, Frame, HEAD, LONGEST, Step, Why};

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

pub(super) struct Inward {
    pub(super) flow: Flow,
    decoder: Decoder,
    /// Arrived, and not passed on yet.
    left: Vec<u8>,
    at: usize,
    /// Unpacked, and not passed on yet.
    unpacked: Vec<u8>,
    unpacked_at: usize,
    wait: Option<Pin<Box<Sleep>>>,
    /// The other end has said its last.
    ended: bool,
    /// And the socket knows.
    shut: bool,
    /// The socket takes no more: what still comes is read and dropped, up to the end.
    pub(super) discard: bool,
    seen_discard: bool,
    /// One of the sides broke off.
    pub(super) broke: bool,
    pub(super) told: Option<Why>,
}

/// How much of what has arrived was passed on.
enum Passed {
    All,
    /// There is no more to come of this stream.
    End,
    /// A frame is not whole.
    Short,
    /// The socket takes no more for now, or the limit says so.
    Full,
}

impl Inward {
    pub(super) fn new(left: Vec<u8>) -> Self {
        Self {
            flow: Flow::default(),
            decoder: Decoder::of_bytes(),
            left,
            at: 0,
            unpacked: Vec::new(),
            unpacked_at: 0,
            wait: None,
            ended: false,
            shut: false,
            discard: false,
            seen_discard: false,
            broke: false,
            told: None,
        }
    }

    /// What came behind this stream's end: the next one's beginning.
    pub(super) fn into_left(mut self) -> Vec<u8> {
        self.left.drain(..self.at.min(self.left.len()));
        self.left
    }

    /// True once, when dropping has begun: what waited for the socket must be looked at again.
    pub(super) fn discards_from_now(&mut self) -> bool {
        self.discard && !std::mem::replace(&mut self.seen_discard, true)
    }

    /// Ready when the other end has said its last, and the socket was told. `late`: behind its end
    /// it may still say that it takes no more.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        local: &mut (impl AsyncWrite + Unpin),
        channel: &mut dyn Io,
        late: bool,
    ) -> Poll<io::Result<()>> {
        for _round in 0..ROUNDS {
            if self.ended {
                if late && !self.broke {
                    self.hear_late(cx, channel)?;
                }
                return self.poll_shut(cx, local).map(Ok);
            }
            if let Some(wait) = &mut self.wait {
                if !self.discard {
                    ready!(wait.as_mut().poll(cx));
                }
                self.wait = None;
            }
            let passed = if self.left.is_empty() && self.unpacked.is_empty() {
                ready!(self.poll_fresh(cx, local, channel))?
            } else {
                ready!(self.poll_rest(cx, local, channel))?
            };
            if matches!(passed, Passed::Full) && self.wait.is_none() && !self.discard {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads into the shared buffer, and keeps only what the socket does not take at once.
    fn poll_fresh(
        &mut self,
        cx: &mut Context<'_>,
        local: &mut (impl AsyncWrite + Unpin),
        channel: &mut dyn Io,
    ) -> Poll<io::Result<Passed>> {
        SHARED.with_borrow_mut(|shared| {
            let mut buffer = ReadBuf::new(shared);
            ready!(Pin::new(channel).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let (passed, taken) = self.pass(cx, local, buffer.filled())?;
            self.left.extend_from_slice(buffer.filled().get(taken..).unwrap_or_default());
            Poll::Ready(Ok(passed))
        })
    }

    /// What was kept first, and then more behind it if that is too little.
    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        local: &mut (impl AsyncWrite + Unpin),
        channel: &mut dyn Io,
    ) -> Poll<io::Result<Passed>> {
        let left = std::mem::take(&mut self.left);
        let (passed, taken) = self.pass(cx, local, left.get(self.at..).unwrap_or_default())?;
        (self.left, self.at) = (left, self.at + taken);
        if self.at >= self.left.len() {
            (self.left, self.at) = (Vec::new(), 0);
        }
        if matches!(passed, Passed::Short) && !self.left.is_empty() {
            self.left.drain(..self.at);
            self.at = 0;
            let there = self.left.len();
            self.left.resize(HEAD + LONGEST, 0);
            let mut buffer = ReadBuf::new(self.left.get_mut(there..).unwrap_or_default());
            let read = Pin::new(channel).poll_read(cx, &mut buffer);
            let more = buffer.filled().len();
            self.left.truncate(there + more);
            ready!(read)?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        Poll::Ready(Ok(passed))
    }

    /// Passes on what it can of `input`, and says how much of it that was.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        local: &mut (impl AsyncWrite + Unpin),
        input: &[u8],
    ) -> io::Result<(Passed, usize)> {
        let mut at = 0;
        loop {
            if self.wait.is_some() && !self.discard {
                return Ok((Passed::Full, at));
            }
            if let Some(bytes) = self.unpacked.get(self.unpacked_at..).filter(|bytes| !bytes.is_empty()) {
                let Some(count) = write(cx, local, bytes, self.discard) else {
                    return Ok((Passed::Full, at));
                };
                self.written(count, |this, count| this.unpacked_at += count);
                continue;
            }
            (self.unpacked, self.unpacked_at) = (Vec::new(), 0);
            let rest = input.get(at..).unwrap_or_default();
            let (step, taken) = self.decoder.step(rest).map_err(io::Error::other)?;
            at += taken;
            match step {
                Step::NeedMore if at >= input.len() => return Ok((Passed::All, at)),
                Step::NeedMore => return Ok((Passed::Short, at)),
                Step::Data(bytes) => {
                    let Some(count) = write(cx, local, bytes, self.discard) else {
                        return Ok((Passed::Full, at));
                    };
                    self.written(count, |this, count| {
                        this.decoder.took(count);
                        at += count;
                    });
                }
                Step::Frame(Frame::Packed(packed)) => {
                    self.unpacked = pack::unpack(packed).ok_or(io::ErrorKind::InvalidData)?;
                }
                Step::Frame(Frame::End) => {
                    self.ended = true;
                    return Ok((Passed::End, at));
                }
                Step::Frame(Frame::Reset(why)) => {
                    (self.ended, self.broke, self.told) = (true, true, Some(why));
                    return Ok((Passed::End, at));
                }
                Step::Frame(Frame::Idle) => {}
                Step::Frame(Frame::Open(_) | Frame::Datagram(_)) => {
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
    }

    /// `None`: the socket is gone, and all that comes is dropped from now on.
    fn written(&mut self, count: Option<usize>, mut took: impl FnMut(&mut Self, usize)) {
        match count {
            Some(count) => {
                took(self, count);
                if !self.discard {
                    self.wait = self.flow.passed(count);
                }
            }
            None => (self.discard, self.broke) = (true, true),
        }
    }

    /// Listens behind the end for a reset, which is all that may come there.
    fn hear_late(&mut self, cx: &mut Context<'_>, channel: &mut dyn Io) -> io::Result<()> {
        self.left.drain(..self.at.min(self.left.len()));
        self.at = 0;
        loop {
            let (step, taken) = self.decoder.step(&self.left).map_err(io::Error::other)?;
            match step {
                Step::Frame(Frame::Idle) => {}
                Step::Frame(Frame::Reset(why)) => (self.broke, self.told) = (true, Some(why)),
                Step::NeedMore => {
                    let mut room = [0; HEAD];
                    let mut buffer = ReadBuf::new(&mut room);
                    match Pin::new(&mut *channel).poll_read(cx, &mut buffer) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(read) => read?,
                    }
                    if buffer.filled().is_empty() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.left.extend_from_slice(buffer.filled());
                }
                Step::Data(_) | Step::Frame(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
            self.left.drain(..taken);
            if self.broke {
                return Ok(());
            }
        }
    }

    fn poll_shut(&mut self, cx: &mut Context<'_>, local: &mut (impl AsyncWrite + Unpin)) -> Poll<()> {
        if !self.shut && !self.broke && !self.discard {
            // Whoever is gone already need not be told.
            let _gone = ready!(Pin::new(local).poll_shutdown(cx));
        }
        self.shut = true;
        Poll::Ready(())
    }
}

/// Outer `None`: not now. Inner `None`: never more.
fn write(
    cx: &mut Context<'_>,
    local: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    discard: bool,
) -> Option<Option<usize>> {
    if discard {
        return Some(Some(bytes.len()));
    }
    match Pin::new(local).poll_write(cx, bytes) {
        Poll::Ready(Ok(count)) if count > 0 => Some(Some(count)),
        Poll::Ready(_) => Some(None),
        Poll::Pending => None,
    }
}
