//! Bulk, at the least cost for whoever sends it and for whoever receives it: the ends share a
//! core, and must not be what is measured.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::Result;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create, sendfile};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

const PIECE: usize = 1 << 20;
/// What the receiver throws away with one call.
const GULP: usize = 4 << 20;

/// What is sent: zeros, in memory.
pub(crate) struct Store {
    file: OwnedFd,
    bytes: Vec<u8>,
}

impl Store {
    pub(crate) fn new() -> Result<Self> {
        let file = memfd_create("bulk", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, u64::try_from(PIECE)?)?;
        Ok(Self { file, bytes: vec![0; 256 * 1024] })
    }
}

/// Sends so many bytes.
pub(crate) trait Pour: AsyncRead + AsyncWrite + Unpin {
    async fn pour(&mut self, store: &Store, bytes: u64) -> Result<()>;
}

impl Pour for TcpStream {
    async fn pour(&mut self, store: &Store, bytes: u64) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let sent = self
                .async_io(Interest::WRITABLE, || Ok(sendfile(&*self, &store.file, Some(&mut 0), piece)?))
                .await?;
            left = left.saturating_sub(u64::try_from(sent)?);
        }
        Ok(())
    }
}

impl Pour for TlsStream<TcpStream> {
    async fn pour(&mut self, store: &Store, bytes: u64) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(store.bytes.len());
            let sent = self.write(store.bytes.get(..piece).unwrap_or_default()).await?;
            left = left.saturating_sub(u64::try_from(sent)?);
        }
        Ok(self.flush().await?)
    }
}

/// Receives and throws away, without a copy; gives how much, 0 at the end.
pub(crate) struct Drain(Vec<u8>);

impl Drain {
    pub(crate) fn new() -> Self {
        Self(vec![0; GULP])
    }

    pub(crate) async fn some(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let Self(never_written) = self;
        stream
            .async_io(Interest::READABLE, || {
                let (_, length) = recv(stream, &mut never_written[..], RecvFlags::TRUNC)?;
                Ok(length)
            })
            .await
    }
}
