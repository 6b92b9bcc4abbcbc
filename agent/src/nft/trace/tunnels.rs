//! What the WAN reaches of the tunnels' ports (G38).

use super::*;

#[test]
fn the_wan_reaches_the_ports_of_open_tunnels_and_no_other_of_their_range() {
    ask(
        &usual(),
        &[
            ("internet tcp 12000 gateway", "reaches 12000"),
            ("internet tcp 12000 gateway established", "reaches 12000"),
            ("internet-v6 tcp 12000 gateway", "reaches 12000"),
            ("internet udp 12001 gateway", "reaches 12001"),
            ("internet tcp 12002 gateway", "reaches 12002"),
            ("internet udp 12002 gateway", "reaches 12002"),
            ("internet udp 12000 gateway", "dropped by tunnel_range"),
            ("internet tcp 12001 gateway", "dropped by tunnel_range"),
            ("internet tcp 10000 gateway", "dropped by tunnel_range"),
            ("internet udp 32000 gateway", "dropped by tunnel_range"),
            ("internet-v6 udp 20000 gateway", "dropped by tunnel_range"),
            // A tunnel that was closed takes the connections on it along.
            ("internet tcp 12003 gateway established", "dropped by tunnel_range"),
            ("internet tcp 9999 gateway", "reaches 9999"),
            ("internet tcp 32001 gateway", "reaches 32001"),
            ("internet tcp 8443 gateway", "reaches 8443"),
            ("internet icmp 0 gateway", "reaches the gateway"),
        ],
    );
}

#[test]
fn only_the_wan_is_spoken_of() {
    ask(
        &usual(),
        &[
            ("stranger tcp 12000 gateway", "reaches 12000"),
            ("stranger tcp 20000 gateway", "reaches 20000"),
            ("mapped udp 20000 gateway", "reaches 20000"),
            ("gateway tcp 20000 gateway", "reaches 20000"),
            ("internet tcp 20000 lan", "leaves by ens19"),
        ],
    );
}

#[test]
fn the_gateways_own_questions_are_answered_within_the_range() {
    ask(
        &usual(),
        &[
            ("internet udp 20000 gateway established reply", "reaches 20000"),
            ("internet tcp 20000 gateway established reply", "reaches 20000"),
        ],
    );
}

#[test]
fn a_tunnel_opens_no_forwarder() {
    let tunnels = ActiveTunnels { tcp: [15_001].into(), ..tunnels() };
    let desired = Desired { tunnels: Some(tunnels), ..Desired::default() };
    let text = Text::read(&render::replace(&plan(&desired, &usual()).unwrap()));
    let fate = walk::fate(&packet("internet tcp 15001 gateway"), &text);
    assert_eq!(fate, "dropped by forwarder_range");
}

#[test]
fn before_anybody_spoke_of_tunnels_the_wan_is_left_alone() {
    let text = Text::read(&render::replace(&plan(&Desired::default(), &usual()).unwrap()));
    assert_eq!(walk::fate(&packet("internet tcp 20000 gateway"), &text), "reaches 20000");
}
