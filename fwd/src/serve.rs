//! One connection, from its acceptance to its end.

use std::net::{SocketAddr, SocketAddrV4};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::dial::{Destination, Stream, Tunnel, tune};
use pgw_core::flag::{FlagFile, FlagUpstream};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::conn::{Conn, End, Live};
use crate::dns::{self, Dns};
use crate::experience::Experience;
use crate::failover::Attempt;
use crate::lines::Lines;
use crate::origdst::{self, Lookup};
use crate::peek::{Heard, Peek};
use crate::relay::{Ended, Pipes, Side, relay};

/// What all connections of a forwarder share.
pub(crate) struct Shared {
    pub(crate) flag: watch::Receiver<Arc<FlagFile>>,
    pub(crate) live: Arc<Live>,
    pub(crate) lines: Lines,
    pub(crate) experience: Arc<Experience>,
    pub(crate) lookup: Lookup,
    pub(crate) pipes: Pipes,
    /// The time for draining is over.
    pub(crate) cut: CancellationToken,
    pub(crate) dns: Dns,
}

/// Judges a connection and starts what serves it; `None` when it is refused. The whole of it
/// runs in the accept loop: who is refused costs no task.
pub(crate) fn admit(
    shared: &Arc<Shared>,
    client: TcpStream,
    peer: SocketAddr,
) -> Option<Pin<Box<impl Future<Output = ()> + Send + use<>>>> {
    let flag = shared.flag.borrow().clone();
    let crowded = shared.live.open() >= flag.limits.max_connections;
    // Boxed: what a task is given it keeps room for twice.
    let mut conn = Box::new(Conn::new(shared.live.clone(), flag, peer));
    let refused = match origdst::origin(&shared.lookup, &client) {
        Err(direct) => direct.to_string(),
        Ok(origin) if origin.from != conn.flag.client.ip_cidr.addr() => "not this port's client".to_owned(),
        Ok(_) if crowded => format!("more than {} connections", conn.flag.limits.max_connections),
        Ok(origin) => {
            conn.destination = Some(origin.to);
            return Some(Box::pin(serve(shared.clone(), conn, client, origin.to)));
        }
    };
    conn.refuse(refused);
    reset(&client);
    None
}

async fn serve(shared: Arc<Shared>, mut conn: Box<Conn>, mut client: TcpStream, original: SocketAddrV4) {
    // An option that cannot be set is no reason to refuse: the relay works without it.
    let _tuned = tune(&client);
    if original.port() == dns::PORT {
        conn.end = dns::tcp::serve(&shared, &conn, client).await;
        return;
    }
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
        lines.reach(&candidate.upstream, &destination, Some(said.clone()), alone, limit).await
    };
    let reached = tokio::select! {
        biased;
        () = shared.cut.cancelled() => Err(End::Drain),
        // Boxed: its room is given back when the connection stands, which then lives for hours.
        reached = Box::pin(attempt.reach(allowed, dial, &mut failures)) => reached.ok_or(End::NoUpstream),
        _gone = peek.read(&mut client) => Err(End::Client),
    };
    conn.reason = failures;
    let mut client_said = peek.done();
    conn.end = match reached {
        Ok((upstream, tunnel)) => {
            conn.upstream = Some(upstream.upstream.name.clone());
            carry(&shared, &conn, upstream, &mut client_said, client, tunnel).await
        }
        Err(end) => {
            // A clean end would look like an empty answer.
            reset(&client);
            end
        }
    };
    conn.name = client_said.sniffer.name().map(str::to_owned);
}

/// Relays until the end, which may come from outside.
async fn carry(
    shared: &Shared,
    conn: &Conn,
    upstream: &FlagUpstream,
    client_said: &mut Heard,
    mut client: TcpStream,
    mut tunnel: Tunnel,
) -> End {
    let mut flag = shared.flag.clone();
    let removed = flag.wait_for(|now| !still_allowed(now, &conn.flag, upstream));
    let ended = tokio::select! {
        biased;
        _flag = removed => Ended { by: End::Removed, whole: false },
        () = shared.cut.cancelled() => Ended { by: End::Drain, whole: false },
        ended = between(shared, conn, client_said, &mut client, &mut tunnel) => ended,
    };
    if !ended.whole {
        reset(&client);
        reset(tunnel.stream.tcp());
    }
    ended.by
}

async fn between(
    shared: &Shared,
    conn: &Conn,
    client_said: &mut Heard,
    client: &mut TcpStream,
    tunnel: &mut Tunnel,
) -> Ended {
    let idle = Duration::from_secs(conn.flag.limits.idle_timeout_s);
    let (traffic, pipes) = (&conn.traffic, &shared.pipes);
    let mut said = std::mem::take(&mut client_said.bytes);
    traffic.up(tunnel.sent);
    said.drain(..tunnel.sent.min(said.len()));
    let early = std::mem::take(&mut tunnel.early);
    let (read, write) = client.split();
    let client = Side { read, write, said, ended: client_said.ended };
    let see = |bytes: &[u8]| client_said.sniffer.see(bytes);
    match &mut tunnel.stream {
        Stream::Plain(tcp) => {
            let (read, write) = tcp.split();
            relay(client, Side { read, write, said: early, ended: false }, idle, traffic, pipes, see).await
        }
        Stream::Tls(tls) => {
            let (read, write) = tokio::io::split(tls.as_mut());
            relay(client, Side { read, write, said: early, ended: false }, idle, traffic, pipes, see).await
        }
    }
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

/// Says "broken off" when the stream is dropped, where it would say "that was all".
fn reset(stream: &TcpStream) {
    // When it cannot be set the connection is closed all the same.
    let _set = stream.set_zero_linger();
}
