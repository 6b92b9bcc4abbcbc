//! One connection, from its acceptance to its end.

use std::future::pending;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use pgw_core::dial::{Destination, Dialer, Stream, Tunnel, tune};
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::sni::Sniffer;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::asleep::{Asleep, Sleeper};
use crate::conn::{Conn, End};
use crate::dns::{self, Dns};
use crate::experience::Experience;
use crate::failover::Attempt;
use crate::files;
use crate::live::Live;
use crate::origdst::{self, Lookup};
use crate::peek::Peek;
use crate::relay::{Ended, Pipes, Side, Stopped, relay};

/// What all connections of a forwarder share.
pub(crate) struct Shared {
    pub(crate) flag: watch::Receiver<Arc<FlagFile>>,
    pub(crate) live: Arc<Live>,
    pub(crate) dialer: Dialer,
    pub(crate) experience: Arc<Experience>,
    pub(crate) lookup: Lookup,
    pub(crate) pipes: Pipes,
    pub(crate) dns: Dns,
    pub(crate) asleep: Asleep,
    /// All connections that have a task, or sleep.
    pub(crate) tasks: TaskTracker,
}

/// Judges a connection and starts what serves it; `None` when it is refused. The whole of it
/// runs in the accept loop: who is refused costs no task.
pub(crate) fn admit(
    shared: &Arc<Shared>,
    client: TcpStream,
    peer: SocketAddr,
) -> Option<impl Future<Output = ()> + Send + use<>> {
    let flag = shared.flag.borrow().clone();
    let (most, room) = (flag.limits.max_connections, files::room());
    let refused = match origdst::origin(&shared.lookup, &client) {
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
        // An option that cannot be set is no reason to refuse: the relay works without it.
        let _tuned = tune(&client);
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

/// A tunnel that stands, and what of the client is not in it yet.
struct Standing {
    tunnel: Tunnel,
    said: Vec<u8>,
    /// The client will say no more.
    ended: bool,
    sniffer: Sniffer,
}

/// Until there is no more to carry, or it may sleep.
async fn carry(shared: &Shared, conn: &Conn, client: &mut TcpStream, standing: &mut Standing) -> Stopped {
    tokio::select! {
        biased;
        by = conn.told() => Stopped::Ended(Ended { by, whole: false }),
        stopped = between(shared, conn, client, standing) => stopped,
    }
}

fn conclude(shared: &Arc<Shared>, conn: Conn, client: TcpStream, standing: Standing, stopped: Stopped) {
    let upstream = standing.tunnel.stream;
    match (stopped, upstream) {
        (Stopped::Ended(ended), upstream) => {
            if !ended.whole {
                reset(&client);
                reset(upstream.tcp());
            }
            conn.over(ended.by);
        }
        (Stopped::AtRest, Stream::Plain(upstream)) => {
            lay_down(shared, conn, client, upstream, standing.sniffer)
        }
        // Never tired: a session of TLS is more than two sockets.
        (Stopped::AtRest, Stream::Tls(_)) => conn.over(End::Error),
    }
}

fn lay_down(shared: &Arc<Shared>, conn: Conn, client: TcpStream, upstream: TcpStream, sniffer: Sniffer) {
    let (Ok(client), Ok(upstream)) = (client.into_std(), upstream.into_std()) else {
        return conn.over(End::Error);
    };
    let _counted = shared.tasks.token();
    let sleeper = Sleeper { conn, client, upstream, sniffer, _counted };
    if let Err((sleeper, error)) = shared.asleep.lay_down(sleeper) {
        tracing::debug!(error = %error, "a connection cannot sleep");
        wake(shared, sleeper);
    }
}

/// Serves it again.
pub(crate) fn wake(shared: &Arc<Shared>, sleeper: Sleeper) {
    let Sleeper { conn, client, upstream, sniffer, _counted } = sleeper;
    let (Ok(client), Ok(upstream)) = (TcpStream::from_std(client), TcpStream::from_std(upstream)) else {
        return conn.over(End::Error);
    };
    conn.moved_on();
    let tunnel = Tunnel { stream: Stream::Plain(upstream), early: Vec::new() };
    let standing = Standing { tunnel, said: Vec::new(), ended: false, sniffer };
    shared.tasks.spawn(go_on(shared.clone(), conn, client, standing));
}

#[expect(clippy::manual_async_fn, reason = "an async fn keeps room for its arguments twice")]
fn go_on(
    shared: Arc<Shared>,
    conn: Conn,
    mut client: TcpStream,
    mut standing: Standing,
) -> impl Future<Output = ()> + Send {
    async move {
        let stopped = carry(&shared, &conn, &mut client, &mut standing).await;
        conclude(&shared, conn, client, standing, stopped);
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
    let dialer = &shared.dialer;
    // Nothing of the client travels with the request, whether or not the upstream is alone.
    let dial = async |candidate: &FlagUpstream, destination: Destination, _alone: bool| {
        dialer.dial(&candidate.upstream, &destination, limit).await
    };
    let reached = tokio::select! {
        biased;
        told = conn.told() => Err(told),
        reached = attempt.reach(allowed, dial, &mut failures) => reached.ok_or(End::NoUpstream),
        _gone = peek.read(client) => Err(End::Client),
    };
    conn.named(peek.sniffer.name());
    conn.reason = failures;
    let (upstream, tunnel) = reached?;
    conn.carried_by(upstream);
    if peek.bytes.is_empty() {
        // Many proxies send nothing small while their last packet, the answer, is unacknowledged
        // (Nagle), and the kernel would wait 40 ms for something to send along with that.
        let _tuned = sockopt::set_tcp_quickack(tunnel.stream.tcp(), true);
    }
    // It may have been taken away while it was dialled, when nobody knew who would carry this.
    if !conn.allowed_by(&shared.flag.borrow()) {
        return Err(End::Removed);
    }
    Ok(Standing { tunnel, said: peek.bytes, ended: peek.ended, sniffer: peek.sniffer })
}

/// Relays until both sides have said everything, or nothing for a while.
async fn between(shared: &Shared, conn: &Conn, client: &mut TcpStream, standing: &mut Standing) -> Stopped {
    let Standing { tunnel, said, ended, sniffer } = standing;
    let (traffic, pipes) = (&conn.traffic, &shared.pipes);
    let early = std::mem::take(&mut tunnel.early);
    let (read, write) = client.split();
    let client = Side { read, write, said: std::mem::take(said), ended: *ended };
    let see = |bytes: &[u8]| {
        let curious = sniffer.see(bytes);
        conn.named(sniffer.name());
        curious
    };
    match &mut tunnel.stream {
        Stream::Plain(tcp) => {
            let (read, write) = tcp.split();
            let upstream = Side { read, write, said: early, ended: false };
            relay(client, upstream, traffic, pipes, conn.tired(), see).await
        }
        Stream::Tls(tls) => {
            let (read, write) = tokio::io::split(tls.as_mut());
            let upstream = Side { read, write, said: early, ended: false };
            relay(client, upstream, traffic, pipes, pending(), see).await
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
