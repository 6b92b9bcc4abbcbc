//! The way of a connection, on the loopback: real sockets, fake proxies, a fake answer to
//! "where did it mean to go".

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use pgw_core::control::FwdStatus;
use pgw_core::dial::Dialer;
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::ids::MappingId;
use pgw_core::mapping::Target;
use pgw_core::proxy::{Scheme, Upstream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::asleep::Asleep;
use crate::current::Current;
use crate::dns::Dns;
use crate::dns::udp::Datagrams;
use crate::forwarder::{Heir, Stop};
use crate::lines::Lines;
use crate::listener;
use crate::live::Live;
use crate::origdst::{Lookup, Origin};
use crate::relay::{MOST_PIPES, Pipes};
use crate::serve::Shared;

mod bulk;
mod control;
mod dns;
mod fakes;
mod faults;
pub(crate) mod lines;
mod names;
mod reload;
mod resolvers;
mod scripted;
mod setup;
mod sleep;
mod stop;
mod succession;
mod through;
mod tls;
mod traffic;
mod warm;

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 3);
const DESTINATION: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 7), 443);

/// A flag file without upstreams.
pub(crate) fn flag(port: u16) -> FlagFile {
    let golden = include_bytes!("../../../core/tests/golden/flag.json");
    let mut flag = FlagFile::read(golden, 15001).unwrap();
    flag.port = port;
    flag.upstreams.clear();
    // So long that a test which waits for one of them is noticed, unless it sets its own.
    flag.limits.connect_timeout_ms = 60_000;
    flag.limits.peek_ms = 60_000;
    flag.limits.drain_s = 60;
    flag
}

pub(crate) fn upstream(name: &str, at: SocketAddr) -> FlagUpstream {
    FlagUpstream {
        mapping_id: MappingId(name.bytes().fold(uuid::Uuid::nil(), |id, byte| {
            uuid::Uuid::from_u128(id.as_u128().wrapping_mul(31).wrapping_add(byte.into()))
        })),
        target: Target::Original,
        upstream: Upstream {
            name: name.into(),
            scheme: Scheme::Http,
            host: at.ip().to_string().parse().unwrap(),
            port: at.port(),
            credentials: None,
        },
    }
}

/// A running forwarder.
struct Gateway {
    address: SocketAddr,
    /// Where it takes datagrams.
    datagrams: SocketAddr,
    flag: Current,
    stop: mpsc::Sender<Stop>,
    heirs: mpsc::Sender<Heir>,
    live: Arc<Live>,
    shared: Arc<Shared>,
    running: JoinHandle<()>,
}

impl Gateway {
    fn start(upstreams: Vec<FlagUpstream>) -> Self {
        let mut flag = flag(15001);
        flag.upstreams = upstreams;
        Self::start_with(flag, Dialer::new(), redirected(CLIENT))
    }

    fn start_with(flag: FlagFile, dialer: Dialer, lookup: Lookup) -> Self {
        Self::start_with_pipes(flag, dialer, lookup, MOST_PIPES)
    }

    fn start_with_pipes(flag: FlagFile, dialer: Dialer, lookup: Lookup, pipes: usize) -> Self {
        let listener = listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let live = Arc::new(Live::default());
        let flag = Current::new(flag, live.clone());
        let mut datagrams = Datagrams::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        datagrams.seen_as = |_loopback| CLIENT;
        let datagrams_at = datagrams.address();
        let shared = Arc::new(Shared {
            flag: flag.subscribe(),
            live: live.clone(),
            lines: Lines::new(dialer, flag.subscribe()),
            experience: Arc::default(),
            lookup,
            pipes: Pipes::new(pipes),
            dns: Dns::default(),
            asleep: Asleep::new(live.clone()).unwrap(),
            service: Arc::default(),
            tasks: TaskTracker::new(),
        });
        let (stop, stopped) = mpsc::channel(2);
        let (heirs, waiting) = mpsc::channel(1);
        let running =
            tokio::spawn(crate::forwarder::run(listener, datagrams, shared.clone(), stopped, waiting));
        Self { address, datagrams: datagrams_at, flag, stop, heirs, live, shared, running }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut FlagFile)) {
        let mut new = self.flag();
        change(&mut new);
        self.flag.take_over(new);
    }

    fn flag(&self) -> FlagFile {
        FlagFile::clone(&self.shared.flag.borrow())
    }

    fn status(&self) -> FwdStatus {
        self.live.status(&self.flag())
    }
}

/// As if the connection came through the redirect.
fn redirected(from: Ipv4Addr) -> Lookup {
    Arc::new(move |_stream, _peer| Ok(Origin { from, to: DESTINATION }))
}

/// Where nobody listens.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

const SHORT: Duration = Duration::from_millis(150);

type Fields = BTreeMap<String, serde_json::Value>;
