//! What is known of the connections: the counters, and one guard for each connection, which
//! writes its one log line when it goes, however it goes.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use pgw_core::control::FwdStatus;
use pgw_core::flag::FlagFile;
use pgw_core::redact::{SniLog, name_for_log};

/// Who, or what, ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Upstream,
    /// Nothing moved for the idle timeout.
    Idle,
    /// The forwarder stopped.
    Drain,
    /// The operator took the upstream away.
    Removed,
    /// Never served: not this client, not redirected, or one too many.
    Refused,
    /// No upstream gave a tunnel.
    NoUpstream,
    /// The gateway's own fault.
    Error,
}

/// The counters of a forwarder.
#[derive(Debug, Default)]
pub(crate) struct Live {
    open: AtomicU32,
    accepted: AtomicU64,
    refused: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    draining: AtomicBool,
    pub(crate) dns: Questions,
}

/// The client's DNS questions since the start.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    pub(crate) questions: AtomicU64,
    pub(crate) from_cache: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// One connection's bytes, counted here and in the forwarder's sum.
#[derive(Debug)]
pub(crate) struct Traffic {
    live: Arc<Live>,
    up: AtomicU64,
    down: AtomicU64,
}

/// One connection, from the moment it is accepted.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) flag: Arc<FlagFile>,
    pub(crate) peer: SocketAddr,
    pub(crate) traffic: Traffic,
    pub(crate) destination: Option<SocketAddrV4>,
    /// The upstream that carries it.
    pub(crate) upstream: Option<String>,
    pub(crate) name: Option<String>,
    /// What went wrong before, or why there is nothing to tell.
    pub(crate) reason: Vec<String>,
    pub(crate) end: End,
    started: Instant,
}

impl Live {
    pub(crate) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// From now on only what is open goes on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn status(&self, flag: &FlagFile) -> FwdStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        FwdStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            port: flag.port,
            revision: flag.revision,
            draining: self.draining.load(Ordering::Relaxed),
            connections: self.open(),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            bytes_up: read(&self.bytes_up),
            bytes_down: read(&self.bytes_down),
            dns_questions: read(&self.dns.questions),
            dns_from_cache: read(&self.dns.from_cache),
            dns_failed: read(&self.dns.failed),
        }
    }
}

impl Traffic {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        Self { live, up: AtomicU64::new(0), down: AtomicU64::new(0) }
    }

    pub(crate) fn up(&self, count: usize) {
        add(&self.up, &self.live.bytes_up, count);
    }

    pub(crate) fn down(&self, count: usize) {
        add(&self.down, &self.live.bytes_down, count);
    }
}

fn add(one: &AtomicU64, all: &AtomicU64, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    one.fetch_add(count, Ordering::Relaxed);
    all.fetch_add(count, Ordering::Relaxed);
}

impl Conn {
    pub(crate) fn new(live: Arc<Live>, flag: Arc<FlagFile>, peer: SocketAddr) -> Self {
        live.open.fetch_add(1, Ordering::Relaxed);
        live.accepted.fetch_add(1, Ordering::Relaxed);
        Self {
            flag,
            peer,
            traffic: Traffic::new(live),
            destination: None,
            upstream: None,
            name: None,
            reason: Vec::new(),
            end: End::Error,
            started: Instant::now(),
        }
    }

    pub(crate) fn refuse(mut self, why: impl Into<String>) {
        self.end = End::Refused;
        self.reason.push(why.into());
        self.traffic.live.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.traffic.live.open.fetch_sub(1, Ordering::Relaxed);
        let policy = self.flag.sni_log;
        let destination = self.destination.filter(|_dst| policy == SniLog::Full);
        // Whoever is not the client is shown by address: the name would be another's.
        let stranger = (self.end == End::Refused).then(|| self.peer.ip().to_string());
        let reason = (!self.reason.is_empty()).then(|| self.reason.join("; "));
        tracing::info!(
            client = %self.flag.client.name,
            port = self.flag.port,
            peer = stranger,
            upstream = self.upstream.as_deref().unwrap_or("-"),
            name = name_for_log(policy, self.name.as_deref()),
            dst = destination.map(|dst| dst.to_string()),
            bytes_up = self.traffic.up.load(Ordering::Relaxed),
            bytes_down = self.traffic.down.load(Ordering::Relaxed),
            ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            end = self.end.as_str(),
            reason,
            "connection"
        );
    }
}

impl End {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Idle => "idle",
            Self::Drain => "drain",
            Self::Removed => "removed",
            Self::Refused => "refused",
            Self::NoUpstream => "no_upstream",
            Self::Error => "error",
        }
    }
}
