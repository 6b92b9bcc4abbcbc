//! The public port of a tunnel, for UDP: one conversation per visitor, each with a channel.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pgw_core::ids::TunnelId;
use socket2::{Domain, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Gateway;
use super::tcp::OPENED;
use super::tunnel::{Seat, Tunnel};
use crate::relay::datagrams::{Datagrams, Socket as Ends};
use crate::wire::frame;

/// What may wait for one visitor's channel.
const WAITING: usize = 256 * 1024;
/// What the kernel may keep for us, if it lets us.
const KERNEL: usize = 4 * 1024 * 1024;
const LONGEST: usize = 65_535;

pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    // A smaller buffer drops sooner, and nothing else.
    let _smaller = socket.set_recv_buffer_size(KERNEL);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Datagrams of one visitor that wait for its channel.
#[derive(Default)]
struct Inbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Each behind its length.
    bytes: Vec<u8>,
    at: usize,
    reader: Option<Waker>,
    /// Its conversation is over: the next datagram begins another.
    over: bool,
}

/// A visitor's side of its conversation.
struct Visitor {
    inbox: Arc<Inbox>,
    socket: Arc<UdpSocket>,
    address: SocketAddr,
}

/// Until told to stop. The socket is the port: when this returns, nobody holds it any more.
pub(super) async fn listen(gateway: Arc<Gateway>, id: TunnelId, socket: UdpSocket, stop: CancellationToken) {
    let socket = Arc::new(socket);
    let mut inboxes = HashMap::<SocketAddr, Arc<Inbox>>::new();
    let mut room = vec![0; LONGEST];
    let conversations = TaskTracker::new();
    let mut sweep_at = 64;
    while let Some(received) = stop.run_until_cancelled(socket.recv_from(&mut room)).await {
        // An ICMP error for what was sent to somebody who is gone.
        let Ok((length, address)) = received else { continue };
        let Some(datagram) = room.get(..length) else { continue };
        if inboxes.get(&address).is_some_and(|inbox| inbox.put(datagram)) {
            continue;
        }
        let Some(tunnel) = gateway.tunnel_of(id) else { continue };
        let Ok(seat) = tunnel.enter(address.ip()) else { continue };
        let inbox = Arc::<Inbox>::default();
        inbox.put(datagram);
        inboxes.insert(address, inbox.clone());
        let visitor = Visitor { inbox, socket: socket.clone(), address };
        conversations.spawn(converse(visitor, tunnel, seat, stop.clone()));
        if inboxes.len() >= sweep_at {
            inboxes.retain(|_, inbox| !inbox.waiting().over);
            sweep_at = 64 + 2 * inboxes.len();
        }
    }
    conversations.close();
    conversations.wait().await;
}

async fn converse(visitor: Visitor, tunnel: Arc<Tunnel>, seat: Seat, stop: CancellationToken) {
    let session = seat.guest.session().clone();
    let inbox = visitor.inbox.clone();
    let carried = async {
        let Ok(Ok(channel)) = timeout(OPENED, session.channel()).await else { return };
        let opening = frame::open(&tunnel.opening(true, visitor.address).encode()).unwrap_or_default();
        let (up, down) = seat.flows(&tunnel);
        let idle = Duration::from_secs(tunnel.spec.udp_idle_s.max(1).into());
        let ended = Datagrams::new(visitor, channel, opening, idle).with(up, down).run().await;
        if let Some(channel) = ended.channel {
            session.lanes.give_back(channel);
        }
    };
    tokio::select! {
        () = carried => {}
        () = session.over.cancelled() => {}
        () = tunnel.over.cancelled() => {}
        () = stop.cancelled() => {}
    }
    inbox.waiting().over = true;
    drop(seat);
}

impl Inbox {
    /// False: nobody reads it any more. What finds no room is dropped.
    fn put(&self, datagram: &[u8]) -> bool {
        let mut waiting = self.waiting();
        if waiting.over {
            return false;
        }
        let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        if waiting.at >= WAITING {
            let read = std::mem::take(&mut waiting.at);
            waiting.bytes.drain(..read);
        }
        if waiting.bytes.len() - waiting.at + datagram.len() <= WAITING {
            waiting.bytes.extend(length.to_be_bytes());
            waiting.bytes.extend(datagram);
        }
        if let Some(reader) = waiting.reader.take() {
            reader.wake();
        }
        true
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends for Visitor {
    fn poll_receive(&mut self, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.inbox.waiting();
        let Waiting { bytes, at, .. } = &mut *waiting;
        let next = bytes.get(*at..).and_then(|rest| rest.split_first_chunk::<2>());
        let next = next.and_then(|(length, rest)| rest.get(..usize::from(u16::from_be_bytes(*length))));
        if let Some(datagram) = next {
            to.put_slice(datagram);
            *at += 2 + datagram.len();
            return Poll::Ready(Ok(()));
        }
        bytes.clear();
        *at = 0;
        if bytes.capacity() > LONGEST {
            bytes.shrink_to(0);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_send(&mut self, _cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<usize>> {
        // One socket for all conversations: none of them waits for it, and what finds no room is lost.
        Poll::Ready(self.socket.try_send_to(datagram, self.address))
    }
}
