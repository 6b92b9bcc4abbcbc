//! A socket that is read in large pieces, whatever is asked for: TLS asks for 4 KiB at a time, which
//! makes five calls of the kernel for one record.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const BUFFER: usize = 64 * 1024;
/// Buffers that wait for the next connection that reads, per thread.
const SPARE: usize = 16;

thread_local! {
    static SPARES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Holds a buffer only while something is in it.
#[derive(Debug)]
pub struct Ahead<S> {
    inner: S,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
}

impl<S> Ahead<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, held: None }
    }

    pub fn get_ref(&self) -> &S {
        &self.inner
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.held.is_none() {
            if to.remaining() >= BUFFER {
                return Pin::new(&mut this.inner).poll_read(cx, to);
            }
            let mut buffer = take();
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut this.inner).poll_read(cx, &mut read);
            let end = read.filled().len();
            if end == 0 {
                give_back(buffer);
                return polled;
            }
            this.held = Some(Held { buffer, at: 0, end });
        }
        if let Some(held) = &mut this.held {
            let there = held.buffer.get(held.at..held.end).unwrap_or_default();
            let count = there.len().min(to.remaining());
            to.put_slice(there.get(..count).unwrap_or_default());
            held.at += count;
        }
        if let Some(empty) = this.held.take_if(|held| held.at == held.end) {
            give_back(empty.buffer);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}

fn take() -> Box<[u8]> {
    SPARES.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; BUFFER].into())
}

fn give_back(buffer: Box<[u8]>) {
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < SPARE {
            spares.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn everything_arrives_in_its_order_and_the_end_too() {
        let (mut far, near) = tokio::io::duplex(200_000);
        let sent: Vec<u8> = (0..150_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let mut near = Ahead::new(near);
        let (mut got, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            let count = near.read(&mut piece).await.unwrap();
            if count == 0 {
                break;
            }
            got.extend_from_slice(&piece[..count]);
        }
        assert!(got == sent && near.held.is_none());
    }
}
