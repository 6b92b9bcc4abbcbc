//! The bare splice relay: the least that a relay in user space can do, and so the limit for
//! every other. It knows its target, looks at nothing, logs nothing and keeps no time. Bytes go
//! through pipes of 256 KiB that all connections share.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, accept_with, bind, connect, ipproto, listen, shutdown,
    socket_with, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

const PIPE: usize = 256 * 1024;
const BACKLOG: i32 = 4096;
const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 256;
const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
const SOCKET: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);

struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

/// One direction.
#[derive(Default)]
struct Way {
    held: Option<(Pipe, usize)>,
    ended: bool,
    passed_on: bool,
}

struct Pair {
    client: OwnedFd,
    far: OwnedFd,
    up: Way,
    down: Way,
}

struct Relay {
    epoll: OwnedFd,
    target: SocketAddrV4,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    spare: Vec<Pipe>,
}

/// Relays from a port to a target, until it is killed.
pub(crate) fn run(port: u16, target: SocketAddrV4) -> Result<()> {
    let listener = tcp()?;
    sockopt::set_socket_reuseaddr(&listener, true)?;
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    listen(&listener, BACKLOG)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut relay = Relay { epoll, target, pairs: Vec::new(), free: Vec::new(), spare: Vec::new() };
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&relay.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll"),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => relay.accept(&listener)?,
                token => relay.ready(token, event.flags),
            }
        }
    }
}

impl Relay {
    fn accept(&mut self, listener: &OwnedFd) -> Result<()> {
        loop {
            let client = match accept_with(listener, SOCKET) {
                Ok(client) => client,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error).context("accept"),
            };
            let far = tcp()?;
            for socket in [&client, &far] {
                sockopt::set_tcp_nodelay(socket, true)?;
            }
            match connect(&far, &self.target) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(error) => return Err(error).context("connect"),
            }
            let slot = self.free.pop().unwrap_or(self.pairs.len());
            let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
            for (side, socket) in [&client, &far].into_iter().enumerate() {
                let token = u64::try_from(slot * 2 + side)?;
                epoll::add(&self.epoll, socket, EventData::new_u64(token), interest)?;
            }
            let pair = Some(Pair { client, far, up: Way::default(), down: Way::default() });
            match self.pairs.get_mut(slot) {
                Some(free) => *free = pair,
                None => self.pairs.push(pair),
            }
        }
    }

    fn ready(&mut self, token: u64, flags: EventFlags) {
        let Ok(token) = usize::try_from(token) else { return };
        let Some(slot) = self.pairs.get_mut(token / 2) else { return };
        // Gone by an event just before this one.
        let Some(pair) = slot else { return };
        let by_client = token % 2 == 0;
        let reads = flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let writes = flags.contains(EventFlags::OUT);
        let mut fine = true;
        if (by_client && reads) || (!by_client && writes) {
            fine &= pair.up.pump(&pair.client, &pair.far, &mut self.spare).is_ok();
        }
        if (by_client && writes) || (!by_client && reads) {
            fine &= pair.down.pump(&pair.far, &pair.client, &mut self.spare).is_ok();
        }
        if !fine || (pair.up.passed_on && pair.down.passed_on) {
            *slot = None;
            self.free.push(token / 2);
        }
    }
}

impl Way {
    /// Moves what can be moved now.
    fn pump(&mut self, from: &OwnedFd, to: &OwnedFd, spare: &mut Vec<Pipe>) -> rustix::io::Result<()> {
        while !self.passed_on {
            if let Some((pipe, inside)) = &mut self.held {
                match splice(&pipe.out, None, to, None, *inside, SPLICE) {
                    Ok(written) => *inside = inside.saturating_sub(written),
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(error) => return Err(error),
                }
                if let Some((pipe, _empty)) = self.held.take_if(|(_, inside)| *inside == 0) {
                    spare.push(pipe);
                }
            } else if self.ended {
                shutdown(to, Shutdown::Write)?;
                self.passed_on = true;
            } else {
                let pipe = spare.pop().map_or_else(Pipe::open, Ok)?;
                match splice(from, None, &pipe.into, None, PIPE, SPLICE) {
                    Ok(0) => {
                        self.ended = true;
                        spare.push(pipe);
                    }
                    Ok(taken) => self.held = Some((pipe, taken)),
                    Err(error) => {
                        spare.push(pipe);
                        return if error == Errno::AGAIN { Ok(()) } else { Err(error) };
                    }
                }
            }
        }
        Ok(())
    }
}

impl Pipe {
    fn open() -> rustix::io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(into.as_fd(), PIPE)?;
        Ok(Self { out, into })
    }
}

fn tcp() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::INET, SocketType::STREAM, SOCKET, Some(ipproto::TCP))
}
