//! Which connections may live on under the present rules. Asked of what is there, not of what
//! happened: so it does not matter who set a connection up, or when an agent died.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use pgw_core::ports::PortRange;

use super::Flow;
use crate::nft::ruleset::Elements;

const DNS: u16 = 53;

/// What decides: who is registered, who has which port, and which addresses are our own.
pub(crate) struct House<'a> {
    pub(crate) elements: &'a Elements,
    pub(crate) ports: &'a PortRange,
    pub(crate) own: &'a BTreeSet<Ipv4Addr>,
}

impl House<'_> {
    pub(crate) fn ends(&self, flow: &Flow) -> bool {
        let to = flow.answered_from;
        // What is said to all goes no further than the LAN.
        let stays_in = self.own.contains(&to) || to.is_multicast() || to.is_broadcast();
        let by_forwarder = stays_in && flow.redirected && self.ports.contains(flow.answered_from_port);
        if by_forwarder {
            // Of a device that is closed, that has another port now, or is unregistered.
            return self.elements.client_port.get(&flow.source) != Some(&flow.answered_from_port);
        }
        if !self.elements.clients.contains(&flow.source) {
            return false;
        }
        // The gateway's own services are not pgw's, but for names: those have a way of their own.
        !stays_in || flow.destination_port == DNS
    }
}

/// Whose rules differ.
pub(crate) fn changed(before: &Elements, after: &Elements) -> BTreeSet<Ipv4Addr> {
    let addresses = |elements: &Elements| {
        elements.clients.iter().chain(elements.client_port.keys()).copied().collect::<BTreeSet<_>>()
    };
    let rule = |elements: &Elements, who: &Ipv4Addr| {
        (elements.clients.contains(who), elements.client_port.get(who).copied())
    };
    let all = addresses(before).into_iter().chain(addresses(after));
    all.filter(|who| rule(before, who) != rule(after, who)).collect()
}

#[cfg(test)]
mod tests {
    use pgw_core::active::Desired;

    use super::*;

    const GATEWAY: [u8; 4] = [10, 0, 0, 1];
    const ORIGIN: [u8; 4] = [203, 0, 113, 10];

    fn ip(last: u8) -> Ipv4Addr {
        [10, 0, 0, last].into()
    }

    fn elements(mapped: &[(u8, u16)], closed: &[u8]) -> Elements {
        Elements::of(&Desired {
            mapped: mapped.iter().map(|(last, port)| (ip(*last), *port)).collect(),
            closed: closed.iter().map(|last| ip(*last)).collect(),
            ..Desired::default()
        })
    }

    /// Does it end, if 3 is open by 15001, 4 is closed, and 9 is unknown?
    fn ends(source: u8, destination_port: u16, answered: ([u8; 4], u16), redirected: bool) -> bool {
        let (elements, own) = (elements(&[(3, 15001)], &[4]), [GATEWAY.into()].into());
        let house = House { elements: &elements, ports: &PortRange::spanning(15001, 15999), own: &own };
        let answered_from = answered.0.into();
        let answered_from_port = answered.1;
        let handle = Vec::new();
        house.ends(&Flow {
            source: ip(source),
            destination_port,
            answered_from,
            answered_from_port,
            redirected,
            handle,
        })
    }

    #[test]
    fn what_left_directly_ends_when_the_device_is_registered_and_else_lives() {
        for (device, ended) in [(3, true), (4, true), (9, false)] {
            for port in [22, 53, 443] {
                assert_eq!(ends(device, port, (ORIGIN, port), false), ended, "{device} to {port}");
            }
            assert_eq!(ends(device, 8080, ([192, 168, 7, 7], 80), true), ended, "redirected to another host");
        }
    }

    #[test]
    fn what_goes_by_a_forwarder_lives_only_if_it_is_the_devices_own() {
        for (device, port, ended) in [(3, 15001, false), (3, 15002, true), (4, 15001, true), (9, 15001, true)]
        {
            assert_eq!(ends(device, 443, (GATEWAY, port), true), ended, "{device} by {port}");
        }
    }

    #[test]
    fn the_gateways_own_services_are_left_alone_but_for_names() {
        for (device, port, redirected, ended) in [
            (3, 22, false, false),
            (4, 443, false, false),
            (4, 123, true, false),
            (3, 53, false, true),
            (4, 53, true, true),
            (9, 53, false, false),
        ] {
            assert_eq!(ends(device, port, (GATEWAY, port), redirected), ended, "{device} to {port}");
        }
    }

    #[test]
    fn what_a_device_says_to_all_of_the_lan_is_left_alone() {
        for all in [[224, 0, 0, 251], [239, 255, 255, 250], [255, 255, 255, 255]] {
            assert!(!ends(4, 5353, (all, 5353), false), "{all:?}");
        }
    }

    #[test]
    fn only_those_whose_rules_differ_have_changed() {
        let before = elements(&[(1, 15001), (2, 15002), (3, 15003)], &[4, 5, 6]);
        let after = elements(&[(1, 15001), (2, 15009), (4, 15004)], &[3, 5, 7]);
        let want = [2, 3, 4, 6, 7].map(ip).into();
        assert_eq!(changed(&before, &after), want);
        assert_eq!(changed(&before, &before), BTreeSet::new());
    }
}
