//! What has to change in the kernel: elements when sure, everything when in doubt.

use std::collections::BTreeSet;

use super::ruleset::{Elements, Ruleset};

/// Beyond this a full replace is as fast, and simpler to trust.
const MOST_CHANGES: usize = 1_000;

/// What the kernel holds now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Both tables without elements, in nft's words.
    pub printed: String,
    pub elements: Elements,
}

/// What we left in the kernel. nft prints rules in other words than it was given, and those
/// differ between its versions: what it printed right after our change is what it has to
/// print as long as nobody touched the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Our own text without elements.
    pub rendered: String,
    pub found: Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Change(Box<Changes>),
    Replace,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    pub delete: Elements,
    pub add: Elements,
}

/// Has somebody else changed, or removed, what we left?
pub fn drifted(left: Option<&Left>, found: Option<&Found>) -> bool {
    left.is_some_and(|left| found != Some(&left.found))
}

/// `rendered` is `wanted`'s own text without elements.
pub fn step(left: Option<&Left>, found: Option<&Found>, wanted: &Ruleset, rendered: &str) -> Step {
    let (Some(left), Some(found)) = (left, found) else { return Step::Replace };
    if left.rendered != rendered || left.found.printed != found.printed {
        return Step::Replace;
    }
    let changes = changes(&found.elements, &wanted.elements);
    // How nft takes intervals that overlap in one batch differs between its versions.
    if !changes.delete.tunnel_range.is_empty() {
        return Step::Replace;
    }
    match changes.delete.len() + changes.add.len() {
        0 => Step::Nothing,
        1..=MOST_CHANGES => Step::Change(Box::new(changes)),
        _ => Step::Replace,
    }
}

pub fn changes(from: &Elements, to: &Elements) -> Changes {
    Changes { delete: minus(from, to), add: minus(to, from) }
}

/// A map entry whose value differs is in both directions: deleted and added.
fn minus(a: &Elements, b: &Elements) -> Elements {
    Elements {
        client_port: a
            .client_port
            .iter()
            .filter(|(ip, port)| b.client_port.get(ip) != Some(port))
            .map(|(ip, port)| (*ip, *port))
            .collect(),
        client_ports: less(&a.client_ports, &b.client_ports),
        clients: less(&a.clients, &b.clients),
        open: less(&a.open, &b.open),
        pins: less(&a.pins, &b.pins),
        pinned: less(&a.pinned, &b.pinned),
        pinned_macs: less(&a.pinned_macs, &b.pinned_macs),
        tunnel_tcp: less(&a.tunnel_tcp, &b.tunnel_tcp),
        tunnel_udp: less(&a.tunnel_udp, &b.tunnel_udp),
        tunnel_range: less(&a.tunnel_range, &b.tunnel_range),
    }
}

fn less<T: Ord + Copy>(a: &BTreeSet<T>, b: &BTreeSet<T>) -> BTreeSet<T> {
    a.difference(b).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use pgw_core::active::{ActiveTunnels, Desired};
    use pgw_core::mac::Mac;
    use pgw_core::ports::PortRange;
    use proptest::collection::{btree_map, btree_set};
    use proptest::prelude::*;

    use super::*;
    use crate::nft::fake::Model;
    use crate::nft::plan::{Policy, plan};
    use crate::nft::render;
    use crate::testing::policy;

    fn ruleset(desired: &Desired) -> Ruleset {
        let policy = Policy { ports: PortRange::spanning(1, 65535), ..policy() };
        plan(desired, &policy).unwrap()
    }

    fn left(ruleset: &Ruleset) -> Left {
        let mut model = Model::default();
        model.apply(&render::replace(ruleset)).unwrap();
        Left { rendered: render::skeleton(&ruleset.skeleton), found: model.found().unwrap() }
    }

    /// Few addresses and ports, so that two sets have much in common.
    fn desired() -> impl Strategy<Value = Desired> {
        let address = || (0u8..24).prop_map(|last| Ipv4Addr::new(10, 0, 0, last));
        // Fewer hardware addresses than addresses: some devices have several.
        let mac = || (0u8..6).prop_map(|last| Mac::new([2, 0, 0, 0, 0, last]).unwrap());
        let ports = || btree_set(10_000u16..10_008, 0..5);
        let tunnels =
            (ports(), ports()).prop_map(|(tcp, udp)| ActiveTunnels { range: [10_000, 10_007], tcp, udp });
        let parts = (
            btree_map(address(), 1u16..40, 0..12),
            btree_set(address(), 0..12),
            btree_map(address(), mac(), 0..12),
            tunnels,
        );
        parts.prop_map(|(mapped, mut closed, mut pins, tunnels)| {
            closed.retain(|ip| !mapped.contains_key(ip));
            pins.retain(|ip, _| mapped.contains_key(ip) || closed.contains(ip));
            Desired { mapped, closed, pins, tunnels: Some(tunnels), ..Desired::default() }
        })
    }

    proptest! {
        #[test]
        fn from_any_ruleset_the_changes_lead_to_any_other(a in desired(), b in desired()) {
            let (a, b) = (ruleset(&a), ruleset(&b));
            let mut model = Model::default();
            model.apply(&render::replace(&a)).unwrap();
            let batch = match step(Some(&left(&a)), model.found().as_ref(), &b, &left(&b).rendered) {
                Step::Nothing => String::new(),
                Step::Change(changes) => render::changes(&changes),
                Step::Replace => return Err(TestCaseError::fail("so few changes need no replace")),
            };
            model.apply(&batch).unwrap();
            prop_assert_eq!(model.found(), Some(left(&b).found));
        }

        #[test]
        fn a_replace_leads_from_anything_to_any_ruleset(a in desired(), b in desired()) {
            let (a, b) = (ruleset(&a), ruleset(&b));
            let mut model = Model::default();
            model.apply(&render::replace(&a)).unwrap();
            model.apply(&render::replace(&b)).unwrap();
            prop_assert_eq!(model.found(), Some(left(&b).found));
        }

        #[test]
        fn what_is_as_wanted_is_not_touched(a in desired()) {
            let a = ruleset(&a);
            let left = left(&a);
            prop_assert_eq!(step(Some(&left), Some(&left.found), &a, &left.rendered), Step::Nothing);
        }
    }

    fn many(clients: u32) -> Desired {
        let closed = (0..clients).map(|n| Ipv4Addr::from(0x0a00_0000 + n)).collect();
        Desired { closed, ..Desired::default() }
    }

    #[test]
    fn in_doubt_everything_is_replaced() {
        let wanted = ruleset(&many(1));
        let ours = left(&wanted);
        let replaced = |left: Option<&Left>, found: Option<&Found>, rendered: &str| {
            step(left, found, &wanted, rendered) == Step::Replace
        };
        let touched = Found { printed: format!("{}\n# more", ours.found.printed), ..ours.found.clone() };
        assert!(!replaced(Some(&ours), Some(&ours.found), &ours.rendered));
        assert!(replaced(None, Some(&ours.found), &ours.rendered), "we do not know who wrote it");
        assert!(replaced(Some(&ours), None, &ours.rendered), "the tables are gone");
        assert!(replaced(Some(&ours), Some(&touched), &ours.rendered), "somebody changed the rules");
        assert!(replaced(Some(&ours), Some(&ours.found), "other"), "the settings have changed");
    }

    #[test]
    fn more_than_a_thousand_changes_are_a_replace() {
        let (none, some, more) = (ruleset(&many(0)), ruleset(&many(1_000)), ruleset(&many(1_001)));
        let empty = left(&none);
        let go = |to| step(Some(&empty), Some(&empty.found), to, &empty.rendered);
        assert!(matches!(go(&some), Step::Change(changes) if changes.add.len() == 1_000));
        assert_eq!(go(&more), Step::Replace);
    }

    #[test]
    fn a_tunnel_more_is_one_element_and_another_range_is_a_replace() {
        let with = |range, tcp: &[u16]| {
            let tunnels = ActiveTunnels { range, tcp: tcp.iter().copied().collect(), udp: BTreeSet::new() };
            ruleset(&Desired { tunnels: Some(tunnels), ..Desired::default() })
        };
        let before = left(&with([10_000, 10_009], &[10_001]));
        let go = |to: &Ruleset| step(Some(&before), Some(&before.found), to, &before.rendered);
        let Step::Change(changes) = go(&with([10_000, 10_009], &[10_001, 10_002])) else {
            panic!("a change")
        };
        assert_eq!((changes.delete.len(), changes.add.len()), (0, 1));
        assert_eq!(go(&with([10_000, 10_019], &[10_001])), Step::Replace);
    }

    #[test]
    fn only_what_others_did_is_drift() {
        let ours = left(&ruleset(&many(1)));
        let fewer = Found { elements: Elements::default(), ..ours.found.clone() };
        assert!(!drifted(None, None));
        assert!(!drifted(None, Some(&ours.found)), "what an earlier process left is not drift");
        assert!(!drifted(Some(&ours), Some(&ours.found)));
        assert!(drifted(Some(&ours), Some(&fewer)));
        assert!(drifted(Some(&ours), None));
    }
}
