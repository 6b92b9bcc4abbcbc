//! Reads `nft -j list table`: the elements of our own sets, and all else as text, to see whether
//! it changed. One listing for both: with thousands of clients each costs tens of milliseconds,
//! also where nft is told to leave the elements out. An element that we would not have written
//! makes the listing unreadable.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use pgw_core::mac::Mac;
use serde::Deserialize;
use serde_json::Value;

use super::ruleset::{Elements, Set, Table};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    #[error("what nft lists is not the JSON that was expected: {0}")]
    Json(String),
    #[error("the set {set} holds an element that is not pgw's: {element}")]
    Foreign { set: &'static str, element: String },
}

#[derive(Deserialize)]
struct Listing {
    nftables: Vec<Object>,
}

/// What nft says of itself, and what changes without anybody's doing.
const TITLE: &str = "metainfo";
const MOVING: [&str; 3] = ["handle", "packets", "bytes"];

#[derive(Deserialize)]
struct Object {
    #[serde(alias = "map")]
    set: Option<Listed>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    elem: Vec<Element>,
    #[serde(flatten)]
    about: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Address(Ipv4Addr),
    Mac(Mac),
    Pin { concat: (Mac, Ipv4Addr) },
    Concat { concat: (Ipv4Addr, u16) },
    Entry(Ipv4Addr, u16),
    Port(u16),
    Ports { range: (u16, u16) },
    Other(Value),
}

/// Adds the elements of one table's listing; gives the rest of it, a line for each thing.
pub fn read(table: Table, json: &[u8], into: &mut Elements) -> Result<String, ListingError> {
    let listing: Listing =
        serde_json::from_slice(json).map_err(|error| ListingError::Json(error.to_string()))?;
    let mut printed = String::new();
    for Object { set, other } in listing.nftables {
        for (kind, about) in other {
            if kind != TITLE {
                print(&mut printed, &kind, about);
            }
        }
        let Some(Listed { name, elem, about }) = set else { continue };
        print(&mut printed, &name, about);
        let ours = Set::ALL.into_iter().find(|set| set.table() == table && set.name() == name);
        if let Some(set) = ours {
            for element in elem {
                put(set, element, into)?;
            }
        }
    }
    Ok(printed)
}

fn print(printed: &mut String, kind: &str, mut about: Value) {
    if let Value::Object(fields) = &mut about {
        fields.retain(|name, _| !MOVING.contains(&name.as_str()));
    }
    // Writing to a String cannot fail.
    let _infallible = writeln!(printed, "{kind} {about}");
}

fn put(set: Set, element: Element, into: &mut Elements) -> Result<(), ListingError> {
    match (set, element) {
        (Set::ClientPort, Element::Entry(ip, port)) => {
            into.client_port.insert(ip, port);
        }
        (Set::ClientPorts, Element::Concat { concat }) => {
            into.client_ports.insert(concat);
        }
        (Set::Clients, Element::Address(ip)) => {
            into.clients.insert(ip);
        }
        (Set::Open, Element::Address(ip)) => {
            into.open.insert(ip);
        }
        (Set::Pins, Element::Pin { concat }) => {
            into.pins.insert(concat);
        }
        (Set::Pinned, Element::Address(ip)) => {
            into.pinned.insert(ip);
        }
        (Set::PinnedMacs, Element::Mac(mac)) => {
            into.pinned_macs.insert(mac);
        }
        (Set::TunnelTcp, Element::Port(port)) => {
            into.tunnel_tcp.insert(port);
        }
        (Set::TunnelUdp, Element::Port(port)) => {
            into.tunnel_udp.insert(port);
        }
        (Set::TunnelRange, Element::Port(port)) => {
            into.tunnel_range.insert((port, port));
        }
        (Set::TunnelRange, Element::Ports { range }) => {
            into.tunnel_range.insert(range);
        }
        (set, Element::Other(value)) => {
            return Err(ListingError::Foreign { set: set.name(), element: value.to_string() });
        }
        (
            set,
            Element::Address(_)
            | Element::Mac(_)
            | Element::Pin { .. }
            | Element::Concat { .. }
            | Element::Entry(..)
            | Element::Port(_)
            | Element::Ports { .. },
        ) => {
            let element = "of another type".to_owned();
            return Err(ListingError::Foreign { set: set.name(), element });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(table: Table, json: &str) -> Result<Elements, ListingError> {
        let mut elements = Elements::default();
        read(table, json.as_bytes(), &mut elements).map(|_printed| elements)
    }

    #[test]
    fn the_elements_of_our_own_sets_are_read_and_all_else_is_skipped() {
        let nat = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}, {"table": {"name": "pgw"}},
            {"map": {"name": "client_port", "table": "pgw", "elem": [["10.0.0.3", 15001]]}},
            {"map": {"name": "foreign", "elem": [["10.0.0.3", {"drop": null}]]}},
            {"chain": {"name": "prerouting"}}, {"rule": {"expr": []}}]}"#;
        let nat = elements(Table::Nat, nat).unwrap();
        assert_eq!(nat.client_port, [([10, 0, 0, 3].into(), 15001)].into());
        let filter = r#"{"nftables": [
            {"set": {"name": "client_ports", "elem": [{"concat": ["10.0.0.3", 15001]}]}},
            {"set": {"name": "clients", "elem": ["10.0.0.3", "10.0.0.4"]}}, {"set": {"name": "open"}},
            {"set": {"name": "pins", "elem": [{"concat": ["02:00:5e:10:00:03", "10.0.0.3"]}]}},
            {"set": {"name": "pinned", "elem": ["10.0.0.3"]}},
            {"set": {"name": "pinned_macs", "elem": ["02:00:5e:10:00:03"]}},
            {"set": {"name": "tunnel_tcp", "elem": [12000, 12001]}}, {"set": {"name": "tunnel_udp", "elem": [12001]}},
            {"set": {"name": "tunnel_range", "elem": [{"range": [10000, 32000]}]}}]}"#;
        let filter = elements(Table::Filter, filter).unwrap();
        assert_eq!(filter.client_ports, [([10, 0, 0, 3].into(), 15001)].into());
        assert_eq!((filter.clients.len(), filter.open.len()), (2, 0));
        let mac = "02:00:5e:10:00:03".parse().unwrap();
        assert_eq!(filter.pins, [(mac, [10, 0, 0, 3].into())].into());
        assert_eq!((filter.pinned.len(), filter.pinned_macs), (1, [mac].into()));
        assert_eq!((filter.tunnel_tcp, filter.tunnel_udp), ([12000, 12001].into(), [12001].into()));
        assert_eq!(filter.tunnel_range, [(10000, 32000)].into());
    }

    #[test]
    fn only_what_somebody_did_changes_what_is_printed() {
        let printed = |counted: u64, handle: u64, flags: &str, elements: &str| {
            let json = format!(
                r#"{{"nftables": [{{"metainfo": {{"version": "{handle}"}}}},
                {{"table": {{"name": "pgw_filter", "handle": {handle}, "flags": "{flags}"}}}},
                {{"counter": {{"name": "c", "packets": {counted}, "bytes": {counted}}}}},
                {{"set": {{"name": "clients", "type": "ipv4_addr", "handle": {handle}, "elem": [{elements}]}}}}]}}"#
            );
            read(Table::Filter, json.as_bytes(), &mut Elements::default()).unwrap()
        };
        let before = printed(0, 7, "", r#""10.0.0.3""#);
        assert_eq!(printed(9, 8, "", ""), before, "traffic, a reload of the same, other elements");
        assert_ne!(printed(0, 7, "dormant", ""), before, "a table that sleeps closes nobody");
        assert!(before.contains("clients") && !before.contains("10.0.0.3"), "{before}");
    }

    #[test]
    fn an_element_that_we_would_not_have_written_makes_the_listing_unreadable() {
        for element in [
            r#"{"prefix": {"addr": "10.0.0.0", "len": 8}}"#,
            r#"{"elem": {"val": "10.0.0.3", "timeout": 60}}"#,
            r#"["10.0.0.3", 1]"#,
            r#""eth0""#,
            r#""02:00:5e:10:00:03""#,
            "7",
            r#"{"range": [1, 2]}"#,
        ] {
            let json = format!(r#"{{"nftables": [{{"set": {{"name": "clients", "elem": [{element}]}}}}]}}"#);
            assert!(matches!(elements(Table::Filter, &json), Err(ListingError::Foreign { .. })), "{element}");
        }
        assert!(matches!(elements(Table::Filter, "Segmentation"), Err(ListingError::Json(_))));
    }
}
