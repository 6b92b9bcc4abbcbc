//! The forwarder's port: one forwarder has it, and accepts until it is told to stop.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::resources::is_exhausted;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::serve::{Shared, admit};

const BACKLOG: i32 = 4096;

/// Out of file descriptors or memory, accepting at once again would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

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
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Accepts, and does not return.
pub(crate) async fn accept(listener: &TcpListener, shared: &Arc<Shared>, tasks: &TaskTracker) {
    let mut exhausted = false;
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                exhausted = false;
                if let Some(served) = admit(shared, client, peer) {
                    tasks.spawn(served);
                }
            }
            Err(error) if is_exhausted(&error) => {
                if !exhausted {
                    tracing::error!(error = %error, "cannot accept for now");
                }
                exhausted = true;
                tokio::time::sleep(PAUSE).await;
            }
            // That one connection is gone already; the next one is not.
            Err(error) => tracing::debug!(error = %error, "a connection was gone before it was accepted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
