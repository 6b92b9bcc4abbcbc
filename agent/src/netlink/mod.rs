//! A socket to the kernel's netfilter, for the two things that `nft` cannot do for us: telling
//! at once that somebody changed a table, and ending flows. Both are a handful of fixed messages,
//! written and read here byte by byte: no library for them is kept up well enough to be worth
//! its weight (docs/decisions/0010).

pub(crate) mod message;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, socket_with};

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
    pub(crate) fn open() -> io::Result<Self> {
        let socket = Self::bound(0, SocketFlags::CLOEXEC)?;
        sockopt::set_socket_timeout(&socket.fd, Timeout::Recv, Some(PATIENCE))?;
        Ok(socket)
    }

    /// For news of these groups (a bit each); never waits.
    pub(crate) fn listen(groups: u32) -> io::Result<Self> {
        let socket = Self::bound(groups, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        // Without the right to go beyond the machine's limit, up to it.
        sockopt::set_socket_recv_buffer_size_force(&socket.fd, ROOM)
            .or_else(|_limited| sockopt::set_socket_recv_buffer_size(&socket.fd, ROOM))?;
        Ok(socket)
    }

    fn bound(groups: u32, flags: SocketFlags) -> io::Result<Self> {
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(NETFILTER))?;
        bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { fd, buffer: vec![0; LARGEST] })
    }

    pub(crate) fn send(&self, request: &[u8]) -> io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.fd, request, SendFlags::empty(), &kernel)?;
        Ok(())
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
