//! The far end: upstream and origin in one process, so that no second hop hides the forwarder.
//! What an upstream is asked to reach is itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;

use super::hello::{Order, Then};
use crate::names;

/// Its port as an origin, as each kind of upstream, and as an origin behind TLS.
pub(crate) const ORIGIN: u16 = 443;
pub(crate) const CONNECT: u16 = 3128;
pub(crate) const SOCKS: u16 = 1080;
pub(crate) const TLS_CONNECT: u16 = 8443;
pub(crate) const TLS_ORIGIN: u16 = 8444;
pub(crate) const PORTS: [u16; 5] = [ORIGIN, CONNECT, SOCKS, TLS_CONNECT, TLS_ORIGIN];

const BACKLOG: u32 = 32 * 1024;
const LONGEST_HEAD: usize = 16 * 1024;
const PIECE: usize = 256 * 1024;
/// So often it is told how much has come.
const COUNTED: Duration = Duration::from_millis(20);

struct Far {
    tls: TlsAcceptor,
    /// What is sent.
    answer: Vec<u8>,
}

/// A stream, and what was read and not understood yet.
struct Talk<S> {
    stream: S,
    heard: Vec<u8>,
}

/// Serves until it is killed. The certificate and its key are in one file.
pub(crate) fn run(pem: &str) -> Result<()> {
    let pem = std::fs::read(pem).with_context(|| pem.to_owned())?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&pem)?)?;
    let far = Rc::new(Far { tls: TlsAcceptor::from(Arc::new(config)), answer: answer() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let accepting = PORTS.map(|port| accept(far.clone(), port));
        let accepting = futures_util::future::try_join_all(accepting);
        futures_util::future::try_join(accepting, echo_datagrams()).await.map(drop)
    })
}

/// On the origin's port.
async fn echo_datagrams() -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ORIGIN)).await?;
    let mut room = vec![0; 65_535];
    loop {
        // A sender who is gone is heard of by an error.
        let Ok((length, from)) = socket.recv_from(&mut room).await else { continue };
        let _gone = socket.send_to(room.get(..length).unwrap_or_default(), from).await;
    }
}

async fn accept(far: Rc<Far>, port: u16) -> Result<()> {
    let listener = listen(port).with_context(|| format!("port {port}"))?;
    loop {
        let (stream, peer) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A visitor who goes away in the middle is no news: he measures what he missed.
        spawn_local({
            let far = far.clone();
            async move { far.serve(stream, peer, port).await.ok() }
        });
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
    socket.listen(BACKLOG)
}

impl Far {
    async fn serve(&self, stream: TcpStream, peer: SocketAddr, port: u16) -> Result<()> {
        match port {
            SOCKS => self.socks(Talk { stream, heard: Vec::new() }, peer.ip()).await,
            CONNECT => self.connect(Talk { stream, heard: Vec::new() }, peer.ip()).await,
            TLS_CONNECT => {
                let stream = self.tls.accept(stream).await?;
                self.connect(Talk { stream, heard: Vec::new() }, peer.ip()).await
            }
            TLS_ORIGIN => {
                let stream = self.tls.accept(stream).await?;
                self.origin(Talk { stream, heard: Vec::new() }).await
            }
            _origin => self.origin(Talk { stream, heard: Vec::new() }).await,
        }
    }

    async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut talk: Talk<S>,
        peer: IpAddr,
    ) -> Result<()> {
        let asked = talk
            .take(|heard| {
                let end = heard.windows(4).position(|four| four == b"\r\n\r\n");
                Ok(end.and_then(|end| Some((heard.get(..end)?.to_vec(), end + 4))))
            })
            .await?;
        ensure!(asked.starts_with(b"CONNECT "), "not a CONNECT");
        talk.say(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        let line = asked.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let names = line.windows(4).any(|four| four == b":53 ");
        self.reach(talk, names, peer).await
    }

    /// Version 4 or 5, as it is asked.
    async fn socks<S: AsyncRead + AsyncWrite + Unpin>(&self, mut talk: Talk<S>, peer: IpAddr) -> Result<()> {
        let version = talk.take(|heard| Ok(heard.first().map(|version| (*version, 0)))).await?;
        if version == 4 {
            talk.take(|heard| Ok(heard.iter().skip(8).position(|byte| *byte == 0).map(|at| ((), at + 9))))
                .await?;
            talk.say(&[0, 0x5a, 0, 0, 0, 0, 0, 0]).await?;
            return self.origin(talk).await;
        }
        talk.take(|heard| {
            let [_version, methods, ..] = heard else { return Ok(None) };
            let length = 2 + usize::from(*methods);
            Ok((heard.len() >= length).then_some(((), length)))
        })
        .await?;
        talk.say(&[5, 0]).await?;
        let port = talk
            .take(|heard| {
                let [_, _, _, kind, first, ..] = heard else { return Ok(None) };
                let address = match kind {
                    1 => 4,
                    3 => 1 + usize::from(*first),
                    _ => 16,
                };
                let port = heard.get(4 + address..).and_then(|port| port.first_chunk());
                Ok(port.map(|port| (u16::from_be_bytes(*port), 4 + address + 2)))
            })
            .await?;
        talk.say(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
        self.reach(talk, port == names::PORT, peer).await
    }

    async fn reach<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        talk: Talk<S>,
        names: bool,
        peer: IpAddr,
    ) -> Result<()> {
        if !names {
            return self.origin(talk).await;
        }
        let (read, mut write) = tokio::io::split(talk.stream);
        names::answer_all(io::Cursor::new(talk.heard).chain(read), &mut write, peer).await
    }

    async fn origin<S: AsyncRead + AsyncWrite + Unpin>(&self, mut talk: Talk<S>) -> Result<()> {
        let order = talk.take(Order::read).await?;
        let mut left = order.bytes;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let sent = talk.stream.write(self.answer.get(..piece).unwrap_or_default()).await?;
            left = left.saturating_sub(u64::try_from(sent)?);
        }
        talk.stream.flush().await?;
        match order.then {
            Then::End => {}
            Then::Wait => while talk.stream.read(&mut [0; 64]).await? > 0 {},
            Then::Echo => talk.echo().await?,
            Then::Count => talk.count().await?,
        }
        talk.stream.shutdown().await?;
        Ok(())
    }
}

/// What a piece of every answer is: zeros that begin as a TLS server's hello does, for the device
/// said one. Forwarders that send it ahead learn from this that it was heard.
fn answer() -> Vec<u8> {
    let mut piece = vec![0x16, 3, 3, 0x40, 0, 2];
    piece.resize(PIECE, 0);
    piece
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Reads until there is something to be understood; what comes behind it is kept.
    async fn take<T>(&mut self, read: impl Fn(&[u8]) -> Result<Option<(T, usize)>>) -> Result<T> {
        loop {
            if let Some((meaning, length)) = read(&self.heard)? {
                self.heard.drain(..length.min(self.heard.len()));
                return Ok(meaning);
            }
            ensure!(self.heard.len() < LONGEST_HEAD, "a head without end");
            ensure!(self.stream.read_buf(&mut self.heard).await? > 0, "left in the middle");
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn echo(&mut self) -> Result<()> {
        self.heard.reserve(16 * 1024);
        loop {
            let heard = std::mem::take(&mut self.heard);
            self.say(&heard).await?;
            self.heard = heard;
            self.heard.clear();
            if self.stream.read_buf(&mut self.heard).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn count(&mut self) -> Result<()> {
        let mut count = u64::try_from(self.heard.len())?;
        let mut room = vec![0; PIECE];
        let mut due = tokio::time::interval(COUNTED);
        loop {
            let heard = tokio::select! {
                heard = self.stream.read(&mut room) => heard?,
                _tick = due.tick() => {
                    self.say(&count.to_be_bytes()).await?;
                    continue;
                }
            };
            if heard == 0 {
                return Ok(());
            }
            count += u64::try_from(heard)?;
        }
    }
}
