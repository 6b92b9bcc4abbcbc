//! Names: a resolver of the internet that answers every question with the address of whoever
//! asked, and a device that asks. Written without the library that the forwarder uses, so that
//! a mistake of it cannot agree with itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use crate::canary;

pub const PORT: u16 = 53;
const HEADER: usize = 12;
const ID: [u8; 2] = [0x70, 0x67];

/// Serves on a listener; only by TCP, as a forwarder asks it.
pub async fn resolve(listener: TcpListener) {
    while let Ok((stream, peer)) = listener.accept().await {
        // A forwarder that goes away in the middle is no news.
        let (read, write) = stream.into_split();
        tokio::spawn(async move { answer_all(read, write, peer.ip()).await.ok() });
    }
}

pub(crate) async fn answer_all(
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    peer: IpAddr,
) -> Result<()> {
    let IpAddr::V4(peer) = peer else { bail!("asked by IPv6") };
    loop {
        let question = read_message(&mut read).await?;
        write_message(&mut write, &answer(&question, peer)?).await?;
    }
}

/// What came back for a question, or none if nothing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Address(Ipv4Addr),
    /// The response code: 2 is SERVFAIL.
    Code(u8),
}

/// A device asks a resolver for the address of a name.
pub async fn ask_udp(ns: &str, resolver: Ipv4Addr, name: &str, patience: Duration) -> Result<Option<Answer>> {
    ask_by(&canary::datagrams(ns, SocketAddr::from((resolver, PORT))).await?, name, patience).await
}

/// The same, from a port that is kept.
pub async fn ask_by(socket: &UdpSocket, name: &str, patience: Duration) -> Result<Option<Answer>> {
    let reply = canary::ask_by(socket, &question(name), patience).await?;
    reply.map(|reply| read_answer(&reply)).transpose()
}

pub async fn ask_tcp(ns: &str, resolver: Ipv4Addr, name: &str, patience: Duration) -> Result<Answer> {
    let mut stream = canary::connect(ns, SocketAddr::from((resolver, PORT)), patience).await?;
    let talk = async {
        write_message(&mut stream, &question(name)).await?;
        read_message(&mut stream).await
    };
    read_answer(&tokio::time::timeout(patience, talk).await.context("no answer by tcp")??)
}

/// One question for an A record, recursion desired.
pub(crate) fn question(name: &str) -> Vec<u8> {
    let mut message = [&ID[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        message.extend(u8::try_from(label.len()));
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// The question again, and the address of whoever asked it as its answer.
fn answer(question: &[u8], peer: Ipv4Addr) -> Result<Vec<u8>> {
    let labels = question.get(HEADER..).context("no header")?;
    let end = HEADER + labels.iter().position(|byte| *byte == 0).context("no name")? + 5;
    let asked = question.get(HEADER..end).context("no question")?;
    let id = question.get(..2).context("no id")?;
    let head = [id, &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
    let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4], &peer.octets()[..]].concat();
    Ok([&head, asked, &record].concat())
}

pub(crate) fn read_answer(reply: &[u8]) -> Result<Answer> {
    let [a, b, _flags, code, _, _, _, answers, ..] = reply else { bail!("not a message: {reply:?}") };
    ensure!([*a, *b] == ID, "an answer to another question");
    if *answers == 0 {
        return Ok(Answer::Code(code & 15));
    }
    // The question had no additional section, so the record, and its address, come last.
    let octets: [u8; 4] = reply.last_chunk().copied().context("no record")?;
    Ok(Answer::Address(octets.into()))
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut (impl AsyncWrite + Unpin), message: &[u8]) -> Result<()> {
    stream.write_all(&[&u16::try_from(message.len())?.to_be_bytes(), message].concat()).await?;
    Ok(())
}
