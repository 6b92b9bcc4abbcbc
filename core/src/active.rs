//! The documents between the API and the agent: what shall be in the kernel, and what is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::drill::Drill;
use crate::ids::{ClientId, ClientIp, DatabaseId, Generation, MappingId, ProxyId};
use crate::mac::Mac;

pub const ACTIVE_VERSION: u32 = 1;

/// `GET /v1/mappings/active`. Every registered client is in `items` or in `closed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActiveSet {
    pub version: u32,
    pub generation: Generation,
    /// Which database says so. Absent: an API that did not tell yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseId>,
    /// How many different clients the two lists hold together: a list that was cut short on
    /// its way is refused, never taken for "everything was deleted".
    pub count: usize,
    /// Mappings whose upstream is healthy and whose forwarder listens.
    pub items: Vec<ActiveMapping>,
    /// Registered clients without such a mapping.
    pub closed: Vec<ClosedClient>,
    /// Absent: nobody knows which tunnels are open, and what the kernel holds of them stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnels: Option<ActiveTunnels>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActiveMapping {
    pub id: MappingId,
    pub client_id: ClientId,
    pub proxy_id: ProxyId,
    pub ip_cidr: ClientIp,
    pub port: u16,
    pub priority: u16,
    /// Absent: any. The same for all mappings of one client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClosedClient {
    pub client_id: ClientId,
    pub ip_cidr: ClientIp,
    /// Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
}

/// Which public ports of reverse tunnels are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActiveTunnels {
    /// The first and the last port that tunnels may have: what is not open of these is closed.
    pub range: [u16; 2],
    pub tcp: BTreeSet<u16>,
    pub udp: BTreeSet<u16>,
}

/// The set as the kernel needs it: no address twice, no port twice, nothing in both lists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    pub generation: Generation,
    /// Address to forwarder port.
    pub mapped: BTreeMap<Ipv4Addr, u16>,
    /// Registered and closed.
    pub closed: BTreeSet<Ipv4Addr>,
    /// The one hardware address that an address may come from; of those in `mapped` and `closed`
    /// for whom the operator said one. Several addresses may be one device's.
    pub pins: BTreeMap<Ipv4Addr, Mac>,
    pub tunnels: Option<ActiveTunnels>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActiveError {
    #[error("the API speaks version {0} of the active set; this agent reads version {ACTIVE_VERSION}")]
    Version(u32),
    #[error("the API announced {announced} clients and sent {sent}")]
    Incomplete { announced: usize, sent: usize },
    #[error("client {ip} has two ports, {first} and {second}")]
    TwoPorts { ip: Ipv4Addr, first: u16, second: u16 },
    #[error("port {port} is given to two clients, {first} and {second}")]
    PortTwice { port: u16, first: Ipv4Addr, second: Ipv4Addr },
    #[error("two clients have the address {0}")]
    AddressTwice(Ipv4Addr),
    #[error("client {0} has two MAC addresses, or one and none")]
    TwoMacs(Ipv4Addr),
    #[error("client {0} is both open and closed")]
    OpenAndClosed(Ipv4Addr),
    #[error("the tunnels' range is said to be {0}..{1}")]
    TunnelRange(u16, u16),
    #[error("a tunnel's port {port} is outside of the tunnels' range {from}..{to}")]
    TunnelOutside { port: u16, from: u16, to: u16 },
}

impl ActiveSet {
    /// Several mappings of one client become one entry; anything that contradicts itself is
    /// refused as a whole, and the kernel keeps what it has.
    pub fn desired(&self) -> Result<Desired, ActiveError> {
        if self.version != ACTIVE_VERSION {
            return Err(ActiveError::Version(self.version));
        }
        let mut mapped = BTreeMap::new();
        let mut pins = BTreeMap::new();
        let mut port_owner: BTreeMap<u16, Ipv4Addr> = BTreeMap::new();
        let mut owner: BTreeMap<Ipv4Addr, ClientId> = BTreeMap::new();
        for item in &self.items {
            let ip = item.ip_cidr.addr();
            if owner.insert(ip, item.client_id).is_some_and(|other| other != item.client_id) {
                return Err(ActiveError::AddressTwice(ip));
            }
            if mapped.contains_key(&ip) && pins.get(&ip) != item.mac.as_ref() {
                return Err(ActiveError::TwoMacs(ip));
            }
            pins.extend(item.mac.map(|mac| (ip, mac)));
            if let Some(first) = mapped.insert(ip, item.port).filter(|first| *first != item.port) {
                return Err(ActiveError::TwoPorts { ip, first, second: item.port });
            }
            if let Some(first) = port_owner.insert(item.port, ip).filter(|first| *first != ip) {
                return Err(ActiveError::PortTwice { port: item.port, first, second: ip });
            }
        }
        let mut closed = BTreeSet::new();
        for client in &self.closed {
            let ip = client.ip_cidr.addr();
            if mapped.contains_key(&ip) {
                return Err(ActiveError::OpenAndClosed(ip));
            }
            if !closed.insert(ip) {
                return Err(ActiveError::AddressTwice(ip));
            }
            pins.extend(client.mac.map(|mac| (ip, mac)));
        }
        let sent = mapped.len() + closed.len();
        if sent != self.count {
            return Err(ActiveError::Incomplete { announced: self.count, sent });
        }
        if let Some(tunnels) = &self.tunnels {
            tunnels.check()?;
        }
        Ok(Desired { generation: self.generation, mapped, closed, pins, tunnels: self.tunnels.clone() })
    }
}

impl ActiveTunnels {
    fn check(&self) -> Result<(), ActiveError> {
        let [from, to] = self.range;
        if from == 0 || from > to {
            return Err(ActiveError::TunnelRange(from, to));
        }
        let outside = self.tcp.iter().chain(&self.udp).find(|port| !(from..=to).contains(port));
        outside.map_or(Ok(()), |port| Err(ActiveError::TunnelOutside { port: *port, from, to }))
    }
}

/// `POST /agent/reconcile` answers with what the kernel holds, after asking it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileReport {
    /// Of the active set that the kernel now holds.
    pub generation: Generation,
    /// Did this reconcile have to change the kernel?
    pub changed: bool,
    pub took_ms: u64,
    /// Registered clients, open and closed.
    pub clients: usize,
    /// What the kernel redirects, read back from it.
    pub applied: Vec<AppliedRule>,
    /// Connections of devices whose rules had changed, taken out of the kernel's tracking.
    #[serde(default)]
    pub flows_ended: usize,
    /// What an operator has to know although the reconcile went well.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRule {
    pub ip_cidr: ClientIp,
    pub port: u16,
}

/// `GET /agent/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    pub version: String,
    /// Of the ruleset that was last confirmed; none before the first.
    pub generation: Option<Generation>,
    pub clients: usize,
    pub applied: usize,
    pub lan_if: String,
    pub wan_if: String,
    #[serde(serialize_with = "crate::time::millis")]
    pub last_reconcile_at: Option<Timestamp>,
    /// Why the last reconcile failed, if it did.
    pub last_error: Option<String>,
    /// What is not as it should be although reconciles go well.
    pub warnings: Vec<String>,
    pub drift: Drift,
    #[serde(default)]
    pub drill: Drill,
}

/// What somebody else did to the tables.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drift {
    /// How often it had to be made right.
    pub count: u64,
    #[serde(serialize_with = "crate::time::millis")]
    pub last_at: Option<Timestamp>,
    /// The program that did it, if the kernel told its name.
    pub last_by: Option<String>,
    /// From the notice until the kernel held the rules again, the last time; none while it does not.
    pub healed_ms: Option<u64>,
    /// It is done again and again; the repairs are spaced out until it stops.
    pub fighting: bool,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const GOLDEN: &str = include_str!("../tests/golden/active.json");

    fn set() -> ActiveSet {
        serde_json::from_str(GOLDEN).unwrap()
    }

    #[test]
    fn the_golden_active_set_is_read_and_written_back_the_same() {
        assert_eq!(serde_json::to_string_pretty(&set()).unwrap().trim(), GOLDEN.trim());
        let desired = set().desired().unwrap();
        assert_eq!(desired.mapped, BTreeMap::from([([192, 168, 2, 3].into(), 15001)]));
        assert_eq!(desired.closed, BTreeSet::from([[192, 168, 2, 4].into()]));
        let mac = |text: &str| text.parse::<Mac>().unwrap();
        let pins = [([192, 168, 2, 3], "02:00:5e:10:00:03"), ([192, 168, 2, 4], "02:00:5e:10:00:04")];
        assert_eq!(desired.pins, pins.map(|(ip, text)| (ip.into(), mac(text))).into());
        let tunnels =
            ActiveTunnels { range: [10_000, 32_000], tcp: [12_000, 12_001].into(), udp: [12_001].into() };
        assert_eq!(desired.tunnels, Some(tunnels));
    }

    #[test]
    fn a_set_of_an_api_that_knew_no_tunnels_says_nothing_of_them() {
        let mut older: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        older.as_object_mut().unwrap().remove("tunnels").unwrap();
        let older: ActiveSet = serde_json::from_value(older).unwrap();
        assert_eq!(older.desired().unwrap().tunnels, None);
        assert!(!serde_json::to_string(&older).unwrap().contains("tunnels"));
    }

    #[test]
    fn a_set_of_an_api_that_did_not_tell_its_database_is_read() {
        let mut older: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
        older.as_object_mut().unwrap().remove("database").unwrap();
        let older: ActiveSet = serde_json::from_value(older).unwrap();
        assert_eq!(older.database, None);
        assert!(!serde_json::to_string(&older).unwrap().contains("database"));
    }

    #[test]
    fn ports_outside_of_the_range_that_closes_the_others_are_refused() {
        let with = |range, tcp: &[u16]| {
            let tcp = tcp.iter().copied().collect();
            ActiveSet { tunnels: Some(ActiveTunnels { range, tcp, udp: BTreeSet::new() }), ..set() }
                .desired()
                .err()
        };
        assert_eq!(with([10_000, 10_000], &[10_000]), None);
        assert_eq!(with([10_001, 10_000], &[]), Some(ActiveError::TunnelRange(10_001, 10_000)));
        assert_eq!(with([0, 10_000], &[]), Some(ActiveError::TunnelRange(0, 10_000)));
        let outside = ActiveError::TunnelOutside { port: 22, from: 10_000, to: 10_009 };
        assert_eq!(with([10_000, 10_009], &[22]), Some(outside));
    }

    #[test]
    fn a_set_of_an_api_that_knew_no_macs_pins_nobody() {
        let older: String = GOLDEN
            .replace("\"priority\": 10,", "\"priority\": 10")
            .replace("\"priority\": 100,", "\"priority\": 100")
            .replace("\"192.168.2.4/32\",", "\"192.168.2.4/32\"")
            .lines()
            .filter(|line| !line.contains("\"mac\""))
            .collect();
        let older: ActiveSet = serde_json::from_str(&older).unwrap();
        let desired = older.desired().unwrap();
        assert_eq!((desired.mapped.len(), desired.closed.len(), desired.pins.len()), (1, 1, 0));
    }

    #[test]
    fn a_set_that_contradicts_itself_is_refused_whole() {
        let ip = |last| Ipv4Addr::new(192, 168, 2, last);
        let item = |last: u8, port, client: u128| ActiveMapping {
            ip_cidr: ClientIp::new(ip(last)).unwrap(),
            port,
            client_id: ClientId(Uuid::from_u128(client)),
            ..set().items[0].clone()
        };
        let with = |items: Vec<ActiveMapping>, count| ActiveSet { items, count, ..set() }.desired();
        assert_eq!(
            with(vec![item(3, 1, 1), item(3, 2, 1)], 2),
            Err(ActiveError::TwoPorts { ip: ip(3), first: 1, second: 2 })
        );
        assert_eq!(
            with(vec![item(3, 1, 1), item(5, 1, 2)], 3),
            Err(ActiveError::PortTwice { port: 1, first: ip(3), second: ip(5) })
        );
        assert_eq!(with(vec![item(3, 1, 1), item(3, 1, 2)], 2), Err(ActiveError::AddressTwice(ip(3))));
        assert_eq!(with(vec![item(4, 1, 1)], 1), Err(ActiveError::OpenAndClosed(ip(4))));
        let mac = |last| Mac::new([2, 0, 0, 0, 0, last]).ok();
        for other in [None, mac(4)] {
            let two = [mac(3), other].map(|mac| ActiveMapping { mac, ..item(3, 1, 1) });
            assert_eq!(with(two.to_vec(), 2), Err(ActiveError::TwoMacs(ip(3))));
        }
        assert_eq!(with(vec![], 2), Err(ActiveError::Incomplete { announced: 2, sent: 1 }));
        assert_eq!(ActiveSet { version: 9, ..set() }.desired(), Err(ActiveError::Version(9)));
    }
}
