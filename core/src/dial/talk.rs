//! Saying and hearing at once, while there is no tunnel yet: an upstream may answer before it
//! has taken everything, and whoever only wrote would not hear it.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::tcp::unanswered;
use super::{DialError, Stream};
use crate::health::CheckFailure;

/// Heard in one go: an answer, and what a destination says right behind it if it was asked ahead.
const AT_ONCE: usize = 4096;

pub(super) struct Talk<'a> {
    stream: &'a mut Stream,
    out: Vec<u8>,
    written: usize,
    /// What was heard and is not judged yet.
    pub(super) arrived: Vec<u8>,
}

impl<'a> Talk<'a> {
    pub(super) fn over(stream: &'a mut Stream) -> Self {
        Self { stream, out: Vec::new(), written: 0, arrived: Vec::new() }
    }

    /// To be sent, together with what was said before and is not sent yet: in one packet where
    /// it fits, because some upstreams, and every slow way, dislike crumbs.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// How much of what was said is not sent yet.
    pub(super) fn unsent(&self) -> usize {
        self.out.len().saturating_sub(self.written)
    }

    /// Sends what was said, and waits for more, up to `most` bytes in all. Nothing is lost when
    /// it is dropped and called again.
    pub(super) async fn hear(&mut self, most: usize) -> Result<(), DialError> {
        match poll_fn(|cx| self.poll_hear(cx, most)).await {
            Ok(0) => Err(bad_answer("the connection was closed in the middle of the handshake")),
            Ok(_) => Ok(()),
            Err(source) => Err(broken(source)),
        }
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let sent = self.poll_send(cx);
        // What waits in the kernel is the tunnel's own sooner or later: nothing is lost by a bound.
        let room = most.saturating_sub(self.arrived.len()).min(AT_ONCE);
        // Not where it stays: a connection keeps as much as it heard, and no room for more.
        let mut space = [MaybeUninit::uninit(); AT_ONCE];
        let mut buffer = ReadBuf::uninit(space.get_mut(..room).unwrap_or_default());
        let heard = Pin::new(&mut *self.stream).poll_read(cx, &mut buffer);
        let heard = heard.map_ok(|()| buffer.filled().len());
        self.arrived.extend_from_slice(buffer.filled());
        match (heard, sent) {
            (Poll::Ready(heard), _) => Poll::Ready(heard),
            // Who refuses and closes does not take the rest; his last words come first.
            (Poll::Pending, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Pending, Poll::Ready(Ok(())) | Poll::Pending) => Poll::Pending,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut *self.stream).poll_flush(cx)
    }
}

pub(super) fn bad_answer(detail: &str) -> DialError {
    DialError::new(CheckFailure::BadAnswer, detail, None)
}

/// With TCP fast open the first words are also the first packet, and may be refused like one.
fn broken(source: io::Error) -> DialError {
    match unanswered(&source) {
        Some((kind, words)) => DialError::new(kind, words, Some(source)),
        None => {
            DialError::new(CheckFailure::BadAnswer, format!("during the handshake: {source}"), Some(source))
        }
    }
}
