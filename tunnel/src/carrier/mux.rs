//! Many streams on one connection, by yamux: for those for whom no lane is left. The gateway opens
//! streams, the client takes them.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::future::poll_fn;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use yamux::{Config, Connection, ConnectionError, Mode};

use super::counted::Counted;
use super::{Channel, Io};
use crate::wire::frame;

/// On one connection. What visitors do not read may wait here, 256 KiB for each of them at least.
pub const MOST_STREAMS: usize = 512;
const WINDOW: usize = 256 * 1024;
/// Streams of visitors who have just come.
const WAITING: usize = 64;
/// Small frames leave together: each one would be a record of TLS and a call of the kernel.
const GATHERED: usize = 64 * 1024;

/// The end that opens streams.
#[derive(Debug, Clone)]
pub struct Opener {
    wishes: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    open: Arc<AtomicUsize>,
}

fn config() -> Config {
    let mut config = Config::default();
    config.set_max_num_streams(MOST_STREAMS);
    // The greatest windows together: the streams' first ones, and half as much for those that grow.
    config.set_max_connection_receive_window(Some(MOST_STREAMS * WINDOW * 3 / 2));
    config
}

fn over(io: impl Io + 'static, mode: Mode) -> Connection<Compat<BufWriter<Box<dyn Io>>>> {
    let io: Box<dyn Io> = Box::new(io);
    Connection::new(BufWriter::with_capacity(GATHERED, io).compat(), config(), mode)
}

/// The gateway's end, and what drives it: it ends when the connection does.
pub fn opener(io: impl Io + 'static) -> (Opener, impl Future<Output = ConnectionError> + Send) {
    let (wishes, mut wished) = mpsc::channel(WAITING);
    let mut connection = over(io, Mode::Client);
    let mut waiting = VecDeque::<oneshot::Sender<yamux::Stream>>::new();
    let drive = poll_fn(move |cx| {
        while waiting.len() < WAITING {
            match wished.poll_recv(cx) {
                Poll::Ready(Some(wish)) => waiting.push_back(wish),
                // All openers are gone, but the streams of visitors may not be.
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        waiting.retain(|wish| !wish.is_closed());
        while !waiting.is_empty() {
            match connection.poll_new_outbound(cx) {
                Poll::Ready(Ok(stream)) => {
                    if let Some(wish) = waiting.pop_front() {
                        let _gave_up = wish.send(stream);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => break,
            }
        }
        loop {
            match connection.poll_next_inbound(cx) {
                // Clients open none: whoever does gets a reset, which dropping it is.
                Poll::Ready(Some(Ok(stream))) => drop(stream),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(error),
                Poll::Ready(None) => return Poll::Ready(ConnectionError::Closed),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    (Opener { wishes, open: Arc::default() }, drive)
}

/// The client's end: `take` is given each stream that the gateway opens.
pub async fn serve(io: impl Io + 'static, mut take: impl FnMut(Channel)) -> ConnectionError {
    let mut connection = over(io, Mode::Server);
    loop {
        match poll_fn(|cx| connection.poll_next_inbound(cx)).await {
            Some(Ok(stream)) => {
                let mut stream = stream.compat();
                // The other end opens only so many streams on which nothing was said yet, and a
                // target may be silent for hours. What is written to a new stream is queued at once.
                if stream.write_all(&frame::idle()).await.is_ok() {
                    take(Channel::once(stream));
                }
            }
            Some(Err(error)) => return error,
            None => return ConnectionError::Closed,
        }
    }
}

impl Opener {
    /// Streams that are open now.
    pub fn open_streams(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub fn is_gone(&self) -> bool {
        self.wishes.is_closed()
    }

    pub async fn open(&self) -> io::Result<Channel> {
        if self.open_streams() >= MOST_STREAMS {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let (wish, given) = oneshot::channel();
        self.wishes.send(wish).await.map_err(|_gone| io::ErrorKind::NotConnected)?;
        let stream = given.await.map_err(|_gone| io::ErrorKind::NotConnected)?.compat();
        Ok(Channel::once(Counted::new(stream, &self.open)))
    }
}
