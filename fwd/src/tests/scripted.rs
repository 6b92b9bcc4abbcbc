//! Proxies that keep count: of their connections, of how often they had to wait for the
//! client's next words, and of what they passed on.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;

/// How a proxy reads what comes behind the message that it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Every byte has its meaning.
    All,
    /// One packet is one message, whatever else is in it.
    Packets,
    /// As `All` up to the request; what came with it is forgotten.
    NothingBehindTheRequest,
    /// As `All`, but of what came with the request the first bytes are forgotten.
    BehindTheRequestInPart,
    /// Hangs up on whoever says more than was asked.
    HangsUpOnMore,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    Carries,
    Refuses,
}

pub(super) struct Scripted {
    pub(super) at: FlagUpstream,
    pub(super) seen: Arc<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) open: watch::Sender<usize>,
    /// Of each tunnel: the client's words that were awaited for it, and what was passed on.
    pub(super) tunnels: Mutex<Vec<(usize, Vec<u8>)>>,
    /// Of each tunnel: by the how manieth connection it came, and how often words were awaited
    /// before its request was.
    carriers: Mutex<Vec<(usize, usize)>>,
    /// When it changes, all connections without a request are closed.
    pub(super) closing: watch::Sender<usize>,
    /// Connections up to this one are hung up on when they are asked for something.
    pub(super) hangs_up: AtomicUsize,
    /// Connections up to this one never say anything more, as if somebody had pulled the cable.
    pub(super) silent: AtomicUsize,
    /// How the next connections are read.
    pub(super) reads: Mutex<Option<Reads>>,
}

pub(super) const SERVER_HELLO: &[u8] = b"\x16\x03\x03\x00\x0a\x02\x00\x00\x06server";
const ALERT: &[u8] = b"\x15\x03\x03\x00\x02\x02\x32";

impl Scripted {
    pub(super) async fn new(scheme: Scheme, login: bool, reads: Reads, does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut at = upstream("de1", listener.local_addr().unwrap());
        at.upstream.scheme = scheme;
        at.upstream.credentials = login.then(|| pgw_core::proxy::Credentials::new("bob", "p:a").unwrap());
        let seen = Arc::new(Seen::default());
        *seen.reads.lock().unwrap() = Some(reads);
        let shared = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
                let seen = shared.clone();
                seen.open.send_modify(|open| *open += 1);
                let reads = seen.reads.lock().unwrap().unwrap_or(Reads::All);
                tokio::spawn(async move {
                    let conn = Connection { stream, reads, unread: Vec::new(), awaited: 0, spoke: true };
                    // Whoever hangs up on it has his reasons.
                    let _ended = conn.serve(scheme, login, does, number, &seen).await;
                    seen.open.send_modify(|open| *open -= 1);
                });
            }
        });
        Self { at, seen }
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn tunnels(&self) -> Vec<(usize, Vec<u8>)> {
        self.seen.tunnels.lock().unwrap().clone()
    }

    /// How often the client's next words were awaited for each tunnel.
    pub(super) fn awaited(&self) -> Vec<usize> {
        self.tunnels().iter().map(|(awaited, _)| *awaited).collect()
    }

    pub(super) fn carriers(&self) -> Vec<usize> {
        self.seen.carriers.lock().unwrap().iter().map(|(number, _)| *number).collect()
    }

    /// As `awaited`, from the request on.
    pub(super) fn awaited_when_ready(&self) -> Vec<usize> {
        let before = self.seen.carriers.lock().unwrap().clone();
        self.awaited().iter().zip(before).map(|(awaited, (_, before))| awaited - before).collect()
    }

    pub(super) async fn opens(&self, count: usize) {
        self.seen.open.subscribe().wait_for(|open| *open == count).await.unwrap();
    }
}

struct Connection {
    stream: TcpStream,
    reads: Reads,
    unread: Vec<u8>,
    awaited: usize,
    /// It has said something since it last heard something.
    spoke: bool,
}

impl Connection {
    async fn more(&mut self) -> io::Result<()> {
        if self.spoke {
            self.awaited += 1;
            self.spoke = false;
        }
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// As if it were far away: what is said without waiting for these words comes before them.
    async fn say(&mut self, words: &[u8]) -> io::Result<()> {
        for _turn in 0..200 {
            tokio::task::yield_now().await;
        }
        let _nothing_yet = self.stream.try_read_buf(&mut self.unread);
        self.spoke = true;
        self.stream.write_all(words).await
    }

    /// The next message, of which `length` says how long it is once enough of it is there.
    async fn message(&mut self, length: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = length(&self.unread).filter(|length| *length <= self.unread.len()) {
                let message = self.unread.drain(..length).collect();
                match self.reads {
                    Reads::Packets => self.unread.clear(),
                    Reads::HangsUpOnMore if !self.unread.is_empty() => {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                    _ => {}
                }
                return Ok(message);
            }
            self.more().await?;
        }
    }

    async fn serve(
        mut self,
        scheme: Scheme,
        login: bool,
        does: Does,
        number: usize,
        seen: &Seen,
    ) -> io::Result<()> {
        if scheme == Scheme::Socks5 {
            let greeting = self.message(|bytes| bytes.get(1).map(|count| 2 + usize::from(*count))).await?;
            let method = if login { 2 } else { 0 };
            assert!(greeting[2..].contains(&method), "{greeting:?}");
            self.say(&[5, method]).await?;
            if login {
                let words = self.message(|_| Some(9)).await?;
                assert_eq!(words, b"\x01\x03bob\x03p:a");
                self.say(&[1, 0]).await?;
            }
        }
        let before = self.awaited;
        let mut closing = seen.closing.subscribe();
        let request = tokio::select! {
            request = self.message(|bytes| match scheme {
                Scheme::Socks5 => Some(10),
                Scheme::Http | Scheme::Https => bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4),
            }) => request?,
            _told = closing.changed() => return Ok(()),
        };
        assert!(request.starts_with(if scheme == Scheme::Socks5 { b"\x05\x01\x00\x01" } else { b"CONN" }));
        match self.reads {
            Reads::All | Reads::Packets | Reads::HangsUpOnMore => {}
            Reads::NothingBehindTheRequest => self.unread.clear(),
            Reads::BehindTheRequestInPart => drop(self.unread.drain(..self.unread.len().min(7))),
        }
        if number <= seen.silent.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        match does {
            Does::Carries if number <= seen.hangs_up.load(Ordering::SeqCst) => return Ok(()),
            Does::Carries => {}
            Does::Refuses => {
                let no: &[u8] = if scheme == Scheme::Socks5 {
                    b"\x05\x05\x00\x01\0\0\0\0\0\0"
                } else {
                    b"HTTP/1.1 502 No\r\n\r\n"
                };
                return self.say(no).await;
            }
        }
        let place = {
            let mut tunnels = seen.tunnels.lock().unwrap();
            tunnels.push((0, Vec::new()));
            seen.carriers.lock().unwrap().push((number, before));
            tunnels.len() - 1
        };
        let yes: &[u8] = if scheme == Scheme::Socks5 {
            b"\x05\x00\x00\x01\0\0\0\0\0\0"
        } else {
            b"HTTP/1.1 200 OK\r\n\r\n"
        };
        self.say(yes).await?;
        self.carry(place, seen).await
    }

    /// Is the destination as well: a TLS server for whoever comes with a hello, else an echo.
    async fn carry(mut self, place: usize, seen: &Seen) -> io::Result<()> {
        let mut answered = false;
        loop {
            while self.unread.is_empty() {
                self.more().await?;
            }
            let words = std::mem::take(&mut self.unread);
            let all = {
                let mut tunnels = seen.tunnels.lock().unwrap();
                let (awaited, passed_on) = &mut tunnels[place];
                if passed_on.is_empty() {
                    *awaited = self.awaited;
                }
                passed_on.extend(&words);
                passed_on.clone()
            };
            match all.first() {
                _ if answered => self.say(&words).await?,
                Some(22) if pgw_core::handshake::hello::client_hello(&all).is_some() => {
                    answered = true;
                    self.say(SERVER_HELLO).await?;
                }
                Some(22) => {}
                Some(byte) if byte.is_ascii_uppercase() => {
                    answered = true;
                    self.say(&words).await?;
                }
                Some(_) | None => return self.say(ALERT).await,
            }
        }
    }
}
