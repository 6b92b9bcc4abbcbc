//! The two sockets of a forwarder's port, and whom they come from: the kernel, the service
//! manager, which kept them while no forwarder ran, or the forwarder before this one.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use listenfd::ListenFd;
use pgw_core::service::Service;

use crate::dns::udp::Datagrams;
use crate::listener::{self, BindError};

/// Their names at the service manager.
const LISTENER: &str = "connections";
const DATAGRAMS: &str = "datagrams";

/// More than it can keep for one forwarder.
const MOST_KEPT: usize = 16;

/// The sockets as they travel from one process to another.
#[derive(Debug)]
pub(crate) struct Sockets {
    listener: OwnedFd,
    datagrams: OwnedFd,
}

impl Sockets {
    pub(crate) fn of(listener: &impl AsFd, datagrams: &impl AsFd) -> io::Result<Self> {
        let copy = |socket: BorrowedFd<'_>| socket.try_clone_to_owned();
        Ok(Self { listener: copy(listener.as_fd())?, datagrams: copy(datagrams.as_fd())? })
    }

    /// In the order in which they are sent.
    pub(crate) fn as_fds(&self) -> [BorrowedFd<'_>; 2] {
        [self.listener.as_fd(), self.datagrams.as_fd()]
    }

    pub(crate) fn received(mut fds: Vec<OwnedFd>) -> Option<Self> {
        let (datagrams, listener) = (fds.pop()?, fds.pop()?);
        fds.is_empty().then_some(Self { listener, datagrams })
    }

    /// To serve with, if they are what they should be.
    pub(crate) fn take(self, port: u16) -> Result<(tokio::net::TcpListener, Datagrams), BindError> {
        let (listener, datagrams) = (TcpListener::from(self.listener), UdpSocket::from(self.datagrams));
        let wrong = || BindError::of(port, io::Error::other("what was handed over is for another port"));
        let is_ours = |at: io::Result<std::net::SocketAddr>| at.is_ok_and(|at| at.port() == port);
        if !is_ours(listener.local_addr()) || !is_ours(datagrams.local_addr()) {
            return Err(wrong());
        }
        let taken = listener::adopt(listener).and_then(|l| Ok((l, Datagrams::adopt(datagrams)?)));
        taken.map_err(|error| BindError::of(port, error))
    }
}

/// The port's sockets at a start: those that were kept, else new ones, which are kept from now on.
/// Who connects between two forwarders of the port waits for the next one.
pub(crate) fn open(port: u16, service: &Service) -> Result<(tokio::net::TcpListener, Datagrams), BindError> {
    let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
    let (listener, datagrams) = kept(port);
    let listener = listener.map_or_else(|| listener::bind(address), Ok)?;
    let datagrams = datagrams.map_or_else(|| Datagrams::bind(address), Ok)?;
    service.keep(LISTENER, listener.as_fd());
    service.keep(DATAGRAMS, datagrams.as_fd());
    Ok((listener, datagrams))
}

/// The port is to be free when this process has left it.
pub(crate) fn let_go(service: &Service) {
    service.let_go(LISTENER);
    service.let_go(DATAGRAMS);
}

/// What the service manager gave. It may have given one alone, or something else.
fn kept(port: u16) -> (Option<tokio::net::TcpListener>, Option<Datagrams>) {
    let (mut listener, mut datagrams) = (None, None);
    let mut given = ListenFd::from_env();
    for nth in 0..given.len().min(MOST_KEPT) {
        let is_ours = |at: io::Result<std::net::SocketAddr>| at.is_ok_and(|at| at.port() == port);
        if let Ok(Some(socket)) = given.take_tcp_listener(nth) {
            listener = Some(socket).filter(|s| is_ours(s.local_addr())).and_then(|s| listener::adopt(s).ok());
        } else if let Ok(Some(socket)) = given.take_udp_socket(nth) {
            datagrams =
                Some(socket).filter(|s| is_ours(s.local_addr())).and_then(|s| Datagrams::adopt(s).ok());
        }
    }
    (listener, datagrams)
}
