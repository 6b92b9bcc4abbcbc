//! A connection that has its tunnel, to its end or into its sleep and out of it again.

use std::future::pending;
use std::sync::Arc;

use pgw_core::dial::{Stream, Tunnel, keep_alive};
use pgw_core::sni::Sniffer;
use tokio::net::TcpStream;

use crate::asleep::Sleeper;
use crate::conn::{Conn, End};
use crate::peek::Heard;
use crate::relay::{Ended, Side, Stopped, relay};
use crate::serve::Shared;

/// A tunnel that stands, and what of the client is not in it yet.
pub(crate) struct Standing {
    pub(crate) tunnel: Tunnel,
    pub(crate) heard: Heard,
}

/// Until there is no more to carry, or it may sleep.
pub(crate) async fn carry(
    shared: &Shared,
    conn: &Conn,
    client: &mut TcpStream,
    standing: &mut Standing,
) -> Stopped {
    tokio::select! {
        biased;
        by = conn.told() => Stopped::Ended(Ended { by, whole: false }),
        stopped = between(shared, conn, client, standing) => stopped,
    }
}

/// Closes it, or lets it sleep.
pub(crate) fn conclude(
    shared: &Arc<Shared>,
    conn: Conn,
    client: TcpStream,
    standing: Standing,
    stopped: Stopped,
) {
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
            lay_down(shared, conn, client, upstream, standing.heard.sniffer)
        }
        // Never tired: a session of TLS is more than two sockets.
        (Stopped::AtRest, Stream::Tls(_)) => conn.over(End::Error),
    }
}

fn lay_down(shared: &Arc<Shared>, conn: Conn, client: TcpStream, upstream: TcpStream, sniffer: Sniffer) {
    let (Ok(client), Ok(upstream)) = (client.into_std(), upstream.into_std()) else {
        return conn.over(End::Error);
    };
    // Who is heard need not be asked. Where it cannot be set, the idle timeout ends it.
    let _asked = keep_alive(&upstream);
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
    let tunnel = Tunnel { stream: Stream::Plain(upstream), early: Vec::new(), sent: 0 };
    let standing = Standing { tunnel, heard: Heard { bytes: Vec::new(), ended: false, sniffer } };
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

/// Relays until both sides have said everything, or nothing for a while.
async fn between(shared: &Shared, conn: &Conn, client: &mut TcpStream, standing: &mut Standing) -> Stopped {
    let Standing { tunnel, heard: Heard { bytes, ended, sniffer } } = standing;
    let (traffic, pipes) = (&conn.traffic, &shared.pipes);
    let early = std::mem::take(&mut tunnel.early);
    let (read, write) = client.split();
    let client = Side { read, write, said: std::mem::take(bytes), ended: *ended };
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
            // It never sleeps.
            let _asked = keep_alive(tls.get_ref().0);
            let (read, write) = tokio::io::split(tls.as_mut());
            let upstream = Side { read, write, said: early, ended: false };
            relay(client, upstream, traffic, pipes, pending(), see).await
        }
    }
}

/// Says "broken off" when the stream is dropped, where it would say "that was all".
pub(crate) fn reset(stream: &TcpStream) {
    // When it cannot be set the connection is closed all the same.
    let _set = stream.set_zero_linger();
}
