//! What becomes of a port, whatever the device's upstreams are like.

use std::net::Ipv6Addr;

use super::Destination;
use crate::dns::DnsChoice;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) open: bool,
    pub(super) detail: String,
    /// What to do about it, where it is closed.
    pub(super) instead: &'static str,
}

impl Destination {
    pub(super) fn fate(&self, dns: DnsChoice) -> Fate {
        let open = |detail: &str| Fate { open: true, detail: detail.to_owned(), instead: "" };
        let closed = |detail: String, instead| Fate { open: false, detail, instead };
        if self.is_ipv6() {
            let detail = "all IPv6 from the LAN to elsewhere is dropped".to_owned();
            return closed(detail, "ask for an IPv4 address, or for a name");
        }
        match (self.port, dns) {
            (53, DnsChoice::Gateway) if self.at_gateway => open(
                "with PGW_DNS=gateway the gateway's own resolver answers a device whose redirect is in place",
            ),
            (80 | 443, _) => open(
                "TCP to this port is redirected to the device's forwarder, unless the address is the gateway's own; \
                 UDP, and with it QUIC, is dropped",
            ),
            (53, DnsChoice::Upstream) => open(
                "DNS, by UDP and TCP and to whatever server, is answered by the device's forwarder through its upstreams",
            ),
            (53, DnsChoice::Gateway) => closed(
                "with PGW_DNS=gateway only the gateway's own resolver is reached; every other server is closed".to_owned(),
                "ask the gateway's own resolver, or set PGW_DNS=upstream",
            ),
            (port, _) => closed(
                format!("nothing opens port {port}: a registered device reaches TCP 80 and 443, and DNS"),
                "use port 80 or 443, the only ones that lead to an upstream",
            ),
        }
    }

    /// What is asked of the gateway's resolver is answered by the forwarder, unless it keeps it.
    pub(super) fn ends_at_gateway(&self, dns: DnsChoice) -> bool {
        self.at_gateway && (self.port != 53 || dns == DnsChoice::Gateway)
    }

    fn is_ipv6(&self) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>().is_ok()
    }
}
