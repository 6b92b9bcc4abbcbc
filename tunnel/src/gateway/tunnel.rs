//! One tunnel: what it is, who is on it, and what it has carried.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pgw_core::ids::SessionId;
use pgw_core::tunnel::{ClientSpec, Origin, Reason, State, TunnelSpec, TunnelStatus, VisitorRow};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::session::{Guest, Session};
use super::turns::Turns;
use crate::bucket::Bucket;
use crate::relay::Flow;
use crate::wire::open::Open;

/// In one answer.
const MOST_ROWS: usize = 1000;
/// Of names and passwords that are wrong, from one network: a person who mistypes does not notice.
const GUESSES_PER_MINUTE: u32 = 10;

pub(super) struct Tunnel {
    pub spec: TunnelSpec,
    pub origin: Origin,
    /// Cut when the tunnel ends, with all that is on it.
    pub over: CancellationToken,
    max_client_connections: u32,
    client_bandwidth: Option<u64>,
    up: Vec<Arc<Bucket>>,
    down: Vec<Arc<Bucket>>,
    /// These outlive a change of the rest.
    life: Arc<Life>,
}

#[derive(Default)]
struct Life {
    now: Mutex<Now>,
    bytes_in: Arc<AtomicU64>,
    bytes_out: Arc<AtomicU64>,
    connections: AtomicU64,
}

struct Now {
    session: Option<Arc<Session>>,
    state: State,
    reason: Option<Reason>,
    /// By network, as the requests.
    visitors: BTreeMap<IpAddr, Visits>,
    active: u32,
    requests: Turns,
    /// Wrong ones.
    guesses: Turns,
}

/// Those of one address that are there now.
struct Visits {
    open: u32,
    since: Instant,
    bytes_in: Arc<AtomicU64>,
    bytes_out: Arc<AtomicU64>,
}

impl Default for Now {
    fn default() -> Self {
        Self {
            session: None,
            state: State::Pending,
            reason: None,
            visitors: BTreeMap::new(),
            active: 0,
            requests: Turns::default(),
            guesses: Turns::default(),
        }
    }
}

/// Why a visitor is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Away {
    #[error("visitors from there are not wanted")]
    NotAllowed,
    #[error("there are too many visitors")]
    Full,
    #[error("the tunnel's client is away")]
    Offline,
}

/// A visitor's place.
pub(super) struct Seat {
    pub guest: Guest,
    tunnel: Arc<Tunnel>,
    address: IpAddr,
    bytes_in: Arc<AtomicU64>,
    bytes_out: Arc<AtomicU64>,
}

impl Tunnel {
    pub(super) fn new(spec: TunnelSpec, origin: Origin, client: &ClientSpec, shared: &Buckets) -> Self {
        let own = |rate: Option<u64>| rate.map(|rate| Arc::new(Bucket::per_second(rate)));
        let limit = spec.limits.bandwidth;
        Self {
            origin,
            over: CancellationToken::new(),
            max_client_connections: client.max_connections,
            client_bandwidth: client.bandwidth,
            up: own(limit).into_iter().chain(shared.up.clone()).collect(),
            down: own(limit).into_iter().chain(shared.down.clone()).collect(),
            life: Arc::default(),
            spec,
        }
    }

    /// As another wants it now: what it has carried, and who is on it, stays.
    pub(super) fn changed(&self, mut to: Self) -> Self {
        if self.spec.limits.requests_per_minute != to.spec.limits.requests_per_minute {
            self.now().requests = Turns::default();
        }
        to.life = self.life.clone();
        to.over = self.over.clone();
        to
    }

    pub(super) fn is(&self, spec: &TunnelSpec, client: &ClientSpec) -> bool {
        let client_is = (self.max_client_connections, self.client_bandwidth);
        self.spec == *spec && client_is == (client.max_connections, client.bandwidth)
    }

    /// Are visitors from there wanted?
    pub(super) fn admits(&self, visitor: IpAddr) -> Result<(), Away> {
        let (nets, visitor) = (&self.spec.limits.visitor_allow, visitor.to_canonical());
        let wanted = nets.is_empty() || nets.iter().any(|net| net.contains(&visitor));
        if wanted { Ok(()) } else { Err(Away::NotAllowed) }
    }

    pub(super) fn enter(self: &Arc<Self>, visitor: IpAddr) -> Result<Seat, Away> {
        self.admits(visitor)?;
        let limits = &self.spec.limits;
        let address = network(visitor);
        let mut now = self.now();
        let session = now.session.clone().ok_or(Away::Offline)?;
        let here = now.visitors.get(&address).map_or(0, |visits| visits.open);
        if limits.max_connections.is_some_and(|most| now.active >= most)
            || limits.max_per_visitor.is_some_and(|most| here >= most)
        {
            return Err(Away::Full);
        }
        let guest = Guest::of(&session, self.max_client_connections).ok_or(Away::Full)?;
        now.active += 1;
        let visits = now.visitors.entry(address).or_insert_with(Visits::begin);
        visits.open += 1;
        let (bytes_in, bytes_out) = (visits.bytes_in.clone(), visits.bytes_out.clone());
        drop(now);
        self.life.connections.fetch_add(1, Ordering::Relaxed);
        Ok(Seat { guest, tunnel: self.clone(), address, bytes_in, bytes_out })
    }

    /// Of http: may this visitor ask once more in this minute?
    pub(super) fn may_ask(&self, visitor: IpAddr) -> bool {
        let Some(most) = self.spec.limits.requests_per_minute else { return true };
        self.now().requests.of(network(visitor), most).try_one(Instant::now())
    }

    /// Of http with passwords: one who was wrong too often is not even heard when he is right, or the
    /// answer would tell.
    pub(super) fn may_guess(&self, visitor: IpAddr) -> bool {
        self.now().guesses.of(network(visitor), GUESSES_PER_MINUTE).has_one(Instant::now())
    }

    pub(super) fn guessed_wrong(&self, visitor: IpAddr) {
        self.now().guesses.of(network(visitor), GUESSES_PER_MINUTE).take(1, Instant::now());
    }

    pub(super) fn opening(&self, udp: bool, visitor: SocketAddr) -> Open {
        let TunnelSpec { compression, target, .. } = &self.spec;
        Open { udp, compression: *compression && !udp, visitor, target: target.clone() }
    }

    /// Of its client, while that is there.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.now().session.as_ref().map(|session| session.id)
    }

    /// True: it is another state than before.
    pub(super) fn set(&self, session: Option<Arc<Session>>, state: State, reason: Option<Reason>) -> bool {
        let mut now = self.now();
        let changed = (now.state, &now.reason) != (state, &reason);
        (now.session, now.state, now.reason) = (session, state, reason);
        changed
    }

    pub(super) fn status(&self) -> TunnelStatus {
        let now = self.now();
        let TunnelSpec { id, client_id, name, protocol, public_port, route, target, .. } = self.spec.clone();
        TunnelStatus {
            id,
            client_id,
            name,
            origin: self.origin,
            protocol,
            public_port,
            route,
            target,
            state: now.state,
            reason: now.reason.clone(),
            bytes_in: self.life.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.life.bytes_out.load(Ordering::Relaxed),
            connections: self.life.connections.load(Ordering::Relaxed),
            active: now.active,
        }
    }

    pub(super) fn visitors(&self) -> Vec<VisitorRow> {
        let now = self.now();
        let row = |(address, visits): (&IpAddr, &Visits)| VisitorRow {
            address: *address,
            connections: visits.open,
            since_ms: u64::try_from(visits.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in: visits.bytes_in.load(Ordering::Relaxed),
            bytes_out: visits.bytes_out.load(Ordering::Relaxed),
        };
        now.visitors.iter().take(MOST_ROWS).map(row).collect()
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.life.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's own limits, shared by all its tunnels.
#[derive(Default, Clone)]
pub(super) struct Buckets {
    up: Option<Arc<Bucket>>,
    down: Option<Arc<Bucket>>,
}

impl Buckets {
    pub(super) fn of(rate: Option<u64>) -> Self {
        let one = || rate.map(|rate| Arc::new(Bucket::per_second(rate)));
        Self { up: one(), down: one() }
    }
}

impl Visits {
    fn begin() -> Self {
        Self { open: 0, since: Instant::now(), bytes_in: Arc::default(), bytes_out: Arc::default() }
    }
}

impl Seat {
    /// What goes from the visitor to the target, and what comes back: counted for the tunnel, for the
    /// visitor, and for the client's session.
    pub(super) fn flows(&self, tunnel: &Tunnel) -> (Flow, Flow) {
        let (life, carried) = (&self.tunnel.life, &self.guest.session().carried);
        let inward = vec![life.bytes_in.clone(), self.bytes_in.clone(), carried.bytes_in.clone()];
        let outward = vec![life.bytes_out.clone(), self.bytes_out.clone(), carried.bytes_out.clone()];
        (
            Flow { counts: inward, buckets: tunnel.up.clone() },
            Flow { counts: outward, buckets: tunnel.down.clone() },
        )
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut now = self.tunnel.now();
        now.active = now.active.saturating_sub(1);
        if let Some(here) = now.visitors.get_mut(&self.address) {
            here.open = here.open.saturating_sub(1);
            if here.open == 0 {
                now.visitors.remove(&self.address);
            }
        }
    }
}

/// A host has a whole /64 of IPv6 to come from.
pub(super) fn network(visitor: IpAddr) -> IpAddr {
    match visitor.to_canonical() {
        four @ IpAddr::V4(_) => four,
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
    }
}
