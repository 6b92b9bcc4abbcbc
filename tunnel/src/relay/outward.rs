//! From the socket into the tunnel.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Sleep;

use super::pack::Packer;
use super::{BUFFER, Flow, ROUNDS};
use crate::carrier::Io;
use crate::wire::frame::{self, HEAD, Why};

/// An opening is put in front of the first bytes.
const ROOM: usize = 1024;

thread_local! {
    static SHARED: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

pub(super) struct Outward {
    pub(super) flow: Flow,
    /// Said before anything else.
    opening: Vec<u8>,
    /// Not taken by the channel yet.
    pending: Vec<u8>,
    at: usize,
    wait: Option<Pin<Box<Sleep>>>,
    packer: Option<Packer>,
    /// The last frame is written, or waits in `pending`.
    ended: bool,
    /// And it was a reset.
    pub(super) broke: bool,
}

impl Outward {
    pub(super) fn new(opening: Vec<u8>, compression: bool) -> Self {
        Self {
            flow: Flow::default(),
            opening,
            pending: Vec::new(),
            at: 0,
            wait: None,
            packer: compression.then(Packer::default),
            ended: false,
            broke: false,
        }
    }

    /// Ready when the last frame was handed over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        local: &mut (impl AsyncRead + Unpin),
        channel: &mut dyn Io,
    ) -> Poll<io::Result<()>> {
        for _round in 0..ROUNDS {
            ready!(self.poll_deliver(cx, channel))?;
            if self.ended {
                return Pin::new(&mut *channel).poll_flush(cx);
            }
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            if ready!(self.poll_read(cx, local, channel))?.is_none() {
                // Nothing to be read: what was written must not wait for more.
                let _flushed = Pin::new(&mut *channel).poll_flush(cx)?;
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Says that there will be no more, and not because it was all. False: that was said before, or
    /// the end was, behind which only the `opener` of a stream may say that it takes no more.
    pub(super) fn break_off(&mut self, why: Why, opener: bool) -> bool {
        if self.broke || (self.ended && !opener) {
            return false;
        }
        (self.ended, self.broke) = (true, true);
        self.pending.extend(std::mem::take(&mut self.opening));
        self.pending.extend(frame::reset(why));
        true
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>, channel: &mut dyn Io) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.pending.get(self.at..).filter(|bytes| !bytes.is_empty()) {
            let written = ready!(Pin::new(&mut *channel).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += written;
        }
        // Its room goes with it: a thousand idle streams keep nothing.
        (self.pending, self.at) = (Vec::new(), 0);
        Poll::Ready(Ok(()))
    }

    /// One read and one write. `None`: there is nothing to be read now.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        local: &mut (impl AsyncRead + Unpin),
        channel: &mut dyn Io,
    ) -> Poll<io::Result<Option<()>>> {
        SHARED.with_borrow_mut(|shared| {
            // The opening, a header, and behind them what is read: one write for all of it.
            let opening = std::mem::take(&mut self.opening);
            let (front, rest) = shared.split_at_mut_checked(opening.len().min(ROOM)).unwrap_or_default();
            let opening_fits = front.len() == opening.len();
            if opening_fits {
                front.copy_from_slice(&opening);
            } else {
                self.pending.extend(&opening);
            }
            let Some((head, room)) = rest.split_first_chunk_mut::<HEAD>() else {
                return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
            };
            let mut buffer = ReadBuf::new(room);
            let read = Pin::new(local).poll_read(cx, &mut buffer);
            let count = buffer.filled().len();
            let front = if opening_fits { opening.len() } else { 0 };
            let end = match read {
                Poll::Pending if front > 0 => front,
                Poll::Pending => return Poll::Ready(Ok((!self.pending.is_empty()).then_some(()))),
                Poll::Ready(Ok(())) if count > 0 => {
                    self.wait = self.flow.passed(count);
                    let packed = self.packer.as_mut().and_then(|packer| packer.pack(buffer.filled()));
                    if let Some(packed) = packed {
                        self.pending.extend(front_of(shared, front));
                        self.pending.extend(packed);
                        return Poll::Ready(Ok(Some(())));
                    }
                    *head = frame::data_head(count).ok_or(io::ErrorKind::InvalidData)?;
                    front + HEAD + count
                }
                Poll::Ready(Ok(())) => {
                    self.ended = true;
                    *head = frame::end();
                    front + HEAD
                }
                Poll::Ready(Err(_gone)) => {
                    (self.ended, self.broke) = (true, true);
                    *head = frame::reset(Why::Broken);
                    front + HEAD
                }
            };
            let bytes = shared.get(..end).unwrap_or_default();
            // Behind what is waiting already, nothing may be written.
            let written = if self.pending.is_empty() {
                match Pin::new(channel).poll_write(cx, bytes) {
                    Poll::Ready(written) => written?,
                    Poll::Pending => 0,
                }
            } else {
                0
            };
            self.pending.extend(bytes.get(written..).unwrap_or_default());
            Poll::Ready(Ok(Some(())))
        })
    }
}

fn front_of(shared: &[u8], front: usize) -> &[u8] {
    shared.get(..front).unwrap_or_default()
}
