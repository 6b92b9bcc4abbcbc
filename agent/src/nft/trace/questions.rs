//! What becomes of the packets of everyday life (G1, G2, G5, G9).

use super::*;

#[test]
fn a_mapped_device_leaves_by_its_own_forwarder_or_not_at_all() {
    ask(
        &usual(),
        &[
            ("mapped tcp 443 wan", "reaches 15001"),
            ("mapped tcp 80 wan", "reaches 15001"),
            ("other-mapped tcp 443 wan", "reaches 15002"),
            ("mapped tcp 443 vpn", "reaches 15001"),
            ("mapped tcp 8443 wan", "dropped by closed_other"),
            ("mapped tcp 22 vpn", "dropped by closed_other"),
            ("mapped udp 443 wan", "dropped by closed_udp"),
            ("mapped icmp 0 wan", "dropped by closed_other"),
            ("mapped tcp 443 wan established", "dropped by closed_other"),
            ("mapped udp 443 wan established", "dropped by closed_udp"),
            ("mapped tcp 5000 wan established reply", "dropped by closed_other"),
            ("mapped tcp 22 lan", "leaves by ens19"),
        ],
    );
}

#[test]
fn a_closed_device_has_no_way_out() {
    ask(
        &usual(),
        &[
            ("closed tcp 443 wan", "dropped by closed_other"),
            ("closed tcp 80 vpn", "dropped by closed_other"),
            ("closed udp 443 wan", "dropped by closed_udp"),
            ("closed icmp 0 wan", "dropped by closed_other"),
            ("closed tcp 443 wan established", "dropped by closed_other"),
            ("closed udp 53 gateway", "dropped by closed_dns"),
            ("closed tcp 53 gateway", "dropped by closed_dns"),
            ("lan-v6 udp 53 gateway", "dropped by closed_dns"),
            ("closed tcp 22 gateway", "reaches 22"),
            // The connection was redirected while the device was mapped.
            ("closed tcp 15003 gateway established dnat", "dropped by forwarder_range"),
        ],
    );
}

#[test]
fn ipv6_from_the_lan_leaves_by_no_interface() {
    ask(
        &usual(),
        &[
            ("lan-v6 tcp 443 wan", "dropped by lan_ipv6"),
            ("lan-v6 udp 443 vpn", "dropped by lan_ipv6"),
            ("lan-v6 tcp 443 wan established", "dropped by lan_ipv6"),
            ("lan-v6 tcp 443 lan", "leaves by ens19"),
            ("lan-v6 tcp 22 gateway", "reaches 22"),
        ],
    );
}

#[test]
fn a_forwarder_is_reached_by_its_own_device_through_the_redirect_and_by_nobody_else() {
    ask(
        &usual(),
        &[
            ("mapped tcp 15001 gateway dnat", "reaches 15001"),
            ("mapped tcp 15001 gateway established dnat", "reaches 15001"),
            ("mapped tcp 15001 gateway", "dropped by forwarder_range"),
            ("mapped tcp 15001 gateway established", "dropped by forwarder_range"),
            ("mapped tcp 15002 gateway", "dropped by forwarder_range"),
            ("mapped tcp 15002 gateway dnat", "dropped by forwarder_range"),
            ("mapped tcp 15999 gateway", "dropped by forwarder_range"),
            ("mapped udp 15001 gateway", "dropped by forwarder_range"),
            ("mapped udp 15001 gateway dnat", "reaches 15001"),
            ("mapped udp 15001 gateway established dnat", "reaches 15001"),
            ("mapped udp 15002 gateway dnat", "dropped by forwarder_range"),
            ("closed udp 15001 gateway dnat", "dropped by forwarder_range"),
            ("stranger udp 15001 gateway dnat", "dropped by forwarder_range"),
            ("closed tcp 15001 gateway", "dropped by forwarder_range"),
            ("stranger tcp 15001 gateway", "dropped by forwarder_range"),
            ("stranger tcp 15001 gateway dnat", "dropped by forwarder_range"),
            ("lan-v6 tcp 15001 gateway", "dropped by forwarder_range"),
            ("internet tcp 15001 gateway", "dropped by forwarder_range"),
            ("internet-v6 udp 15001 gateway", "dropped by forwarder_range"),
            ("mapped-from-wan tcp 15001 gateway dnat", "dropped by forwarder_range"),
            ("gateway tcp 15001 gateway", "reaches 15001"),
            ("stranger tcp 15000 gateway", "reaches 15000"),
            ("stranger tcp 16000 gateway", "reaches 16000"),
            // The gateway's own connection, with a local port of that range.
            ("internet tcp 15001 gateway established reply", "reaches 15001"),
        ],
    );
}

#[test]
fn the_gateway_itself_answers_mapped_devices_but_not_their_dns() {
    ask(
        &usual(),
        &[
            ("mapped tcp 443 gateway", "reaches 443"),
            ("mapped tcp 80 gateway", "reaches 80"),
            ("closed tcp 443 gateway", "reaches 443"),
        ],
    );
}

#[test]
fn dns_of_a_mapped_device_goes_to_its_own_forwarder_whomever_it_asks() {
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        ask(
            &with(unregistered),
            &[
                ("mapped udp 53 wan", "reaches 15001"),
                ("mapped tcp 53 wan", "reaches 15001"),
                ("mapped udp 53 vpn", "reaches 15001"),
                ("mapped udp 53 lan", "reaches 15001"),
                ("mapped udp 53 gateway", "reaches 15001"),
                ("mapped tcp 53 gateway", "reaches 15001"),
                ("other-mapped udp 53 gateway", "reaches 15002"),
                // From before the redirect: conntrack remembers the old way, and it is closed.
                ("mapped udp 53 gateway established", "dropped by closed_dns"),
                ("mapped tcp 53 gateway established", "dropped by closed_dns"),
                ("mapped udp 53 wan established", "dropped by closed_udp"),
                ("mapped tcp 853 wan", "dropped by closed_other"),
                ("closed udp 53 wan", "dropped by closed_udp"),
                ("closed tcp 53 wan", "dropped by closed_other"),
                ("closed udp 53 gateway", "dropped by closed_dns"),
                ("closed tcp 53 gateway", "dropped by closed_dns"),
                ("lan-v6 udp 53 gateway", "dropped by closed_dns"),
                ("mapped-from-wan udp 53 gateway", "reaches 53"),
            ],
        );
    }
}

#[test]
fn with_dns_gateway_mapped_devices_ask_the_gateway_and_nobody_else() {
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        ask(
            &Policy { dns: DnsChoice::Gateway, ..with(unregistered) },
            &[
                ("mapped udp 53 gateway", "reaches 53"),
                ("mapped tcp 53 gateway", "reaches 53"),
                ("mapped udp 53 wan", "dropped by closed_udp"),
                ("mapped tcp 53 wan", "dropped by closed_other"),
                ("mapped udp 15001 gateway dnat", "dropped by forwarder_range"),
                ("mapped tcp 15001 gateway dnat", "reaches 15001"),
                ("closed udp 53 gateway", "dropped by closed_dns"),
                ("lan-v6 udp 53 gateway", "dropped by closed_dns"),
            ],
        );
    }
}

#[test]
fn a_device_that_nobody_registered_is_left_alone() {
    ask(
        &usual(),
        &[
            ("stranger tcp 443 wan", "leaves by eth0"),
            ("stranger udp 443 wan", "leaves by eth0"),
            ("stranger icmp 0 vpn", "leaves by wg0"),
            ("stranger udp 53 gateway", "reaches 53"),
            ("internet tcp 443 lan established reply", "leaves by ens19"),
            ("internet tcp 443 gateway", "reaches 443"),
        ],
    );
}

#[test]
fn with_unregistered_drop_nothing_leaves_the_lan_but_what_is_mapped() {
    ask(
        &with(Unregistered::Drop),
        &[
            ("mapped tcp 443 wan", "reaches 15001"),
            ("stranger tcp 443 wan", "dropped by unregistered"),
            ("stranger tcp 443 wan established", "dropped by unregistered"),
            ("stranger udp 443 vpn", "dropped by unregistered"),
            ("stranger udp 53 gateway", "dropped by closed_dns"),
            ("stranger tcp 22 gateway", "reaches 22"),
            ("stranger tcp 22 lan", "leaves by ens19"),
            ("closed udp 53 gateway", "dropped by closed_dns"),
            ("lan-v6 udp 53 gateway", "dropped by closed_dns"),
            ("internet tcp 443 lan established reply", "leaves by ens19"),
        ],
    );
}

#[test]
fn with_closed_action_reject_what_is_closed_is_told_at_once() {
    ask(
        &Policy { closed_action: ClosedAction::Reject, ..with(Unregistered::Drop) },
        &[
            ("closed tcp 443 wan", "rejected by closed_other"),
            ("closed udp 443 wan", "rejected by closed_udp"),
            ("closed icmp 0 wan", "rejected by closed_other"),
            ("closed udp 53 gateway", "rejected by closed_dns"),
            ("mapped udp 443 wan", "rejected by closed_udp"),
            ("lan-v6 tcp 443 wan", "rejected by lan_ipv6"),
            ("stranger tcp 443 wan", "rejected by unregistered"),
            // Scanners learn nothing from the range.
            ("stranger tcp 15001 gateway", "dropped by forwarder_range"),
            ("mapped tcp 443 wan", "reaches 15001"),
        ],
    );
}
