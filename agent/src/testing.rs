//! What several tests need.

use pgw_core::active::{ACTIVE_VERSION, ActiveMapping, ActiveSet, ClosedClient};
use pgw_core::dns::DnsChoice;
use pgw_core::ids::{ClientId, ClientIp, Generation, MappingId, ProxyId};
use pgw_core::ports::PortRange;
use pgw_core::settings::{ClosedAction, Unregistered};

use crate::nft::plan::Policy;

pub(crate) fn policy() -> Policy {
    Policy {
        lan_if: "ens19".to_owned(),
        ports: PortRange::spanning(15001, 15999),
        unregistered: Unregistered::Allow,
        closed_action: ClosedAction::Drop,
        dns: DnsChoice::Upstream,
    }
}

/// Clients of 10.0.0.0/24 by their last number.
pub(crate) fn active(generation: u64, mapped: &[(u8, u16)], closed: &[u8]) -> ActiveSet {
    let ip_cidr = |last: u8| ClientIp::new([10, 0, 0, last].into()).unwrap();
    let uuid = |last: u8| format!("01935000-0000-7000-8000-{last:012}");
    let client = |last: u8| ClientId(uuid(last).parse().unwrap());
    let item = |(last, port): &(u8, u16)| ActiveMapping {
        id: MappingId(client(*last).0),
        client_id: client(*last),
        proxy_id: ProxyId(client(*last).0),
        ip_cidr: ip_cidr(*last),
        port: *port,
        priority: 100,
        mac: None,
    };
    ActiveSet {
        version: ACTIVE_VERSION,
        generation: Generation(generation),
        count: mapped.len() + closed.len(),
        items: mapped.iter().map(item).collect(),
        closed: closed
            .iter()
            .map(|last| ClosedClient { client_id: client(*last), ip_cidr: ip_cidr(*last), mac: None })
            .collect(),
    }
}
