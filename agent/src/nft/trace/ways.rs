//! Every way out that a device could try, and whom it could pretend to be (G1, G2, G15, G16). The
//! lab tries the same ways with real packets, in `ways.rs` and `sources.rs`.

use super::*;

#[test]
fn no_protocol_is_a_way_out() {
    for who in ["closed", "mapped", "pinned"] {
        for what in
            ["sctp 443", "udplite 443", "gre 0", "esp 0", "ipip 0", "igmp 0", "icmp 0", "tcp 25", "udp 4500"]
        {
            for to in ["wan", "vpn", "wan-multicast", "wan-broadcast"] {
                let counter = if what.starts_with("udp ") { "closed_udp" } else { "closed_other" };
                let words = format!("{who} {what} {to}");
                ask(&usual(), &[(&words, &format!("dropped by {counter}"))]);
            }
        }
    }
}

#[test]
fn a_registered_device_leaves_by_the_wan_from_no_interface() {
    ask(
        &usual(),
        &[
            ("closed-elsewhere tcp 443 wan", "dropped by closed_other"),
            ("closed-elsewhere udp 443 wan established", "dropped by closed_other"),
            ("mapped-elsewhere tcp 443 wan", "dropped by closed_other"),
            // Where that leads is not known to be out.
            ("closed-elsewhere tcp 443 vpn", "leaves by wg0"),
        ],
    );
}

#[test]
fn what_comes_from_the_wan_gets_no_answer_from_a_registered_device() {
    ask(
        &usual(),
        &[
            ("internet tcp 22 lan", "leaves by ens19"),
            ("closed tcp 50000 wan established reply", "dropped by closed_other"),
            ("mapped udp 50000 wan established reply", "dropped by closed_udp"),
            ("stranger tcp 50000 wan established reply", "leaves by eth0"),
        ],
    );
}

#[test]
fn a_source_that_is_not_routed_back_to_the_lan_is_nobodys() {
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        ask(
            &with(unregistered),
            &[
                ("nobody tcp 443 wan", "dropped by spoofed"),
                ("nobody udp 443 vpn", "dropped by spoofed"),
                ("nobody icmp 0 wan established", "dropped by spoofed"),
                ("nobody udp 53 gateway", "dropped by spoofed"),
                ("nobody tcp 15001 gateway dnat", "dropped by spoofed"),
                ("as-gateway tcp 443 wan", "dropped by spoofed"),
                ("as-loopback udp 53 gateway", "dropped by spoofed"),
                // Of another interface nothing is said.
                ("mapped-from-wan tcp 443 lan", "leaves by ens19"),
                ("internet tcp 443 gateway", "reaches 443"),
                ("lan-v6 tcp 22 gateway", "reaches 22"),
            ],
        );
    }
}

#[test]
fn who_has_no_address_yet_may_ask_for_one_and_for_nothing_else() {
    ask(
        &usual(),
        &[
            ("without-address udp 67 everybody", "reaches 67"),
            ("without-address udp 53 everybody", "dropped by closed_dns"),
            ("without-address udp 53 gateway", "dropped by spoofed"),
            ("without-address udp 53 wan", "dropped by spoofed"),
            ("pinned-asking udp 67 everybody", "reaches 67"),
            ("pinned-asking udp 68 everybody", "dropped by impostor"),
            ("pinned-asking udp 67 gateway", "dropped by spoofed"),
        ],
    );
}

#[test]
fn a_pinned_address_is_used_by_its_device_only() {
    for unregistered in [Unregistered::Allow, Unregistered::Drop] {
        ask(
            &with(unregistered),
            &[
                ("pinned tcp 443 wan", "reaches 15003"),
                ("pinned tcp 15003 gateway established dnat", "reaches 15003"),
                ("pinned udp 53 gateway", "reaches 15003"),
                ("pinned tcp 22 gateway", "reaches 22"),
                ("pinned tcp 22 lan", "leaves by ens19"),
                ("pinned-by-another tcp 443 wan", "dropped by impostor"),
                ("pinned-by-another tcp 443 wan established", "dropped by impostor"),
                ("pinned-by-another udp 53 gateway", "dropped by impostor"),
                ("pinned-by-another tcp 15003 gateway established dnat", "dropped by impostor"),
                ("pinned-by-another tcp 22 gateway", "dropped by impostor"),
                // An interface without hardware addresses proves nothing.
                ("pinned-by-nobody tcp 443 wan", "dropped by impostor"),
            ],
        );
    }
}

#[test]
fn a_pinned_device_is_closed_at_every_other_address() {
    ask(
        &usual(),
        &[
            ("pinned-elsewhere tcp 443 wan", "dropped by impostor"),
            ("pinned-elsewhere udp 53 gateway", "dropped by impostor"),
            ("pinned-as-mapped tcp 443 wan", "dropped by impostor"),
            ("pinned-v6 tcp 443 wan", "dropped by lan_ipv6"),
            ("pinned-v6 tcp 22 gateway", "reaches 22"),
            ("first-of-two tcp 443 wan", "dropped by closed_other"),
            ("second-of-two tcp 443 wan", "dropped by closed_other"),
            ("first-of-two tcp 22 gateway", "reaches 22"),
            ("second-of-two tcp 22 gateway", "reaches 22"),
        ],
    );
}

#[test]
fn an_impostor_is_told_nothing_even_where_closed_devices_are() {
    let reject = Policy { closed_action: ClosedAction::Reject, ..usual() };
    ask(
        &reject,
        &[
            ("nobody tcp 443 wan", "dropped by spoofed"),
            ("pinned-by-another tcp 443 wan", "dropped by impostor"),
            ("first-of-two tcp 443 wan", "rejected by closed_other"),
        ],
    );
}

#[test]
fn nothing_of_the_leak_drill_ever_leaves() {
    for what in ["tcp 443", "tcp 22", "udp 53", "udp 443", "icmp 0"] {
        for to in ["wan", "vpn"] {
            let counter = if what.starts_with("udp ") { "closed_udp" } else { "closed_other" };
            ask(&usual(), &[(&format!("drill-closed {what} {to}"), &format!("dropped by {counter}"))]);
            let last = "dropped by a packet would be out that nobody closes";
            ask(&usual(), &[(&format!("drill-stranger {what} {to}"), last)]);
            let closed = with(Unregistered::Drop);
            ask(&closed, &[(&format!("drill-stranger {what} {to}"), "dropped by unregistered")]);
        }
    }
}
