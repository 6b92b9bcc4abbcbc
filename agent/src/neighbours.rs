//! Which hardware address the gateway sees at which address of the LAN: offered to an operator
//! who wants to pin a device to it, and never acted upon.

use std::io;
use std::net::Ipv4Addr;

use async_trait::async_trait;
use pgw_core::mac::Mac;
use rustix::net::Protocol;
use rustix::net::netdevice::name_to_index;
use serde::Serialize;

use crate::netlink::Socket;
use crate::netlink::message::{DUMP, Message, attribute, request};

/// More than the kernel keeps, unless it was told to.
const MOST: usize = 1 << 16;
/// The routing part of the kernel is what netlink without any protocol speaks to.
const ROUTE: Option<Protocol> = None;
const NEW: u16 = 28;
const GET: u16 = 30;
const IPV4: u8 = 2;
/// ndmsg, in front of the attributes: family, interface, state, flags, type.
const HEAD: usize = 12;
const ADDRESS: u16 = 1;
const HARDWARE: u16 = 2;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Neighbour {
    pub ip: Ipv4Addr,
    pub mac: Mac,
    pub state: State,
}

/// In the kernel's words, as `ip neighbour` has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has answered within the last moments.
    Reachable,
    /// It has answered once.
    Stale,
    /// It is being asked whether it is still there.
    Delay,
    Probe,
    /// Somebody has written it down on the gateway.
    Permanent,
}

#[async_trait]
pub trait Neighbours: Send + Sync {
    /// Sorted by address.
    async fn list(&self) -> io::Result<Vec<Neighbour>>;
}

/// Of the interface with this name, by netlink.
pub struct On(pub String);

#[async_trait]
impl Neighbours for On {
    async fn list(&self) -> io::Result<Vec<Neighbour>> {
        let interface = self.0.clone();
        tokio::task::spawn_blocking(move || list(&interface)).await.map_err(io::Error::other)?
    }
}

fn list(interface: &str) -> io::Result<Vec<Neighbour>> {
    let mut socket = Socket::open(ROUTE)?;
    let index = name_to_index(&socket, interface)?;
    let mut found = Vec::new();
    let question = request(GET, DUMP, 1, IPV4, &[0; HEAD - 4]);
    socket.list(&question, |entry| {
        found.extend(read(entry, index));
        found.len() < MOST
    })?;
    found.sort_by_key(|neighbour| neighbour.ip);
    Ok(found)
}

/// None for what is on another interface, or has not answered.
fn read(message: &Message<'_>, interface: u32) -> Option<Neighbour> {
    let (head, attributes) = message.payload.split_first_chunk::<HEAD>()?;
    let [IPV4, _, _, _, a, b, c, d, state, rest, ..] = *head else { return None };
    if message.kind != NEW || u32::from_ne_bytes([a, b, c, d]) != interface {
        return None;
    }
    let state = match u16::from_ne_bytes([state, rest]) {
        0x02 => State::Reachable,
        0x04 => State::Stale,
        0x08 => State::Delay,
        0x10 => State::Probe,
        0x80 => State::Permanent,
        _unanswered => return None,
    };
    let ip: [u8; 4] = attribute(attributes, ADDRESS)?.try_into().ok()?;
    let mac: [u8; 6] = attribute(attributes, HARDWARE)?.try_into().ok()?;
    Some(Neighbour { ip: ip.into(), mac: Mac::new(mac).ok()?, state })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::netlink::message::messages;
    use crate::testing::{again_inside, inside};

    #[expect(clippy::disallowed_methods, reason = "the test makes neighbours for itself")]
    async fn ip(words: &str) {
        let done = tokio::process::Command::new("ip").args(words.split(' ')).status().await.unwrap();
        assert!(done.success(), "ip {words}");
    }

    #[tokio::test]
    async fn the_kernel_tells_who_answered_on_this_interface() {
        if !inside() {
            return again_inside("neighbours::tests::the_kernel_tells_who_answered_on_this_interface").await;
        }
        ip("link add name lan0 type veth peer name other0").await;
        assert_eq!(On("lan0".to_owned()).list().await.unwrap(), []);
        for link in ["lan0", "other0"] {
            ip(&format!("link set {link} up")).await;
        }
        ip("neighbour add 10.0.0.9 lladdr 02:00:5e:10:00:09 dev lan0 nud permanent").await;
        ip("neighbour add 10.0.0.3 lladdr 02:00:5e:10:00:03 dev lan0 nud stale").await;
        ip("neighbour add 10.0.0.4 dev lan0 nud failed").await;
        ip("neighbour add 10.0.0.5 lladdr 02:00:5e:10:00:05 dev other0 nud permanent").await;
        ip("neighbour add fd00::3 lladdr 02:00:5e:10:00:03 dev lan0 nud permanent").await;
        let neighbour = |last: u8, state| Neighbour {
            ip: [10, 0, 0, last].into(),
            mac: Mac::new([2, 0, 0x5e, 0x10, 0, last]).unwrap(),
            state,
        };
        let expected = [neighbour(3, State::Stale), neighbour(9, State::Permanent)];
        assert_eq!(On("lan0".to_owned()).list().await.unwrap(), expected);
        let missing = On("lan1".to_owned()).list().await.unwrap_err();
        assert!(missing.to_string().contains("No such device"), "{missing}");
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_make_the_reading_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).filter_map(|message| read(&message, 1)).count() <= bytes.len());
        }
    }
}
