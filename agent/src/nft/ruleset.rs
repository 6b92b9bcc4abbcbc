//! The vocabulary of a ruleset: only what pgw says to a packet, nothing that nft could say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pgw_core::active::{ActiveTunnels, Desired};
use pgw_core::mac::Mac;
use pgw_core::ports::PortRange;

use super::drill::{self, Place};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    pub skeleton: Skeleton,
    pub elements: Elements,
}

/// Everything but the elements: it depends on the settings, never on who is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skeleton {
    /// Before everything else: who says to be somebody that he is not.
    pub sources: Vec<Rule>,
    pub prerouting: Vec<Rule>,
    pub input: Vec<Rule>,
    pub forward: Vec<Rule>,
    pub postrouting: Vec<Rule>,
    /// Where the packets of closed devices end.
    pub closed: Vec<Rule>,
}

/// What the sets and the map hold. They are written from one `Desired`, but read back one by
/// one: somebody may have changed just one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Elements {
    pub client_port: BTreeMap<Ipv4Addr, u16>,
    pub client_ports: BTreeSet<(Ipv4Addr, u16)>,
    pub clients: BTreeSet<Ipv4Addr>,
    pub open: BTreeSet<Ipv4Addr>,
    pub pins: BTreeSet<(Mac, Ipv4Addr)>,
    pub pinned: BTreeSet<Ipv4Addr>,
    pub pinned_macs: BTreeSet<Mac>,
    pub tunnel_tcp: BTreeSet<u16>,
    pub tunnel_udp: BTreeSet<u16>,
    /// At most one, from the first port to the last; none before anybody said which it is.
    pub tunnel_range: BTreeSet<(u16, u16)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `ip pgw`: where a device's web traffic and DNS is sent.
    Nat,
    /// `inet pgw_filter`: what is closed.
    Filter,
}

/// A set or map of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// Map: mapped device to its forwarder's port.
    ClientPort,
    /// The same pairs, for the table that cannot see the map.
    ClientPorts,
    /// All registered devices.
    Clients,
    /// The mapped ones among them.
    Open,
    /// Which hardware address belongs to which address.
    Pins,
    /// The addresses among them.
    Pinned,
    /// The hardware addresses among them; one of them may have several addresses.
    PinnedMacs,
    /// The open ports of reverse tunnels.
    TunnelTcp,
    TunnelUdp,
    /// All ports that reverse tunnels may have.
    TunnelRange,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    Spoofed,
    Impostor,
    ForwarderRange,
    ClosedDns,
    LanIpv6,
    ClosedUdp,
    ClosedOther,
    Unregistered,
    TunnelRange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// All of them; in nft's own order of speech.
    pub matches: Vec<Match>,
    pub counter: Option<Counter>,
    pub verdict: Verdict,
    /// Kept by the kernel as the rule's comment.
    pub why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    From(String),
    NotFromLoopback,
    /// Leaves by any interface but this one.
    LeavesBesides(String),
    LeavesBy(String),
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    TcpTo(u16),
    UdpTo(u16),
    Source(Net),
    Destination(Net),
    /// TCP or UDP, to port 53.
    Dns,
    /// TCP or UDP.
    ForwarderRange(PortRange),
    /// TCP 80 or 443.
    Web,
    /// To any address of the gateway.
    ToGateway,
    SourceIn(Set),
    /// Whatever were sent back to the source would leave by another interface, or by none.
    NoWayBack,
    /// A device that has no address yet asks by DHCP for one.
    AsksForAddress,
    /// Nobody's: what a device has until it has an address.
    NoSource,
    /// Hardware and IP address are a pair of `pins`.
    Pinned,
    /// The hardware address is one of `pinned_macs`.
    PinnedMac,
    /// Source address and destination port are a pair of `client_ports`; TCP only.
    OwnForwarder,
    /// The same, by TCP or UDP.
    OwnForwarderOrItsDns,
    /// To the public port of a tunnel that is open.
    OpenTunnelTcp,
    OpenTunnelUdp,
    /// To a port that tunnels may have; TCP or UDP.
    TunnelRange,
    CameByRedirect,
    ReplyDirection,
    Established,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    /// Ends this chain; the chain's policy is accept.
    Return,
    /// Goes on in `closed` and does not come back.
    Closed,
    /// To the port that `client_port` has for the source; without an entry the rule is not met.
    RedirectToOwnForwarder,
    TcpReset,
    /// An ICMP or ICMPv6 error: prohibited by the administrator.
    Prohibited,
    CountAndReturn,
    CountAndDrop,
    /// Is counted there and comes back.
    CountedAt(Place),
    /// Is counted there and ends there.
    EndsAt(Place),
}

/// An address and how many of its bits have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    V4(Ipv4Addr, u8),
    V6(Ipv6Addr, u8),
}

impl Net {
    pub fn holds(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::V4(net, bits), IpAddr::V4(one)) => {
                (net.to_bits() ^ one.to_bits()).leading_zeros() >= bits.into()
            }
            (Self::V6(net, bits), IpAddr::V6(one)) => {
                (net.to_bits() ^ one.to_bits()).leading_zeros() >= bits.into()
            }
            (Self::V4(..), IpAddr::V6(_)) | (Self::V6(..), IpAddr::V4(_)) => false,
        }
    }
}

impl Elements {
    pub fn of(desired: &Desired) -> Self {
        let open: BTreeSet<_> = desired.mapped.keys().copied().collect();
        Self {
            client_port: desired.mapped.clone(),
            client_ports: desired.mapped.iter().map(|(ip, port)| (*ip, *port)).collect(),
            clients: open.union(&desired.closed).copied().chain([drill::CLOSED]).collect(),
            open,
            pins: desired.pins.iter().map(|(ip, mac)| (*mac, *ip)).collect(),
            pinned: desired.pins.keys().copied().collect(),
            pinned_macs: desired.pins.values().copied().collect(),
            ..Self::default()
        }
        .with(desired.tunnels.as_ref())
    }

    fn with(self, tunnels: Option<&ActiveTunnels>) -> Self {
        let Some(ActiveTunnels { range: [from, to], tcp, udp }) = tunnels else { return self };
        let tunnel_range = [(*from, *to)].into();
        Self { tunnel_tcp: tcp.clone(), tunnel_udp: udp.clone(), tunnel_range, ..self }
    }

    /// With the tunnels that another one holds.
    pub fn with_tunnels_of(self, other: &Self) -> Self {
        let Self { tunnel_tcp, tunnel_udp, tunnel_range, .. } = other.clone();
        Self { tunnel_tcp, tunnel_udp, tunnel_range, ..self }
    }

    /// All clients but the leak drill's own.
    pub fn registered(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.clients.iter().copied().filter(|ip| *ip != drill::CLOSED)
    }

    pub fn len(&self) -> usize {
        self.client_port.len()
            + self.client_ports.len()
            + self.clients.len()
            + self.open.len()
            + self.pins.len()
            + self.pinned.len()
            + self.pinned_macs.len()
            + self.tunnel_tcp.len()
            + self.tunnel_udp.len()
            + self.tunnel_range.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Table {
    pub const ALL: [Self; 2] = [Self::Nat, Self::Filter];

    pub fn family(self) -> &'static str {
        match self {
            Self::Nat => "ip",
            Self::Filter => "inet",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nat => "pgw",
            Self::Filter => "pgw_filter",
        }
    }
}

impl Set {
    pub const ALL: [Self; 10] = [
        Self::ClientPort,
        Self::ClientPorts,
        Self::Clients,
        Self::Open,
        Self::Pins,
        Self::Pinned,
        Self::PinnedMacs,
        Self::TunnelTcp,
        Self::TunnelUdp,
        Self::TunnelRange,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::ClientPort => "client_port",
            Self::ClientPorts => "client_ports",
            Self::Clients => "clients",
            Self::Open => "open",
            Self::Pins => "pins",
            Self::Pinned => "pinned",
            Self::PinnedMacs => "pinned_macs",
            Self::TunnelTcp => "tunnel_tcp",
            Self::TunnelUdp => "tunnel_udp",
            Self::TunnelRange => "tunnel_range",
        }
    }

    pub fn table(self) -> Table {
        match self {
            Self::ClientPort => Table::Nat,
            Self::ClientPorts
            | Self::Clients
            | Self::Open
            | Self::Pins
            | Self::Pinned
            | Self::PinnedMacs
            | Self::TunnelTcp
            | Self::TunnelUdp
            | Self::TunnelRange => Table::Filter,
        }
    }
}

impl Counter {
    pub const ALL: [Self; 9] = [
        Self::Spoofed,
        Self::Impostor,
        Self::ForwarderRange,
        Self::ClosedDns,
        Self::LanIpv6,
        Self::ClosedUdp,
        Self::ClosedOther,
        Self::Unregistered,
        Self::TunnelRange,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Spoofed => "spoofed",
            Self::Impostor => "impostor",
            Self::ForwarderRange => "forwarder_range",
            Self::ClosedDns => "closed_dns",
            Self::LanIpv6 => "lan_ipv6",
            Self::ClosedUdp => "closed_udp",
            Self::ClosedOther => "closed_other",
            Self::Unregistered => "unregistered",
            Self::TunnelRange => "tunnel_range",
        }
    }
}
