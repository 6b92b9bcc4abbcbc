use std::net::UdpSocket;
use std::sync::atomic::Ordering;

use super::fake::FakeConntrack;
use super::*;
use crate::nft::kernel::{Kernel, Nft};
use crate::nft::ruleset::Elements;
use crate::testing::{again_inside, inside};
use pgw_core::active::Desired;
use pgw_core::ports::PortRange;

/// Connections are tracked where somebody asks for it; 10080 is redirected to 15001.
const TRACKING: &str = "table ip t {
 chain out { type nat hook output priority -100; udp dport 10080 redirect to :15001; }
 chain in { type filter hook input priority filter; ct state established accept; }
}
";

fn local(last: u8) -> Ipv4Addr {
    [127, 0, 0, last].into()
}

fn begin(from: u8, port: u16) {
    let socket = UdpSocket::bind((local(from), 0)).unwrap();
    socket.send_to(b"hello", (local(1), port)).unwrap();
}

fn who(last: impl IntoIterator<Item = u8>) -> BTreeSet<Ipv4Addr> {
    last.into_iter().map(local).collect()
}

async fn found(who: &BTreeSet<Ipv4Addr>) -> Vec<(Ipv4Addr, u16, u16, bool)> {
    let mut found: Vec<_> = Ctnetlink
        .begun_by(who)
        .await
        .unwrap()
        .into_iter()
        .map(|flow| (flow.source, flow.destination_port, flow.answered_from_port, flow.redirected))
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn the_real_kernel_lists_and_ends_what_was_begun_by_these_and_nothing_else() {
    if !inside() {
        let name = "the_real_kernel_lists_and_ends_what_was_begun_by_these_and_nothing_else";
        return again_inside(&format!("conntrack::tests::{name}")).await;
    }
    Nft::default().apply(TRACKING).await.unwrap();
    assert_eq!(found(&who([2])).await, vec![]);
    for from in 2..20 {
        begin(from, 9);
        begin(from, 10080);
    }
    // A few are asked for one by one, many all at once.
    for some in [who([2, 3]), who(2..19)] {
        let want: Vec<_> =
            some.iter().flat_map(|ip| [(*ip, 9, 9, false), (*ip, 10080, 15001, true)]).collect();
        assert_eq!(found(&some).await, want);
        let flows = Ctnetlink.begun_by(&some).await.unwrap();
        assert_eq!(Ctnetlink.end(flows.clone()).await.unwrap(), want.len());
        assert_eq!(Ctnetlink.end(flows).await.unwrap(), 0, "what is gone is no error");
        assert_eq!(found(&some).await, vec![]);
        for ip in some {
            begin(ip.octets()[3], 9);
            begin(ip.octets()[3], 10080);
        }
    }
    assert_eq!(found(&who([19])).await.len(), 2, "others are left alone");
}

fn house(elements: &Elements) -> House<'_> {
    static OWN: BTreeSet<Ipv4Addr> = BTreeSet::new();
    static PORTS: std::sync::LazyLock<PortRange> =
        std::sync::LazyLock::new(|| PortRange::spanning(15001, 15999));
    House { elements, ports: &PORTS, own: &OWN }
}

#[tokio::test]
async fn it_is_looked_until_nothing_is_found() {
    let conntrack = FakeConntrack::default();
    let elements = Elements::of(&Desired { closed: who([2]), ..Desired::default() });
    conntrack.begin(local(2), [203, 0, 113, 10], 443);
    conntrack.begin(local(3), [203, 0, 113, 10], 443);
    assert_eq!(settle(&conntrack, &who([2, 3]), &house(&elements)).await.unwrap(), 1);
    assert_eq!(conntrack.sources(), [local(3)], "3 is not registered");
    assert_eq!(conntrack.looks.load(Ordering::SeqCst), 2);
}
