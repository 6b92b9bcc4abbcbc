//! The forwarder's port: one forwarder has it, and accepts until it is told to stop.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::dial::keep_alive;
use pgw_core::resources::is_exhausted;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::serve::{Shared, admit};

const BACKLOG: i32 = 4096;

/// Out of file descriptors or memory, accepting at once again would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// And once in so long it is said.
const QUIET: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    #[error("port {0} is taken by something else")]
    Taken(u16),
    #[error("cannot listen on port {0}: {1}")]
    Other(u16, #[source] io::Error),
}

/// Takes the port. There is no SO_REUSEPORT: of two forwarders on one port, one would serve
/// its client by an old configuration.
pub(crate) fn bind(address: SocketAddrV4) -> Result<TcpListener, BindError> {
    let port = address.port();
    listen(address).map_err(|error| BindError::of(port, error))
}

/// One that another process of this port has made.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

impl BindError {
    pub(crate) fn of(port: u16, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(port),
            _ => Self::Other(port, error),
        }
    }
}

fn listen(address: SocketAddrV4) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // Connections of the last forwarder that still end must not keep the next one away.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    // What is accepted here takes these over, which saves each connection the asking.
    socket.set_tcp_nodelay(true)?;
    keep_alive(&socket)?;
    socket.listen(BACKLOG)?;
    adopt(socket.into())
}

/// Accepts, and does not return.
pub(crate) async fn accept(listener: Arc<TcpListener>, shared: Arc<Shared>) {
    // A socket that listens has an address.
    let own = listener.local_addr().map_or(0, |address| address.port());
    let serve = |(client, peer)| {
        if let Some(served) = admit(&shared, client, peer, own) {
            shared.tasks.spawn(served);
        }
    };
    take(|| listener.accept(), serve).await;
}

/// Whoever cannot be taken now waits in the kernel, and is taken when there is room again.
async fn take<C, F>(mut next: impl FnMut() -> F, mut serve: impl FnMut(C))
where
    F: Future<Output = io::Result<C>>,
{
    let mut complained: Option<Instant> = None;
    loop {
        match next().await {
            Ok(client) => serve(client),
            Err(error) if is_exhausted(&error) => {
                // Room that comes and goes must not fill the log.
                if complained.is_none_or(|at| at.elapsed() >= QUIET) {
                    complained = Some(Instant::now());
                    tracing::error!(error = %error, "cannot accept for now");
                }
                sleep(PAUSE).await;
            }
            // That one connection is gone already; the next one is not.
            Err(error) => tracing::debug!(error = %error, "a connection was gone before it was accepted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use socket2::SockRef;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::tests::lines::Lines;

    #[tokio::test]
    async fn two_forwarders_never_have_one_port() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap().to_string().parse().unwrap();
        let second = bind(address).unwrap_err();
        let port = first.local_addr().unwrap().port();
        assert_eq!(second.to_string(), format!("port {port} is taken by something else"));
        drop(first);
        bind(address).unwrap();
    }

    #[tokio::test]
    async fn what_is_accepted_sends_at_once_and_notices_a_dead_peer() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn out_of_files_it_waits_without_haste_says_so_seldom_and_goes_on() {
        let lines = Lines::capture();
        let start = Instant::now();
        let (mut asked, mut taken) = (0, 0);
        // Room for one now and then, as when connections end.
        let next = || {
            asked += 1;
            let turn = asked;
            async move {
                match turn {
                    3001.. => std::future::pending().await,
                    _ if turn % 10 == 0 => Ok(turn),
                    _ => Err(Errno::MFILE.into()),
                }
            }
        };
        let waited = timeout(Duration::from_secs(3600), take(next, |_client| taken += 1)).await;
        assert!(waited.is_err(), "it accepts for ever");
        assert_eq!((asked, taken), (3001, 300), "nobody is lost");
        let paused = PAUSE * 2700;
        let said = lines.all().matches("cannot accept for now").count();
        let bound = usize::try_from(paused.as_secs() / QUIET.as_secs()).unwrap() + 1;
        assert!(said >= 1 && said <= bound, "{said} lines in {paused:?}");
        assert!(start.elapsed() >= paused, "it span");
    }
}
