//! The internet: whatever is asked, the answer tells from which address it was asked.
//!
//! | where | what |
//! |---|---|
//! | http :80, https :443 | `/` and `/probe`: the caller's address; `/down?bytes=n`; POST `/up`: count and checksum |
//! | tcp on other ports | greets with the caller's address |
//! | tcp 53 | a resolver: every name has the caller's address |
//! | udp 53, 443, 9999 | answers with the caller's address |
//! | udp 5004 | goes on sending to whoever said a word |
//! | `GREETER` :80, :443 | greets at once, then echoes |
//! | `LISTENER` :80, :443 | reads to the end, then answers with count and checksum |

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::net::{GREETER, LISTENER, ORIGIN, ORIGIN6};
use crate::pki::Authority;
use crate::{names, netns};

pub const TCP_PORTS: [u16; 6] = [22, 25, 853, 5228, 8080, 8443];
pub const UDP_PORTS: [u16; 3] = [53, 443, 9999];
pub const STREAM_PORT: u16 = 5004;
const STREAM_FOR: Duration = Duration::from_secs(60);
const STREAM_EVERY: Duration = Duration::from_millis(5);
const LONGEST_HEAD: usize = 16 * 1024;

/// What a body is made of, and how two of them are compared: a sum that notices a lost, doubled
/// or displaced byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub bytes: u64,
    pub sum: u64,
}

impl Tally {
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes += 1;
            self.sum = (self.sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).wrapping_add(self.bytes);
        }
    }

    pub fn of_pattern(length: u64) -> Self {
        let mut tally = Self::default();
        tally.add(&pattern(0, length));
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:016x}", self.bytes, self.sum)
    }
}

/// Bytes that differ from place to place.
pub fn pattern(from: u64, length: u64) -> Vec<u8> {
    (from..from + length).map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect()
}

/// Listens everywhere; when this returns, everything answers.
pub fn start(authority: &Authority) -> Result<()> {
    let issued = authority.issue(&["origin", "*.origin.example", "203.0.113.10", "198.51.100.1"])?;
    let chain = CertificateDer::pem_slice_iter(issued.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    let tls = TlsAcceptor::from(Arc::new(config));
    for port in [80, 443].into_iter().chain(TCP_PORTS) {
        for any in ["0.0.0.0", "::"] {
            let listener = listen(any.parse()?, port)?;
            tokio::spawn(accept(listener, port, tls.clone()));
        }
    }
    tokio::spawn(names::resolve(listen(ORIGIN.into(), names::PORT)?));
    for port in UDP_PORTS {
        for own in [IpAddr::from(ORIGIN), IpAddr::from(ORIGIN6), "198.51.100.1".parse()?] {
            tokio::spawn(answer_datagrams(datagrams(own, port)?));
        }
    }
    tokio::spawn(stream_datagrams(datagrams(ORIGIN.into(), STREAM_PORT)?));
    Ok(())
}

fn datagrams(own: IpAddr, port: u16) -> Result<UdpSocket> {
    let socket = netns::inside("origin", || {
        let socket = std::net::UdpSocket::bind((own, port)).with_context(|| format!("udp {own} {port}"))?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    })?;
    Ok(UdpSocket::from_std(socket)?)
}

fn listen(ip: IpAddr, port: u16) -> Result<TcpListener> {
    netns::inside("origin", || {
        let socket =
            if ip.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        if ip.is_ipv6() {
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        }
        socket.bind((ip, port).into()).with_context(|| format!("tcp {ip} {port}"))?;
        Ok(socket)
    })?
    .listen(1024)
    .context("listening")
}

async fn accept(listener: TcpListener, port: u16, tls: TlsAcceptor) {
    while let Ok((stream, peer)) = listener.accept().await {
        let tls = tls.clone();
        // A visitor who goes away in the middle is no news.
        tokio::spawn(async move { serve(stream, peer, port, tls).await.ok() });
    }
}

async fn serve(mut stream: TcpStream, peer: SocketAddr, port: u16, tls: TlsAcceptor) -> Result<()> {
    let asked = stream.local_addr()?.ip();
    if asked == GREETER || TCP_PORTS.contains(&port) {
        stream.write_all(format!("hello {}\r\n", peer.ip()).as_bytes()).await?;
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await?;
    } else if asked == LISTENER {
        let tally = read_tally(&mut stream, u64::MAX, &[]).await?;
        stream.write_all(format!("{} {tally}\n", peer.ip()).as_bytes()).await?;
        stream.shutdown().await?;
    } else if port == 443 {
        http(tls.accept(stream).await?, peer.ip()).await?;
    } else {
        http(stream, peer.ip()).await?;
    }
    Ok(())
}

async fn answer_datagrams(socket: UdpSocket) {
    let mut buffer = [0; 2048];
    while let Ok((_length, peer)) = socket.recv_from(&mut buffer).await {
        let _unreachable = socket.send_to(peer.ip().to_string().as_bytes(), peer).await;
    }
}

async fn stream_datagrams(socket: UdpSocket) {
    let socket = Arc::new(socket);
    let mut buffer = [0; 2048];
    loop {
        // A complaint about somebody who is gone is not about the next.
        let Ok((_length, peer)) = socket.recv_from(&mut buffer).await else { continue };
        let socket = socket.clone();
        tokio::spawn(async move {
            let end = Instant::now() + STREAM_FOR;
            while Instant::now() < end {
                let _unreachable = socket.send_to(b"and on", peer).await;
                tokio::time::sleep(STREAM_EVERY).await;
            }
        });
    }
}

/// One request on a connection, and the connection's end says where the body ends.
async fn http(mut stream: impl AsyncRead + AsyncWrite + Unpin, peer: IpAddr) -> Result<()> {
    let mut head = Vec::new();
    let (request, rest) = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            break (String::from_utf8_lossy(&head).into_owned(), rest);
        }
        anyhow::ensure!(head.len() < LONGEST_HEAD, "a head without end");
        anyhow::ensure!(stream.read_buf(&mut head).await? > 0, "left before the end of the head");
    };
    let target = request.split(' ').nth(1).unwrap_or("/");
    let length = request
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let said = match target.split_once("?bytes=") {
        Some((_, bytes)) => return send_pattern(stream, bytes.parse()?).await,
        None if target == "/up" => {
            if request.contains("100-continue") {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            let tally = read_tally(&mut stream, length, &rest).await?;
            format!("{tally}\n")
        }
        None => format!("{peer}\n"),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", said.len());
    stream.write_all((head + &said).as_bytes()).await?;
    stream.shutdown().await?;
    Ok(())
}

async fn send_pattern(mut stream: impl AsyncWrite + Unpin, bytes: u64) -> Result<()> {
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n").as_bytes()).await?;
    let mut at = 0;
    while at < bytes {
        let piece = (bytes - at).min(64 * 1024);
        stream.write_all(&pattern(at, piece)).await?;
        at += piece;
    }
    stream.shutdown().await?;
    Ok(())
}

async fn read_tally(stream: &mut (impl AsyncRead + Unpin), length: u64, first: &[u8]) -> Result<Tally> {
    let mut tally = Tally::default();
    tally.add(first);
    let mut buffer = vec![0; 64 * 1024];
    while tally.bytes < length {
        match stream.read(&mut buffer).await? {
            0 => break,
            count => tally.add(buffer.get(..count).unwrap_or_default()),
        }
    }
    Ok(tally)
}
