//! Saying and hearing at once, while there is no tunnel yet: an upstream may answer before it
//! has taken everything, and whoever only wrote would not hear it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt as _, AsyncWrite as _};

use super::tcp::unanswered;
use super::{DialError, Stream};
use crate::health::CheckFailure;

const USUAL_ANSWER: usize = 512;

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
        if self.arrived.capacity() == 0 {
            self.arrived.reserve(USUAL_ANSWER);
        }
        match poll_fn(|cx| self.poll_hear(cx, most)).await {
            Ok(0) => Err(bad_answer("the connection was closed in the middle of the handshake")),
            Ok(_) => Ok(()),
            Err(source) => Err(broken(source)),
        }
    }

    fn poll_hear(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        let sent = self.poll_send(cx);
        let room = most.saturating_sub(self.arrived.len());
        // What waits in the kernel is the tunnel's own sooner or later: nothing is lost by a bound.
        let mut limited = (&mut *self.stream).take(u64::try_from(room).unwrap_or(u64::MAX));
        let heard = pin!(limited.read_buf(&mut self.arrived)).poll(cx);
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
