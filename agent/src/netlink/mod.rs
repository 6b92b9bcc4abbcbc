//! A socket to the kernel, for what `nft` cannot do for us: telling at once that somebody changed
//! a table, ending flows, who is on the LAN, and the ground for a leak drill. All are a handful of
//! fixed messages,
//! written and read here byte by byte: no library for them is kept up well enough to be worth
//! its weight (docs/decisions/0010).

pub(crate) mod message;
pub(crate) mod route;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use message::{DONE, ERROR, Message, messages};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, socket_with,
};

/// Twice what the kernel puts into one datagram.
const LARGEST: usize = 64 << 10;
/// The notice of a full load of ten thousand clients, for a reader that is late.
const ROOM: usize = 8 << 20;
/// The kernel answers within the call; this is for a kernel that does not.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// What was there to be received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    Messages(&'a [u8]),
    /// The kernel had more to say than there was room for, and did not keep it.
    Lost,
    Nothing,
}

impl Socket {
    /// For questions; a wait for an answer is bounded.
    pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let socket = Self::bound(protocol, 0, SocketFlags::CLOEXEC)?;
        sockopt::set_socket_timeout(&socket.fd, Timeout::Recv, Some(PATIENCE))?;
        Ok(socket)
    }

    /// For news of netfilter, of these groups (a bit each); never waits.
    pub(crate) fn listen(groups: u32) -> io::Result<Self> {
        let socket = Self::bound(Some(NETFILTER), groups, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        // Without the right to go beyond the machine's limit, up to it.
        sockopt::set_socket_recv_buffer_size_force(&socket.fd, ROOM)
            .or_else(|_limited| sockopt::set_socket_recv_buffer_size(&socket.fd, ROOM))?;
        Ok(socket)
    }

    fn bound(protocol: Option<Protocol>, groups: u32, flags: SocketFlags) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; LARGEST] })
    }

    pub(crate) fn send(&self, request: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, request, SendFlags::empty(), &kernel)?;
        Ok(())
    }

    /// Asks for a list and shows its entries, until there is no more or enough of them.
    pub(crate) fn list(
        &mut self,
        question: &[u8],
        mut goes_on: impl FnMut(&Message<'_>) -> bool,
    ) -> io::Result<()> {
        self.send(question)?;
        loop {
            for message in messages(self.answer()?) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => {
                        return Err(io::Error::from_raw_os_error(message.errno().unwrap_or_default()));
                    }
                    _ if goes_on(&message) => {}
                    _ => return Ok(()),
                }
            }
        }
    }

    /// What comes to a question that was sent.
    pub(crate) fn answer(&mut self) -> io::Result<&[u8]> {
        match self.receive()? {
            Received::Messages(bytes) => Ok(bytes),
            Received::Nothing => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer in time"))
            }
            Received::Lost => Err(io::Error::other("the answer was lost")),
        }
    }

    pub(crate) fn receive(&mut self) -> io::Result<Received<'_>> {
        loop {
            let got = rustix::net::recvfrom(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC);
            let (kept, length, from) = match got {
                Ok(got) => got,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::NOBUFS) => return Ok(Received::Lost),
                Err(error) => return Err(error.into()),
            };
            let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
            if from.is_none_or(|from| from.pid() != 0) {
                // Only the kernel is asked here, and only it is believed.
                continue;
            }
            if length > kept {
                return Ok(Received::Lost);
            }
            return Ok(Received::Messages(self.buffer.get(..kept).unwrap_or_default()));
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
