//! Where the client meant to go. A connection that did not come through the redirect meant to
//! go nowhere: pgw is no open proxy, and never dials itself.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// What the kernel knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) from: Ipv4Addr,
    /// Before the redirect.
    pub(crate) to: SocketAddrV4,
}

/// Asks for a connection's origin; tests bring an answer of their own.
pub(crate) type Lookup = Arc<dyn Fn(&TcpStream, SocketAddr) -> io::Result<Origin> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Direct {
    #[error("not redirected here: the kernel knows no original destination")]
    NoDestination(#[source] io::Error),
    #[error("dialled the forwarder itself")]
    Itself,
}

/// Asks the kernel's connection tracking.
pub(crate) fn kernel() -> Lookup {
    Arc::new(|stream, peer| match peer {
        SocketAddr::V4(peer) => Ok(Origin { from: *peer.ip(), to: sockopt::ip_original_dst(stream)? }),
        SocketAddr::V6(_) => Err(io::ErrorKind::Unsupported.into()),
    })
}

/// `own`: the port that it was accepted on.
pub(crate) fn origin(
    lookup: &Lookup,
    stream: &TcpStream,
    peer: SocketAddr,
    own: u16,
) -> Result<Origin, Direct> {
    let origin = lookup(stream, peer).map_err(Direct::NoDestination)?;
    // Only then can it be this machine's own address as well, which takes one more question.
    if origin.to.port() == own {
        let local = stream.local_addr().map_err(Direct::NoDestination)?;
        if SocketAddr::V4(origin.to) == local {
            return Err(Direct::Itself);
        }
    }
    Ok(origin)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_names_no_destination_but_the_forwarder_for_a_direct_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let own = listener.local_addr().unwrap().port();
        // With connection tracking loaded it is `Itself`, without it `NoDestination`.
        assert!(origin(&kernel(), &accepted, peer, own).is_err());
    }

    #[tokio::test]
    async fn only_a_destination_elsewhere_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let itself = listener.local_addr().unwrap().to_string().parse().unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let meant = |to: SocketAddrV4| Origin { from: Ipv4Addr::new(192, 0, 2, 9), to };
        let elsewhere = meant("192.0.2.1:443".parse().unwrap());
        let lookup: Lookup = Arc::new(move |_stream, _peer| Ok(elsewhere));
        assert_eq!(origin(&lookup, &accepted, peer, own).unwrap(), elsewhere);
        let lookup: Lookup = Arc::new(move |_stream, _peer| Ok(meant(itself)));
        assert!(matches!(origin(&lookup, &accepted, peer, own), Err(Direct::Itself)));
    }
}
