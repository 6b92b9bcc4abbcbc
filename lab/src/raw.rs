//! Packets that no program would send: of any protocol, with any source, with options, in parts.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with, sockopt};

use crate::netns;

const WORDS: u8 = 4;
/// The header without options.
const HEADER: usize = 20;
/// As programs have it: a packet that was forwarded has lost a hop.
const HOPS: u8 = 64;
const MORE_FRAGMENTS: u16 = 1 << 13;

/// An IPv4 packet. The kernel adds length, identifier and checksum of the header.
#[derive(Debug, Clone)]
pub struct Packet {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub protocol: u8,
    /// A multiple of four bytes.
    pub options: Vec<u8>,
    /// In units of eight bytes; a fragment if it is not 0.
    pub offset: u16,
    /// The identifier of what it is a fragment of; 0 is chosen by the kernel.
    pub identifier: u16,
    pub more: bool,
    pub payload: Vec<u8>,
}

impl Packet {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: Vec<u8>) -> Self {
        let (options, offset, identifier, more) = (Vec::new(), 0, 0, false);
        Self { source, destination, protocol, options, offset, identifier, more, payload }
    }

    pub fn udp(from: SocketAddrV4, to: SocketAddrV4, word: &[u8]) -> Self {
        let length = u16::try_from(8 + word.len()).unwrap_or(u16::MAX);
        let mut payload = Vec::new();
        for field in [from.port(), to.port(), length, 0] {
            payload.extend(field.to_be_bytes());
        }
        payload.extend(word);
        Self::new(*from.ip(), *to.ip(), 17, payload)
    }

    /// The first packet of a connection.
    pub fn tcp(from: SocketAddrV4, to: SocketAddrV4) -> Self {
        let mut payload = Vec::new();
        payload.extend(from.port().to_be_bytes());
        payload.extend(to.port().to_be_bytes());
        payload.extend([0; 8]);
        payload.extend([5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
        let sum = checksum(*from.ip(), *to.ip(), &payload);
        if let Some(field) = payload.get_mut(16..18) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        Self::new(*from.ip(), *to.ip(), 6, payload)
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        let length = u8::try_from((HEADER + self.options.len()) / usize::from(WORDS))?;
        let fragment = self.offset | if self.more { MORE_FRAGMENTS } else { 0 };
        let mut bytes = vec![4 << 4 | length, 0, 0, 0];
        bytes.extend(self.identifier.to_be_bytes());
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([HOPS, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        Ok(bytes)
    }
}

/// From whoever lives in `ns`, whatever it says about its source.
pub fn send(ns: &str, packet: &Packet) -> Result<()> {
    let bytes = packet.bytes()?;
    // With options of the source route kind, the kernel looks at where it goes next.
    let to = SocketAddrV4::new(packet.destination, 0);
    let socket = netns::inside(ns, || {
        Ok(socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))?)
    })?;
    sockopt::set_socket_broadcast(&socket, true)?;
    sendto(&socket, &bytes, SendFlags::empty(), &to)
        .with_context(|| format!("{ns} cannot send {packet:?}"))?;
    Ok(())
}

/// Of TCP, with the addresses that it is computed over.
fn checksum(source: Ipv4Addr, destination: Ipv4Addr, segment: &[u8]) -> u16 {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX).to_be_bytes();
    let pseudo = [&source.octets()[..], &destination.octets(), &[0, 6], &length].concat();
    let words = pseudo.chunks(2).chain(segment.chunks(2)).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
