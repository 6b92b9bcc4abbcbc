//! The client's questions by datagram. An answer leaves from the very address that the
//! question came to, or the kernel would not undo the redirect and the client not know it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Carrier, MAX_QUESTIONS, answer};
use crate::listener::BindError;
use crate::serve::Shared;

/// A question is short; what is longer is none.
const MAX_DATAGRAM: usize = 4096;
/// Those that wait for resolvers, and some that the cache answers at once.
const MAX_HEARD: usize = MAX_QUESTIONS + 64;

/// Out of memory, reading at once again would only burn the processor.
const PAUSE: Duration = Duration::from_millis(100);

/// The forwarder's port for datagrams.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    /// Who a source address is; tests on the loopback see somebody else.
    pub(crate) seen_as: fn(Ipv4Addr) -> Ipv4Addr,
}

/// One datagram and the way back.
struct Datagram {
    bytes: Vec<u8>,
    peer: SocketAddrV4,
    /// The gateway's address that it was sent, or redirected, to.
    local: in_addr,
}

impl AsFd for Datagrams {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Datagrams {
    pub(crate) fn bind(address: SocketAddrV4) -> Result<Self, BindError> {
        let port = address.port();
        listen(address).and_then(Self::adopt).map_err(|error| BindError::of(port, error))
    }

    /// One that another process of this port has made.
    pub(crate) fn adopt(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: UdpSocket::from_std(socket)?, seen_as: std::convert::identity })
    }

    #[cfg(test)]
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// None when it was not whole or came from nowhere.
    async fn receive(&self) -> io::Result<Option<Datagram>> {
        let socket = &self.socket;
        socket.async_io(Interest::READABLE, || receive(socket)).await
    }

    async fn send(&self, bytes: &[u8], peer: SocketAddrV4, local: in_addr) -> io::Result<()> {
        let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: local, ipi_addr: in_addr { s_addr: 0 } };
        let socket = &self.socket;
        let send = || {
            let from = [ControlMessage::Ipv4PacketInfo(&info)];
            let to = SockaddrIn::from(peer);
            let sent =
                sendmsg(socket.as_raw_fd(), &[IoSlice::new(bytes)], &from, MsgFlags::empty(), Some(&to));
            sent.map(drop).map_err(io::Error::from)
        };
        socket.async_io(Interest::WRITABLE, send).await
    }
}

fn listen(address: SocketAddrV4) -> io::Result<std::net::UdpSocket> {
    // No SO_REUSEADDR: for datagrams it would let two forwarders have one port.
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn receive(socket: &UdpSocket) -> io::Result<Option<Datagram>> {
    let mut bytes = [0; MAX_DATAGRAM];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let mut about = nix::cmsg_space!(in_pktinfo);
    let heard = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut parts, Some(&mut about), MsgFlags::empty())?;
    let local = heard.cmsgs()?.find_map(|about| match about {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_spec_dst),
        _ => None,
    });
    let whole = !heard.flags.contains(MsgFlags::MSG_TRUNC);
    let (peer, length) = (heard.address.map(SocketAddrV4::from), heard.bytes);
    Ok(match (peer, local, bytes.get(..length)) {
        (Some(peer), Some(local), Some(bytes)) if whole && peer.port() != 0 => {
            Some(Datagram { bytes: bytes.to_vec(), peer, local })
        }
        _ => None,
    })
}

/// Answers the client and nobody else, and does not return. Dropped, it lets go of the port
/// at once: unlike a connection, a question can be asked again of the next forwarder.
pub(crate) async fn serve(datagrams: &Datagrams, shared: &Shared) {
    let mut answers = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = answers.next() => {}
            heard = datagrams.receive(), if answers.len() < MAX_HEARD => match heard {
                Ok(Some(heard)) => {
                    let client = shared.flag.borrow().client.ip_cidr.addr();
                    if (datagrams.seen_as)(*heard.peer.ip()) == client {
                        answers.push(Box::pin(respond(datagrams, shared, heard)));
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error = %error, "a datagram could not be read");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

async fn respond(datagrams: &Datagrams, shared: &Shared, heard: Datagram) {
    if let Some(reply) = answer(shared, &heard.bytes, Carrier::Datagram).await
        && let Err(error) = datagrams.send(&reply, heard.peer, heard.local).await
    {
        tracing::debug!(error = %error, "an answer could not be sent");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_forwarders_never_have_one_port_for_datagrams() {
        let first = Datagrams::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.address().to_string().parse().unwrap();
        assert!(matches!(Datagrams::bind(address), Err(BindError::Taken(_))));
        drop(first);
        Datagrams::bind(address).unwrap();
    }

    #[tokio::test]
    async fn an_answer_comes_from_the_address_that_was_asked() {
        let everywhere = Datagrams::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for asked in ["127.0.0.1", "127.0.0.2", "127.9.9.9"] {
            let to = (asked, everywhere.address().port());
            client.send_to(b"question", to).await.unwrap();
            let heard = everywhere.receive().await.unwrap().unwrap();
            assert_eq!(heard.bytes, b"question");
            everywhere.send(b"answer", heard.peer, heard.local).await.unwrap();
            let (_, from) = client.recv_from(&mut [0; 16]).await.unwrap();
            assert_eq!(from.ip().to_string(), asked);
        }
    }

    #[tokio::test]
    async fn a_datagram_that_is_too_long_for_a_question_is_none() {
        let datagrams = Datagrams::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for (length, want) in [(MAX_DATAGRAM, true), (MAX_DATAGRAM + 1, false), (0, true)] {
            client.send_to(&vec![0; length], datagrams.address()).await.unwrap();
            assert_eq!(datagrams.receive().await.unwrap().is_some(), want, "{length}");
        }
    }
}
