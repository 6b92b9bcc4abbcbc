//! Distance: every packet that comes to the far end waits, in the order of its coming, and a few
//! are lost if that is wanted. The kernel hands packets to this process by a netfilter queue, and
//! takes them back when their time has come. Kernels of small machines often have such a queue and
//! no netem qdisc, and it leaves large packets whole.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};
use serde::{Deserialize, Serialize};

use crate::command;

/// More packets than any measurement has on their way.
const LONGEST: u32 = 65_536;
const BUFFER: usize = 16 << 20;

/// Of the queue's protocol (linux/netfilter/nfnetlink_queue.h): subsystem 3 in the upper byte.
const PACKET: u16 = 0x0300;
const CONFIG: u16 = 0x0302;
const VERDICT: u16 = 0x0301;
const VERDICT_BATCH: u16 = 0x0303;
const REQUEST: u16 = 1;
const HEADER: usize = 16 + 4;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;

/// What becomes of packets: a queue each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Distance {
    Far,
    /// And of a thousand packets five do not arrive.
    FarAndLossy,
}

impl Distance {
    fn queue(self) -> u16 {
        match self {
            Self::Far => 1,
            Self::FarAndLossy => 2,
        }
    }

    fn lost_of_a_thousand(self) -> u64 {
        match self {
            Self::Far => 0,
            Self::FarAndLossy => 5,
        }
    }
}

/// Says that packets wait from now on; nothing does when it is taken back.
pub(crate) async fn lead(ns: &str, distance: Distance) -> Result<()> {
    rule(ns, "--append", distance).await
}

pub(crate) async fn lead_no_more(ns: &str, distance: Distance) -> Result<()> {
    rule(ns, "--delete", distance).await
}

/// By iptables: a kernel may have its queue and not the one of nft.
async fn rule(ns: &str, what: &str, distance: Distance) -> Result<()> {
    let queue = distance.queue().to_string();
    let words = ["iptables", "--wait", what, "INPUT", "--jump", "NFQUEUE", "--queue-num", &queue];
    command::ok(ns, &words).await.map(drop)
}

/// The same packets are lost in every run (xorshift, by Marsaglia).
struct Dice(u64);

impl Dice {
    fn of_a_thousand(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 1000
    }
}

/// Keeps packets waiting until it is killed.
pub(crate) fn run(wait: Duration, distance: Distance) -> Result<()> {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let queue = distance.queue();
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::NETFILTER),
    )?;
    // Only a wish: without the privilege the kernel's own limit stays.
    let _refused = sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER);
    configure(&socket, queue).context("this kernel has no netfilter queue (module nfnetlink_queue)")?;
    let mut waiting: VecDeque<(Instant, u32)> = VecDeque::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let patience =
            waiting.front().map(|(due, _)| timespec(due.saturating_duration_since(Instant::now())));
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], patience.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        loop {
            let length = match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => break,
                Err(Errno::NOBUFS) => bail!("packets were lost on their way to the distance"),
                Err(error) => return Err(error.into()),
            };
            let due = Instant::now() + wait;
            for message in messages(buffer.get(..length).unwrap_or_default()) {
                let Some(id) = packet_id(message)? else { continue };
                if dice.of_a_thousand() < distance.lost_of_a_thousand() {
                    let verdict = [DROP.to_be_bytes(), id.to_be_bytes()].concat();
                    tell(&socket, queue, VERDICT, &[attribute(2, &verdict)])?;
                } else {
                    waiting.push_back((due, id));
                }
            }
        }
        let now = Instant::now();
        let mut last = None;
        while let Some((_, id)) = waiting.pop_front_if(|(due, _)| *due <= now) {
            last = Some(id);
        }
        if let Some(id) = last {
            // Numbers grow, and this verdict is for all up to this one.
            let verdict = [ACCEPT.to_be_bytes(), id.to_be_bytes()].concat();
            tell(&socket, queue, VERDICT_BATCH, &[attribute(2, &verdict)])?;
        }
    }
}

fn configure(socket: &OwnedFd, queue: u16) -> Result<()> {
    let bind = [1, 0, 0, 0];
    // No byte of the packet itself is wanted.
    let only_its_number = [0, 0, 0, 0, 1];
    let whole = 4_u32.to_be_bytes();
    tell(socket, queue, CONFIG, &[attribute(1, &bind)])?;
    tell(socket, queue, CONFIG, &[attribute(2, &only_its_number)])?;
    tell(socket, queue, CONFIG, &[attribute(3, &LONGEST.to_be_bytes())])?;
    tell(socket, queue, CONFIG, &[attribute(4, &whole), attribute(5, &whole)])
}

fn tell(socket: &OwnedFd, queue: u16, kind: u16, attributes: &[Vec<u8>]) -> Result<()> {
    let attributes = attributes.concat();
    let length = u32::try_from(HEADER + attributes.len())?;
    let head = [
        &length.to_ne_bytes()[..],
        &kind.to_ne_bytes(),
        &REQUEST.to_ne_bytes(),
        &[0; 8],
        // Any family, version 0, and the queue.
        &[0, 0],
        &queue.to_be_bytes(),
    ];
    send(socket, &[&head.concat()[..], &attributes].concat(), SendFlags::empty())?;
    Ok(())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Cuts a datagram into its messages.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*bytes.first_chunk()?)).ok()?;
        let (message, rest) = bytes.split_at_checked(length.max(HEADER))?;
        bytes = rest.get(length.next_multiple_of(4) - length..).unwrap_or_default();
        Some(message)
    })
}

/// The number of a packet that waits; none if the message is about something else.
fn packet_id(message: &[u8]) -> Result<Option<u32>> {
    let kind = message.get(4..).and_then(|rest| rest.first_chunk()).map(|kind| u16::from_ne_bytes(*kind));
    let body = message.get(16..).unwrap_or_default();
    match kind {
        Some(PACKET) => {}
        // An error; 0 would say that all is well.
        Some(2) => match body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
            Some(0) | None => return Ok(None),
            Some(code) => return Err(std::io::Error::from_raw_os_error(-code).into()),
        },
        _ => return Ok(None),
    }
    let mut attributes = message.get(HEADER..).unwrap_or_default();
    while let Some((head, _)) = attributes.split_first_chunk::<4>() {
        let [a, b, c, d] = *head;
        let length = usize::from(u16::from_ne_bytes([a, b])).max(4);
        if u16::from_ne_bytes([c, d]) == 1 {
            let id = attributes.get(4..).and_then(|value| value.first_chunk());
            return Ok(id.map(|id| u32::from_be_bytes(*id)));
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(None)
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    #[test]
    fn about_as_many_packets_are_lost_as_shall_be() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let lost = Distance::FarAndLossy.lost_of_a_thousand();
        let count = (0..100_000).filter(|_| dice.of_a_thousand() < lost).count();
        assert!((450..550).contains(&count), "{count} of 100,000");
    }

    #[test]
    fn every_packet_of_a_datagram_is_found_and_nothing_else() {
        let packet = |id: u32| {
            let header = [&id.to_be_bytes()[..], &[8, 0, 1]].concat();
            message(PACKET, &[&[0; 4][..], &attribute(4, &[0; 4]), &attribute(1, &header)].concat())
        };
        let other = message(0x0301, &[0; 8]);
        let fine = message(2, &[0; 20]);
        let bytes = [packet(7), other, fine, packet(8)].concat();
        let ids: Vec<u32> = messages(&bytes).filter_map(|message| packet_id(message).unwrap()).collect();
        assert_eq!(ids, [7, 8]);
        assert!(packet_id(&message(2, &[&(-1_i32).to_ne_bytes()[..], &[0; 16]].concat())).is_err());
        assert_eq!(messages(&[0; 3]).count() + messages(&[255; 40]).count(), 0);
    }
}
