//! The drill's packets, whole: no program of the gateway takes part in sending them.

use std::net::IpAddr;

use crate::nft::drill::Canary;

type Mac = [u8; 6];

/// Locally administered, and nobody's.
const SENDER: Mac = [0x02, 0x70, 0x67, 0x77, 0x00, 0x01];
const HOPS: u8 = 64;
/// Of the range from which devices take the port of their own end.
const OWN_PORT: u16 = 51_007;
const OTHER_PORT: u16 = 9_999;
const WORDS: &[u8] = b"pgw leak drill";

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// An Ethernet frame. `None` if the addresses are not of the canary's kind.
pub(super) fn frame(canary: Canary, from: IpAddr, to: IpAddr, receiver: Mac, number: u16) -> Option<Vec<u8>> {
    let (protocol, mut segment, sum_at) = segment(canary, number);
    let (ethertype, header): (u16, Vec<u8>) = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) if !canary.is_ipv6() => {
            let length = u16::try_from(20 + segment.len()).ok()?;
            let mut header = vec![0x45, 0];
            header.extend(length.to_be_bytes());
            header.extend(number.to_be_bytes());
            header.extend([0x40, 0, HOPS, protocol, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&[&header]);
            write(&mut header, 10, sum);
            // ICMP is the one that does not sum up the addresses.
            let pseudo = match protocol {
                ICMP => Vec::new(),
                _ => pseudo_header(&from.octets(), &to.octets(), protocol, segment.len()),
            };
            let sum = checksum(&[&pseudo, &segment]);
            write(&mut segment, sum_at, sum);
            (0x0800, header)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) if canary.is_ipv6() => {
            let length = u16::try_from(segment.len()).ok()?;
            let mut header = vec![0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([protocol, HOPS]);
            header.extend(from.octets());
            header.extend(to.octets());
            let pseudo = pseudo_header(&from.octets(), &to.octets(), protocol, segment.len());
            let sum = checksum(&[&pseudo, &segment]);
            write(&mut segment, sum_at, sum);
            (0x86dd, header)
        }
        _ => return None,
    };
    Some([&receiver[..], &SENDER, &ethertype.to_be_bytes(), &header, &segment].concat())
}

/// What is in the packet, and where its checksum stands.
fn segment(canary: Canary, number: u16) -> (u8, Vec<u8>, usize) {
    match canary {
        Canary::Http => tcp(80, number),
        Canary::Https | Canary::Tcp6 => tcp(443, number),
        Canary::DnsTcp => tcp(53, number),
        Canary::OtherTcp => tcp(OTHER_PORT, number),
        Canary::DnsUdp => udp(53, number, &question(number)),
        // The long header of a first packet, version 1.
        Canary::Quic | Canary::Udp6 => udp(443, number, &[0xc0, 0, 0, 0, 1, 0, 0]),
        Canary::OtherUdp => udp(OTHER_PORT, number, WORDS),
        Canary::Ping => (ICMP, echo(8, number), 2),
        Canary::Ping6 => (ICMPV6, echo(128, number), 2),
    }
}

/// A SYN, which opens nothing: nobody answers it.
fn tcp(port: u16, number: u16) -> (u8, Vec<u8>, usize) {
    let mut segment = Vec::new();
    segment.extend(OWN_PORT.wrapping_add(number).to_be_bytes());
    segment.extend(port.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    (TCP, segment, 16)
}

fn udp(port: u16, number: u16, payload: &[u8]) -> (u8, Vec<u8>, usize) {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut segment = Vec::new();
    segment.extend(OWN_PORT.wrapping_add(number).to_be_bytes());
    segment.extend(port.to_be_bytes());
    segment.extend(length.to_be_bytes());
    segment.extend([0, 0]);
    segment.extend_from_slice(payload);
    (UDP, segment, 6)
}

fn echo(kind: u8, number: u16) -> Vec<u8> {
    let mut segment = vec![kind, 0, 0, 0, 0x70, 0x67];
    segment.extend(number.to_be_bytes());
    segment.extend_from_slice(WORDS);
    segment
}

/// For the address of `drill.invalid`, a name that cannot exist.
fn question(number: u16) -> Vec<u8> {
    let mut question = number.to_be_bytes().to_vec();
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    question.extend_from_slice(b"\x05drill\x07invalid\0");
    question.extend([0, 1, 0, 1]);
    question
}

fn pseudo_header(from: &[u8], to: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    [from, to, &length.to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

/// Of the internet: one's complement, of all parts one behind the other.
fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let (words, last) = bytes.as_chunks::<2>();
    let last = last.first().map_or(0, |byte| u64::from(*byte) << 8);
    let mut sum: u64 = words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>() + last;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    match !u16::try_from(sum).unwrap_or(u16::MAX) {
        // In UDP zero says that there is none.
        0 => 0xffff,
        sum => sum,
    }
}

fn write(bytes: &mut [u8], at: usize, number: u16) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(number.to_be_bytes()) {
        *place = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::drill::{CLOSED, CLOSED6, TARGET, TARGET6};

    fn packet(canary: Canary) -> Vec<u8> {
        let (from, to): (IpAddr, IpAddr) = match canary.is_ipv6() {
            true => (CLOSED6.into(), TARGET6.into()),
            false => (CLOSED.into(), TARGET.into()),
        };
        frame(canary, from, to, [7; 6], 2).unwrap().split_off(14)
    }

    #[test]
    fn every_canary_is_a_packet_whose_checksums_a_receiver_finds_right() {
        for canary in Canary::ALL {
            let packet = packet(canary);
            let (header, segment) = packet.split_at(if canary.is_ipv6() { 40 } else { 20 });
            let (protocol, addresses) =
                if canary.is_ipv6() { (header[6], &header[8..]) } else { (header[9], &header[12..]) };
            // All of it with the sum in it sums up to nothing.
            if !canary.is_ipv6() {
                assert_eq!(checksum(&[header]), 0xffff, "{}", canary.name());
                assert_eq!(usize::from(u16::from_be_bytes([header[2], header[3]])), packet.len());
            }
            let (from, to) = addresses.split_at(addresses.len() / 2);
            let pseudo = match protocol {
                ICMP => Vec::new(),
                _ => pseudo_header(from, to, protocol, segment.len()),
            };
            assert_eq!(checksum(&[&pseudo, segment]), 0xffff, "{}", canary.name());
        }
    }

    #[test]
    fn a_known_header_has_the_known_checksum() {
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
            0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&[&header]), 0xb861);
    }

    #[test]
    fn addresses_of_the_other_kind_make_no_packet() {
        let (v4, v6) = (IpAddr::from(CLOSED), IpAddr::from(TARGET6));
        assert_eq!(frame(Canary::Ping, v6, v6, [7; 6], 0), None);
        assert_eq!(frame(Canary::Ping6, v4, v4, [7; 6], 0), None);
        assert_eq!(frame(Canary::Quic, v4, v6, [7; 6], 0), None);
    }
}
