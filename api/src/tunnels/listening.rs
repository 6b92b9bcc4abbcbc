//! Which ports programs of this machine have, as the kernel tells: a tunnel is not given one of them.
//! Between the look and the daemon's bind another may take one; then the tunnel says so.

use std::collections::BTreeSet;

/// In the kernel's words.
const LISTENS: &str = "0A";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listening {
    pub tcp: BTreeSet<u16>,
    pub udp: BTreeSet<u16>,
}

/// Where the kernel tells nothing, the bind does.
pub fn look() -> Listening {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/net/{name}")).unwrap_or_default();
    Listening {
        tcp: ports(&[read("tcp"), read("tcp6")], Some(LISTENS)),
        udp: ports(&[read("udp"), read("udp6")], None),
    }
}

fn ports(tables: &[String], state: Option<&str>) -> BTreeSet<u16> {
    let port = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (_, port) = words.next()?.rsplit_once(':')?;
        let found = words.nth(1)?;
        let port = u16::from_str_radix(port, 16).ok()?;
        state.is_none_or(|state| found == state).then_some(port)
    };
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn who_listens_is_seen_and_who_is_connected_is_not() {
        let (v4, v6) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(v4.local_addr().unwrap()).unwrap();
        let found = look();
        assert!(found.tcp.contains(&v4.local_addr().unwrap().port()));
        assert!(found.tcp.contains(&v6.local_addr().unwrap().port()));
        assert!(found.udp.contains(&udp.local_addr().unwrap().port()));
        assert!(!found.tcp.contains(&connected.local_addr().unwrap().port()));
    }

    #[test]
    fn what_is_no_table_holds_nothing() {
        assert_eq!(ports(&["head\nx\n1: a b c\n2: 0:zz 0:0 0A".into()], Some(LISTENS)), BTreeSet::new());
    }
}
