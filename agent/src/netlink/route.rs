//! Links, routes and what redirects packets between links: the few messages that a leak drill
//! needs, and the kernel's yes or no to each.

use std::io;
use std::net::IpAddr;

use super::message::{ACK, ERROR, messages, put, put_nested, request_with};
use super::{Received, Socket};

const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_QDISC: u16 = 36;
const NEW_FILTER: u16 = 44;

const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;

const UP: u32 = 1;
const LINK_ADDRESS: u16 = 1;
const LINK_NAME: u16 = 3;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const INFO_DATA: u16 = 2;
const VETH_PEER: u16 = 1;

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const MAIN_TABLE: u8 = 254;
/// By which the drill's routes can be told from others: not one of those that are taken.
const ROUTE_PROTOCOL: u8 = 197;
const SCOPE_LINK: u8 = 253;
const UNICAST: u8 = 1;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_LINK: u16 = 4;
const ROUTE_METRIC: u16 = 6;
/// IPv6 gives a number of its own to who names none, and then does not find it again.
const METRIC: u32 = 1;

const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
const TC_KIND: u16 = 1;
const TC_OPTIONS: u16 = 2;
const U32_SELECTOR: u16 = 5;
const U32_ACTION: u16 = 7;
const ACTION_KIND: u16 = 1;
const ACTION_OPTIONS: u16 = 2;
const MIRRED_PARAMETERS: u16 = 2;
const STOLEN: u32 = 4;
/// As if it had been received there.
const INGRESS_REDIRECT: u32 = 3;
const TERMINAL: u8 = 1;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// One end of a cable. Its address is given: what finds one that is made up may change it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End {
    pub(crate) name: &'static str,
    pub(crate) address: [u8; 6],
}

/// A cable: what goes in here comes out there.
pub(crate) fn add_cable(near: End, far: End) -> io::Result<()> {
    let (mut peer, mut data, mut info) = (link_header(0), Vec::new(), Vec::new());
    put_end(&mut peer, far);
    put(&mut data, VETH_PEER, &peer);
    put(&mut info, INFO_KIND, b"veth");
    put_nested(&mut info, INFO_DATA, &data);
    let mut body = link_header(0);
    put_end(&mut body, near);
    put_nested(&mut body, LINK_INFO, &info);
    ask(NEW_LINK, CREATE | EXCLUSIVE, &body)?;
    // An end that has no other yet cannot be up.
    for end in [near, far] {
        let mut body = link_header(UP);
        put(&mut body, LINK_NAME, &zero_ended(end.name));
        ask(NEW_LINK, 0, &body)?;
    }
    Ok(())
}

fn put_end(bytes: &mut Vec<u8>, end: End) {
    put(bytes, LINK_ADDRESS, &end.address);
    put(bytes, LINK_NAME, &zero_ended(end.name));
}

pub(crate) fn delete_link(name: &str) -> io::Result<()> {
    let mut body = link_header(0);
    put(&mut body, LINK_NAME, &zero_ended(name));
    ask(DELETE_LINK, 0, &body)
}

/// Only this address, by this link, in the main table.
pub(crate) fn add_route(to: IpAddr, link: u32) -> io::Result<()> {
    ask(NEW_ROUTE, CREATE | EXCLUSIVE, &route(to, Some(link)))
}

pub(crate) fn delete_route(to: IpAddr) -> io::Result<()> {
    ask(DELETE_ROUTE, 0, &route(to, None))
}

/// Takes what leaves by `link` to where `redirect` says.
pub(crate) fn watch_egress(link: u32) -> io::Result<()> {
    let mut body = traffic_header(link, CLSACT_HANDLE, CLSACT, 0);
    put(&mut body, TC_KIND, b"clsact\0");
    ask(NEW_QDISC, CREATE | EXCLUSIVE, &body)
}

/// What leaves `link` with a source that agrees with `from` in `bits` bits is received on `to`
/// instead, as if it had come in there.
pub(crate) fn redirect(link: u32, from: IpAddr, bits: u32, to: u32) -> io::Result<()> {
    let (ethertype, offset, address): (u16, u32, Vec<u8>) = match from {
        IpAddr::V4(v4) => (ETHERTYPE_IPV4, 12, v4.octets().into()),
        IpAddr::V6(v6) => (ETHERTYPE_IPV6, 8, v6.octets().into()),
    };
    let (words, _rest) = address.as_chunks::<4>();
    let mut selector = vec![TERMINAL, 0, u8::try_from(words.len()).unwrap_or_default(), 0];
    selector.resize(16, 0);
    for (word, n) in words.iter().zip(0_u32..) {
        let free = 32 - bits.saturating_sub(32 * n).min(32);
        let mask = u32::MAX.checked_shl(free).unwrap_or_default();
        selector.extend(mask.to_be_bytes());
        selector.extend((u32::from_be_bytes(*word) & mask).to_be_bytes());
        selector.extend((offset + 4 * n).to_ne_bytes());
        selector.extend([0; 4]);
    }
    let parameters: Vec<u8> =
        [0, 0, STOLEN, 0, 0, INGRESS_REDIRECT, to].iter().flat_map(|number| number.to_ne_bytes()).collect();
    let (mut how, mut action, mut actions, mut options) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    put(&mut how, MIRRED_PARAMETERS, &parameters);
    put(&mut action, ACTION_KIND, b"mirred\0");
    put_nested(&mut action, ACTION_OPTIONS, &how);
    put_nested(&mut actions, 1, &action);
    put(&mut options, U32_SELECTOR, &selector);
    put_nested(&mut options, U32_ACTION, &actions);
    let mut body = traffic_header(link, 0, CLSACT_EGRESS, u32::from(ethertype.to_be()));
    put(&mut body, TC_KIND, b"u32\0");
    put_nested(&mut body, TC_OPTIONS, &options);
    ask(NEW_FILTER, CREATE | EXCLUSIVE, &body)
}

/// Of a link that is known by its name.
fn link_header(flags: u32) -> Vec<u8> {
    [0, 0, flags, flags].iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn traffic_header(link: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    [0, link, handle, parent, info].iter().flat_map(|number| number.to_ne_bytes()).collect()
}

fn route(to: IpAddr, link: Option<u32>) -> Vec<u8> {
    let (family, octets, scope): (u8, Vec<u8>, u8) = match to {
        IpAddr::V4(v4) => (IPV4, v4.octets().into(), SCOPE_LINK),
        IpAddr::V6(v6) => (IPV6, v6.octets().into(), 0),
    };
    let bits = u8::try_from(octets.len() * 8).unwrap_or_default();
    let mut body = vec![family, bits, 0, 0, MAIN_TABLE, ROUTE_PROTOCOL, scope, UNICAST, 0, 0, 0, 0];
    put(&mut body, ROUTE_DESTINATION, &octets);
    put(&mut body, ROUTE_METRIC, &METRIC.to_ne_bytes());
    if let Some(link) = link {
        put(&mut body, ROUTE_LINK, &link.to_ne_bytes());
    }
    body
}

fn zero_ended(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[0]].concat()
}

fn ask(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    let mut socket = Socket::open(None)?;
    socket.send(&request_with(kind, flags | ACK, 1, body))?;
    let Received::Messages(bytes) = socket.receive()? else {
        return Err(io::Error::other("the kernel did not answer"));
    };
    match messages(bytes).find(|message| message.kind == ERROR).and_then(|message| message.errno()) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Err(io::Error::other("the kernel gave no answer that can be read")),
    }
}
