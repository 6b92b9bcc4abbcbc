//! One stay of a client: its connections, and what is said on the first of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pgw_core::ids::{SessionId, TunnelClientId};
use pgw_core::redact::Secret;
use pgw_core::tunnel::{SessionStatus, TokenHash};
use tokio::io::ReadHalf;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::lanes::Lanes;
use crate::carrier::mux::Opener;
use crate::carrier::{Channel, Io, quic};
use crate::heartbeat::{Beat, Heartbeat};
use crate::wire::line;
use crate::wire::word::{ClientWord, GatewayWord};

/// Connections that carry many streams, of one client.
pub(super) const MOST_MUXES: usize = 4;
/// Words that wait for a client that does not read. One that is so far behind is gone.
const WAITING: usize = 1024;
/// For a word to be taken.
const TAKEN: Duration = Duration::from_secs(15);
const SWEEP: Duration = Duration::from_secs(5);

pub(super) struct Session {
    pub id: SessionId,
    pub client: TunnelClientId,
    pub name: String,
    pub address: SocketAddr,
    pub version: String,
    pub carrier: &'static str,
    pub secret: Secret,
    /// What it was let in with.
    pub token: TokenHash,
    pub lanes: Lanes,
    /// Cut when the session ends.
    pub over: CancellationToken,
    pub visitors: AtomicU32,
    pub carried: Carried,
    since: Instant,
    heard: Mutex<Instant>,
    rtt_ms: Mutex<Option<u32>>,
    muxes: Mutex<Vec<Opener>>,
    /// Carries all visitors, if it is what the session came by.
    quic: OnceLock<quinn::Connection>,
    /// One more connection is there.
    joined: Notify,
    words: mpsc::Sender<GatewayWord>,
    /// What was said last of each port.
    ports: Mutex<BTreeMap<u32, GatewayWord>>,
    reason: OnceLock<String>,
}

/// Who comes, as far as it is known when it is let in.
pub(super) struct Newcomer {
    pub client: TunnelClientId,
    pub name: String,
    pub address: SocketAddr,
    pub version: String,
    pub carrier: &'static str,
    pub secret: Secret,
    pub token: TokenHash,
}

/// What went over somebody's connections.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub bytes_in: Arc<AtomicU64>,
    pub bytes_out: Arc<AtomicU64>,
    pub connections: AtomicU64,
}

impl Session {
    pub(super) fn new(who: Newcomer) -> (Arc<Self>, mpsc::Receiver<GatewayWord>) {
        let (words, spoken) = mpsc::channel(WAITING);
        let Newcomer { client, name, address, version, carrier, secret, token } = who;
        let now = Instant::now();
        let session = Self {
            id: SessionId(uuid::Uuid::now_v7()),
            client,
            name,
            address,
            version,
            carrier,
            secret,
            token,
            lanes: Lanes::default(),
            over: CancellationToken::new(),
            visitors: AtomicU32::new(0),
            carried: Carried::default(),
            since: now,
            heard: Mutex::new(now),
            rtt_ms: Mutex::new(None),
            muxes: Mutex::default(),
            quic: OnceLock::new(),
            joined: Notify::new(),
            words,
            ports: Mutex::default(),
            reason: OnceLock::new(),
        };
        (Arc::new(session), spoken)
    }

    /// A way to the client for one visitor. In a session's first moments that is waited for.
    pub(super) async fn channel(&self) -> std::io::Result<Channel> {
        if let Some(connection) = self.quic.get() {
            return quic::channel(connection).await;
        }
        loop {
            let joined = self.joined.notified();
            if let Some(lane) = self.lanes.take() {
                return Ok(lane);
            }
            if let Some(mux) = self.least_mux() {
                return mux.open().await;
            }
            joined.await;
        }
    }

    pub(super) fn travels_on(&self, connection: quinn::Connection) {
        let _only_once = self.quic.set(connection);
    }

    fn least_mux(&self) -> Option<Opener> {
        let mut muxes = self.muxes.lock().unwrap_or_else(PoisonError::into_inner);
        muxes.retain(|mux| !mux.is_gone());
        muxes.iter().min_by_key(|mux| mux.open_streams()).cloned()
    }

    /// One more connection of its client. False: there are enough.
    pub(super) fn add_lane(&self, io: impl Io + 'static) -> bool {
        let added = self.lanes.add(io);
        // It may have ended just now, after its lanes were let go of.
        if self.over.is_cancelled() {
            self.lanes.close();
        }
        self.joined.notify_waiters();
        added
    }

    /// False: there are enough.
    pub(super) fn add_mux(&self, mux: Opener) -> bool {
        let mut muxes = self.muxes.lock().unwrap_or_else(PoisonError::into_inner);
        muxes.retain(|mux| !mux.is_gone());
        let room = muxes.len() < MOST_MUXES;
        if room {
            muxes.push(mux);
        }
        drop(muxes);
        self.joined.notify_waiters();
        room
    }

    pub(super) fn say(&self, word: GatewayWord) {
        if self.words.try_send(word).is_err() {
            self.end("it does not read what it is told");
        }
    }

    /// Says what became of a port, if it is another thing than the last time.
    pub(super) fn learns(&self, index: u32, word: GatewayWord) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        if ports.insert(index, word.clone()).as_ref() != Some(&word) {
            drop(ports);
            self.say(word);
        }
    }

    /// The first reason counts.
    pub(super) fn end(&self, reason: &str) {
        let _first_counts = self.reason.set(reason.to_owned());
        self.over.cancel();
        self.lanes.close();
        if let Some(connection) = self.quic.get() {
            connection.close(0_u8.into(), b"over");
        }
    }

    pub(super) fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the connection broke".to_owned())
    }

    pub(super) fn status(&self) -> SessionStatus {
        let ms = |since: Instant| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        SessionStatus {
            id: self.id,
            address: self.address,
            version: self.version.clone(),
            carrier: self.carrier.to_owned(),
            age_ms: ms(self.since),
            heard_ms: ms(*self.heard.lock().unwrap_or_else(PoisonError::into_inner)),
            rtt_ms: *self.rtt_ms.lock().unwrap_or_else(PoisonError::into_inner),
            lanes: u32::try_from(self.lanes.count()).unwrap_or(u32::MAX),
            bytes_in: self.carried.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.carried.bytes_out.load(Ordering::Relaxed),
            connections: self.carried.connections.load(Ordering::Relaxed),
        }
    }

    /// Talks until the session is over. `closes` is told of ports that the client wants closed; true
    /// comes back if the client took its leave.
    pub(super) async fn talk(
        self: &Arc<Self>,
        io: impl Io + 'static,
        mut spoken: mpsc::Receiver<GatewayWord>,
        mut closes: impl FnMut(u32),
    ) -> bool {
        let (from, mut to) = tokio::io::split(io);
        let (heard, mut hears) = mpsc::channel(16);
        let listener = tokio::spawn(listen(from, heard));
        let mut heart = Heartbeat::new(Instant::now());
        let mut sweep = tokio::time::interval(SWEEP);
        let left = loop {
            let next = match heart.due(Instant::now()) {
                Beat::Dead => {
                    self.end("nothing was heard from it for 45 s");
                    break false;
                }
                // The client asks; here it is only heard.
                Beat::Speak => {
                    heart.speaks(Instant::now());
                    continue;
                }
                Beat::Wait(next) => next,
            };
            let word = tokio::select! {
                biased;
                // What is still to be said is said first: why it ends.
                word = spoken.recv() => word,
                () = self.over.cancelled() => break false,
                word = hears.recv() => match word {
                    None => {
                        self.end("the connection broke");
                        break false;
                    }
                    Some(word) => {
                        heart.hears(Instant::now());
                        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = heart.heard();
                        match word {
                            ClientWord::Ping { number, rtt_ms } => {
                                *self.rtt_ms.lock().unwrap_or_else(PoisonError::into_inner) = rtt_ms;
                                Some(GatewayWord::Pong { number })
                            }
                            ClientWord::Close { index } => {
                                closes(index);
                                None
                            }
                            ClientWord::Bye => {
                                self.end("it took its leave");
                                break true;
                            }
                        }
                    }
                },
                _tick = sweep.tick() => {
                    self.lanes.sweep();
                    None
                }
                () = sleep_until(next) => None,
            };
            if let Some(word) = word
                && !matches!(timeout(TAKEN, line::write(&mut to, &word)).await, Ok(Ok(())))
            {
                self.end("it does not take what it is told");
                break false;
            }
        };
        listener.abort();
        left
    }
}

/// Documents one by one, until there is none or one is not understood.
async fn listen(mut from: ReadHalf<impl Io>, heard: mpsc::Sender<ClientWord>) {
    while let Ok(word) = line::read::<ClientWord>(&mut from).await {
        if heard.send(word).await.is_err() {
            return;
        }
    }
}

/// One visitor of a session, for as long as it is there.
pub(super) struct Guest(Arc<Session>);

impl Guest {
    pub(super) fn of(session: &Arc<Session>, most: u32) -> Option<Self> {
        let before = session.visitors.fetch_add(1, Ordering::Relaxed);
        let guest = Self(session.clone());
        if before >= most {
            return None;
        }
        session.carried.connections.fetch_add(1, Ordering::Relaxed);
        Some(guest)
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.0
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.visitors.fetch_sub(1, Ordering::Relaxed);
    }
}
