//! The three messages about conntrack that the agent needs: list, an entry of the list, delete.

use std::net::Ipv4Addr;

use super::Flow;
use crate::netlink::message::{self, ACK, DUMP, Message, attribute, attributes, number, put, put_nested};

const CONNTRACK: u16 = 1 << 8;
const NEW: u16 = CONNTRACK;
const GET: u16 = CONNTRACK | 1;
const DELETE: u16 = CONNTRACK | 2;
const IPV4: u8 = 2;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// Within a tuple, and within its addresses and ports.
const ADDRESSES: u16 = 1;
const PROTOCOL: u16 = 2;
const SOURCE: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// Within a filter: by which parts of the original tuple.
const BY_ORIGINAL: u16 = 1;
const BY_SOURCE: u32 = 1;
/// IPS_DST_NAT.
const REDIRECTED: u32 = 1 << 5;

/// All flows of IPv4, or those that one address began. Kernels before 5.8 know no such filter
/// and list all: who reads the answer looks at the source himself.
pub(super) fn list(sequence: u32, begun_by: Option<Ipv4Addr>) -> Vec<u8> {
    let mut filter = Vec::new();
    if let Some(source) = begun_by {
        let (mut flags, mut address, mut tuple) = (Vec::new(), Vec::new(), Vec::new());
        put(&mut flags, BY_ORIGINAL, &BY_SOURCE.to_ne_bytes());
        put_nested(&mut filter, FILTER, &flags);
        put(&mut address, SOURCE, &source.octets());
        put_nested(&mut tuple, ADDRESSES, &address);
        put_nested(&mut filter, ORIGINAL, &tuple);
    }
    message::request(GET, DUMP, sequence, IPV4, &filter)
}

/// None for what is no entry of IPv4.
pub(super) fn read(message: &Message<'_>) -> Option<Flow> {
    if message.kind != NEW || message.family() != Some(IPV4) {
        return None;
    }
    let find = |kind| message.attributes().find(|(found, _)| *found == kind).map(|(_, value)| value);
    let (original, reply) = (find(ORIGINAL)?, find(REPLY)?);
    let mut handle = Vec::new();
    put_nested(&mut handle, ORIGINAL, original);
    // With its id, so that a new flow with the same addresses and ports is not mistaken for it.
    for kind in [ZONE, ID] {
        if let Some(value) = find(kind) {
            put(&mut handle, kind, value);
        }
    }
    Some(Flow {
        source: address(original, SOURCE)?,
        destination_port: port(original, DESTINATION_PORT),
        answered_from: address(reply, SOURCE)?,
        answered_from_port: port(reply, SOURCE_PORT),
        redirected: find(STATUS).and_then(number).unwrap_or_default() & REDIRECTED != 0,
        handle,
    })
}

pub(super) fn delete(sequence: u32, flow: &Flow) -> Vec<u8> {
    message::request(DELETE, ACK, sequence, IPV4, &flow.handle)
}

fn address(tuple: &[u8], which: u16) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = attribute(attribute(tuple, ADDRESSES)?, which)?.try_into().ok()?;
    Some(octets.into())
}

/// Zero for protocols without ports.
fn port(tuple: &[u8], which: u16) -> u16 {
    let protocol = attribute(tuple, PROTOCOL).unwrap_or_default();
    let value = attributes(protocol).find(|(kind, _)| *kind == which).map(|(_, value)| value);
    value.and_then(|value| value.try_into().ok()).map_or(0, u16::from_be_bytes)
}
