//! One connection: what everybody may see of it, and the guard that writes its one log line when
//! it goes, however it goes.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddrV4};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use pgw_core::control::{ConnectionRow, Sum};
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::ids::MappingId;
use pgw_core::redact::{SniLog, name_for_log};

use crate::asleep::Sleeper;
use crate::live::Live;
use crate::serve::same_exit;

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
    /// The operator closed this very connection.
    Closed,
    /// Never served: not this client, not redirected, or one too many.
    Refused,
    /// No upstream gave a tunnel.
    NoUpstream,
    /// The gateway's own fault.
    Error,
}

/// What the forwarder knows of a connection. Others look at it while its task works, so what
/// changes is changed without a lock.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: u64,
    pub(crate) flag: Arc<FlagFile>,
    pub(crate) traffic: Traffic,
    peer: IpAddr,
    destination: Option<SocketAddrV4>,
    /// The place among the flag file's upstreams of the one that carries it.
    upstream: OnceLock<u16>,
    /// As the log will have it: more than that is never kept.
    name: OnceLock<Box<str>>,
    /// That it shall end, and why.
    told: OnceLock<End>,
    /// That nothing has moved for a while, and it may sleep.
    tired: AtomicBool,
    /// Where it lies while it sleeps. It then holds itself, until it is woken.
    bed: Mutex<Option<Sleeper>>,
    task: AtomicWaker,
    /// Milliseconds after the forwarder's start, as in [`Traffic`].
    started: u64,
}

/// One connection's bytes, counted here and in the forwarder's sum.
#[derive(Debug)]
pub(crate) struct Traffic {
    live: Arc<Live>,
    up: AtomicU64,
    down: AtomicU64,
    /// When the last of them moved.
    moved: AtomicU64,
}

/// A connection's own hold of it, for as long as it is served.
#[derive(Debug)]
pub(crate) struct Conn {
    known: Arc<Known>,
    /// What went wrong before, or why there is nothing to tell.
    pub(crate) reason: Vec<String>,
    end: End,
}

impl Traffic {
    pub(crate) fn new(live: Arc<Live>) -> Self {
        let moved = AtomicU64::new(live.now());
        Self { live, up: AtomicU64::new(0), down: AtomicU64::new(0), moved }
    }

    pub(crate) fn up(&self, count: usize) {
        self.add(&self.up, &self.live.bytes_up, count);
    }

    pub(crate) fn down(&self, count: usize) {
        self.add(&self.down, &self.live.bytes_down, count);
    }

    fn add(&self, one: &AtomicU64, all: &AtomicU64, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        one.fetch_add(count, Ordering::Relaxed);
        all.fetch_add(count, Ordering::Relaxed);
        self.moved.store(self.live.now(), Ordering::Relaxed);
    }
}

impl Known {
    fn upstream(&self) -> Option<&FlagUpstream> {
        self.flag.upstreams.get(usize::from(*self.upstream.get()?))
    }

    /// From now on this one of the flag file's upstreams carries it.
    pub(crate) fn carried_by(&self, upstream: &FlagUpstream) {
        let place = self.flag.upstreams.iter().position(|known| std::ptr::eq(known, upstream));
        if let Some(place) = place.and_then(|place| u16::try_from(place).ok()) {
            let _once = self.upstream.set(place);
        }
        self.moved_on();
    }

    /// The client has said whom it calls.
    pub(crate) fn named(&self, name: Option<&str>) {
        if let Some(name) = name.filter(|_name| self.name.get().is_none()) {
            let _once = self.name.set(name_for_log(self.flag.sni_log, Some(name)).into());
        }
    }

    /// Has it ended, before anything else of it is moved. The first reason counts.
    pub(crate) fn tell(&self, end: End) {
        if self.told.set(end).is_ok() {
            self.task.wake();
        }
    }

    /// Waits until it shall end. For the one task that serves it.
    pub(crate) async fn told(&self) -> End {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            self.told.get().map_or(Poll::Pending, |end| Poll::Ready(*end))
        })
        .await
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told.get().is_some()
    }

    /// Nobody serves it from now on; a word that it shall end goes to `waker`.
    pub(crate) fn lie_down(&self, sleeper: Sleeper, waker: &Waker) {
        *self.bed() = Some(sleeper);
        self.traffic.live.lies_down();
        self.task.register(waker);
        // It may have come already.
        if self.is_told() {
            waker.wake_by_ref();
        }
    }

    /// If it sleeps.
    pub(crate) fn get_up(&self) -> Option<Sleeper> {
        self.bed().take().inspect(|_woken| self.traffic.live.gets_up())
    }

    fn bed(&self) -> MutexGuard<'_, Option<Sleeper>> {
        // Nothing in there can be left half done.
        self.bed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it may sleep. Beside [`Known::told`], which has the task woken.
    pub(crate) async fn tired(&self) {
        poll_fn(|_cx| if self.tired.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// It is served, and to be looked at when it may be tired.
    pub(crate) fn moved_on(&self) {
        self.tired.store(false, Ordering::Relaxed);
        let idle = Duration::from_secs(self.flag.limits.idle_timeout_s);
        let live = &self.traffic.live;
        live.look_at(live.now() + millis(idle.min(live.patience())));
    }

    /// When it may sleep if nothing moves any more, after so much patience; it is told so when that was before `now`.
    pub(crate) fn tired_at(&self, now: u64, patience: Duration) -> Option<u64> {
        self.upstream.get()?;
        let at = self.traffic.moved.load(Ordering::Relaxed).saturating_add(millis(patience));
        if at > now {
            return Some(at);
        }
        if !self.tired.swap(true, Ordering::Relaxed) {
            self.task.wake();
        }
        None
    }

    /// May it go on under this flag file? What a connection was accepted for is its client's,
    /// and an upstream that was taken away carries nothing more.
    pub(crate) fn allowed_by(&self, now: &FlagFile) -> bool {
        now.client.ip_cidr == self.flag.client.ip_cidr
            && self.upstream().is_none_or(|own| now.upstreams.iter().any(|known| same_exit(known, own)))
    }

    /// When it will have been idle for too long if nothing moves any more. Before there is a
    /// tunnel, and for questions to DNS, other limits hold.
    pub(crate) fn idle_until(&self) -> Option<u64> {
        self.upstream.get()?;
        let limit = Duration::from_secs(self.flag.limits.idle_timeout_s);
        Some(self.traffic.moved.load(Ordering::Relaxed).saturating_add(millis(limit)))
    }

    /// For the control socket. A log policy that has become stricter hides what is open, too.
    pub(crate) fn row(&self, policy: SniLog) -> ConnectionRow {
        let now = self.traffic.live.now();
        let moved = self.traffic.moved.load(Ordering::Relaxed);
        let upstream = self.upstream();
        ConnectionRow {
            id: self.id,
            mapping_id: upstream.map(|upstream| upstream.mapping_id),
            upstream: upstream.map(|upstream| upstream.upstream.name.clone()),
            name: name_for_log(policy, self.name.get().map(|name| &**name)),
            destination: self.destination().filter(|_dst| policy == SniLog::Full),
            bytes_up: self.traffic.up.load(Ordering::Relaxed),
            bytes_down: self.traffic.down.load(Ordering::Relaxed),
            age_ms: now.saturating_sub(self.started),
            idle_ms: now.saturating_sub(moved),
        }
    }

    /// Whose it is, from when there is a tunnel on.
    pub(crate) fn mapping(&self) -> Option<MappingId> {
        self.upstream().map(|upstream| upstream.mapping_id)
    }

    pub(crate) fn sum(&self) -> Sum {
        Sum {
            connections: 1,
            bytes_up: self.traffic.up.load(Ordering::Relaxed),
            bytes_down: self.traffic.down.load(Ordering::Relaxed),
        }
    }

    /// For whoever counts names: never a whole one, though the log may hold it.
    pub(crate) fn name_told(&self) -> String {
        name_for_log(SniLog::Redacted, self.name.get().map(|name| &**name))
    }

    fn destination(&self) -> Option<SocketAddrV4> {
        self.destination.filter(|_dst| self.flag.sni_log == SniLog::Full)
    }
}

impl Conn {
    /// A connection that is served; it is in the table from here on.
    pub(crate) fn open(
        live: &Arc<Live>,
        flag: Arc<FlagFile>,
        peer: IpAddr,
        destination: SocketAddrV4,
    ) -> Self {
        let conn = Self::new(live, flag, peer, Some(destination));
        live.enter(conn.known.clone());
        conn
    }

    /// A connection that is not.
    pub(crate) fn refuse(live: &Arc<Live>, flag: Arc<FlagFile>, peer: IpAddr, why: String) {
        let mut conn = Self::new(live, flag, peer, None);
        conn.reason.push(why);
        live.refused.fetch_add(1, Ordering::Relaxed);
        conn.over(End::Refused);
    }

    pub(crate) fn known(&self) -> Arc<Known> {
        self.known.clone()
    }

    /// It has come to its end.
    pub(crate) fn over(mut self, end: End) {
        self.end = end;
    }

    fn new(live: &Arc<Live>, flag: Arc<FlagFile>, peer: IpAddr, destination: Option<SocketAddrV4>) -> Self {
        let known = Arc::new(Known {
            id: live.next_id(),
            flag,
            traffic: Traffic::new(live.clone()),
            peer,
            destination,
            upstream: OnceLock::new(),
            name: OnceLock::new(),
            told: OnceLock::new(),
            tired: AtomicBool::new(false),
            bed: Mutex::default(),
            task: AtomicWaker::new(),
            started: live.now(),
        });
        Self { known, reason: Vec::new(), end: End::Error }
    }
}

impl Deref for Conn {
    type Target = Known;

    fn deref(&self) -> &Known {
        &self.known
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.traffic.live.leave(self.id);
        // Whoever is not the client is shown by address: the name would be another's.
        let stranger = (self.end == End::Refused).then(|| self.peer.to_string());
        let reason = (!self.reason.is_empty()).then(|| self.reason.join("; "));
        tracing::info!(
            client = self.flag.client.name.as_str(),
            port = self.flag.port,
            peer = stranger,
            upstream = self.upstream().map_or("-", |upstream| upstream.upstream.name.as_str()),
            name = self.name.get().map_or("-", |name| name),
            dst = self.destination().map(|dst| dst.to_string()),
            bytes_up = self.traffic.up.load(Ordering::Relaxed),
            bytes_down = self.traffic.down.load(Ordering::Relaxed),
            ms = self.traffic.live.now().saturating_sub(self.started),
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
            Self::Closed => "closed",
            Self::Refused => "refused",
            Self::NoUpstream => "no_upstream",
            Self::Error => "error",
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
