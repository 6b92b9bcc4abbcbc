//! One connection, from its acceptance to its end.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use pgw_core::dial::Destination;
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::service::Service;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::asleep::Asleep;
use crate::carry::{Standing, carry, conclude, reset};
use crate::conn::{Conn, End};
use crate::dns::{self, Dns};
use crate::experience::Experience;
use crate::failover::Attempt;
use crate::files;
use crate::lines::Lines;
use crate::live::Live;
use crate::origdst::{self, Lookup};
use crate::peek::Peek;
use crate::relay::Pipes;

/// What all connections of a forwarder share.
pub(crate) struct Shared {
    pub(crate) flag: watch::Receiver<Arc<FlagFile>>,
    pub(crate) live: Arc<Live>,
    pub(crate) lines: Lines,
    pub(crate) experience: Arc<Experience>,
    pub(crate) lookup: Lookup,
    pub(crate) pipes: Pipes,
    pub(crate) dns: Dns,
    pub(crate) asleep: Asleep,
    pub(crate) service: Arc<Service>,
    /// All connections that have a task, or sleep.
    pub(crate) tasks: TaskTracker,
}

/// Judges a connection and starts what serves it; `None` when it is refused. The whole of it
/// runs in the accept loop: who is refused costs no task. `own` is the port that it came to.
pub(crate) fn admit(
    shared: &Arc<Shared>,
    client: TcpStream,
    peer: SocketAddr,
    own: u16,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let flag = shared.flag.borrow().clone();
    let (most, room) = (flag.limits.max_connections, files::room());
    let refused = match origdst::origin(&shared.lookup, &client, peer, own) {
        Err(direct) => direct.to_string(),
        Ok(origin) if origin.from != flag.client.ip_cidr.addr() => "not this port's client".to_owned(),
        Ok(_) if shared.live.open() >= most => format!("more than {most} connections"),
        Ok(_) if shared.live.open() >= room => format!("open files for {room} connections only"),
        Ok(origin) => {
            let conn = Conn::open(&shared.live, flag, peer.ip(), origin.to);
            return Some(serve(shared.clone(), conn, client, origin.to));
        }
    };
    Conn::refuse(&shared.live, flag, peer.ip(), refused);
    reset(&client);
    None
}

#[expect(clippy::manual_async_fn, reason = "an async fn keeps room for its arguments twice")]
fn serve(
    shared: Arc<Shared>,
    mut conn: Conn,
    mut client: TcpStream,
    original: SocketAddrV4,
) -> impl Future<Output = ()> + Send {
    async move {
        if original.port() == dns::PORT {
            let end = Box::pin(dns::tcp::serve(&shared, &conn, &mut client)).await;
            return conn.over(end);
        }
        // Boxed: its room is given back when the connection stands, which then lives for hours.
        match Box::pin(reach(&shared, &mut conn, &mut client, original)).await {
            Ok(mut standing) => {
                let stopped = carry(&shared, &conn, &mut client, &mut standing).await;
                conclude(&shared, conn, client, standing, stopped);
            }
            Err(end) => {
                // A clean end would look like an empty answer.
                reset(&client);
                conn.over(end);
            }
        }
    }
}

/// Until one of the upstreams has a tunnel to where the client meant to go.
async fn reach(
    shared: &Shared,
    conn: &mut Conn,
    client: &mut TcpStream,
    original: SocketAddrV4,
) -> Result<Standing, End> {
    let mut peek = Peek::new();
    let flag = conn.flag.clone();
    let attempt = Attempt {
        flag: &flag,
        experience: &shared.experience,
        original,
        found: peek.found(),
        started: Instant::now(),
    };
    let mut failures = std::mem::take(&mut conn.reason);
    let allowed = |upstream: &FlagUpstream| still_allowed(&shared.flag.borrow(), &flag, upstream);
    let limit = Duration::from_millis(flag.limits.connect_timeout_ms);
    let (lines, said) = (&shared.lines, peek.said());
    let dial = async |candidate: &FlagUpstream, destination: Destination, alone: bool| {
        // Boxed: on its way into the race it is moved several times.
        Box::pin(lines.reach(&candidate.upstream, &destination, Some(said.clone()), alone, limit)).await
    };
    let reached = tokio::select! {
        biased;
        told = conn.told() => Err(told),
        // Before the upstream is asked: what the client has said already goes with the request, in one packet.
        _gone = peek.read(client) => Err(End::Client),
        reached = attempt.reach(allowed, dial, &mut failures) => reached.ok_or(End::NoUpstream),
    };
    conn.reason = failures;
    let mut heard = peek.done();
    conn.named(heard.sniffer.name());
    let (upstream, tunnel) = reached?;
    conn.carried_by(upstream);
    conn.traffic.up(tunnel.sent);
    if heard.bytes.is_empty() {
        // Many proxies send nothing small while their last packet, the answer, is unacknowledged
        // (Nagle), and the kernel would wait 40 ms for something to send along with that.
        let _tuned = sockopt::set_tcp_quickack(tunnel.stream.tcp(), true);
    }
    heard.bytes.drain(..tunnel.sent.min(heard.bytes.len()));
    // It may have been taken away while it was dialled, when nobody knew who would carry this.
    if !conn.allowed_by(&shared.flag.borrow()) {
        return Err(End::Removed);
    }
    Ok(Standing { tunnel, heard })
}

/// May what was accepted under the flag `then` still go by this upstream?
pub(crate) fn still_allowed(now: &FlagFile, then: &FlagFile, upstream: &FlagUpstream) -> bool {
    now.client.ip_cidr == then.client.ip_cidr && now.upstreams.iter().any(|known| same_exit(known, upstream))
}

/// An upstream that moved to another place is another exit; a new password is not.
pub(crate) fn same_exit(one: &FlagUpstream, other: &FlagUpstream) -> bool {
    let place = |u: &FlagUpstream| (u.mapping_id, u.upstream.scheme, u.upstream.port);
    place(one) == place(other) && one.upstream.host == other.upstream.host
}

/// The same client, going out by the same exits in the same order.
pub(crate) fn same_exits(one: &FlagFile, other: &FlagFile) -> bool {
    one.client.ip_cidr == other.client.ip_cidr
        && one.upstreams.len() == other.upstreams.len()
        && one.upstreams.iter().zip(&other.upstreams).all(|(one, other)| same_exit(one, other))
}
