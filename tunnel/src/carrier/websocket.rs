//! Bytes in the messages of a WebSocket, for networks that let nothing else out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::{Sink as _, Stream as _};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use super::Io;

/// Of one message. Larger ones are refused: the other end never sends them.
const LONGEST: usize = 128 * 1024;

pub struct WebSocket<S> {
    inner: WebSocketStream<S>,
    left: Bytes,
}

impl<S: Io> WebSocket<S> {
    /// When both ends have agreed that this is one.
    pub async fn over(io: S, role: Role) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * LONGEST)
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        Self { inner: WebSocketStream::from_raw_socket(io, role, Some(config)).await, left: Bytes::new() }
    }
}

impl<S: Io> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.left.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.left = bytes,
                Some(Ok(Message::Text(_))) => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
                // Answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(told(error))),
            }
        }
        let count = self.left.len().min(to.remaining());
        to.put_slice(&self.left.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl<S: Io> AsyncWrite for WebSocket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(told)?;
        let piece = bytes.get(..LONGEST).unwrap_or(bytes);
        let message = Message::Binary(Bytes::copy_from_slice(piece));
        Pin::new(&mut self.inner).start_send(message).map_err(told)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(told)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(told)
    }
}

fn told(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_go_both_ways_and_the_end_arrives() {
        let (near, far) = tokio::io::duplex(4096);
        let mut near = WebSocket::over(near, Role::Client).await;
        let mut far = WebSocket::over(far, Role::Server).await;
        let sent = vec![7; 300_000];
        let talk = async {
            near.write_all(&sent).await.unwrap();
            near.flush().await.unwrap();
            near.shutdown().await
        };
        let listen = async {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            got
        };
        let (_closed, got) = tokio::join!(talk, listen);
        assert_eq!(got.len(), 300_000);
    }
}
