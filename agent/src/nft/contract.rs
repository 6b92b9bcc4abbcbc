//! What `Kernel` promises (G8), asked of the fake and of the real one, in a network namespace.

use pgw_core::active::{ActiveTunnels, Desired};
use pgw_core::dns::DnsChoice;
use pgw_core::mac::Mac;
use pgw_core::ports::PortRange;
use pgw_core::settings::{ClosedAction, Unregistered};

use super::diff::changes;
use super::fake::FakeKernel;
use super::golden;
use super::kernel::{Kernel, KernelError, Nft};
use super::plan::{Policy, plan};
use super::render;
use super::ruleset::{Elements, Ruleset};
use crate::testing::{again_inside, inside};

fn ruleset(mapped: &[(u8, u16)], closed: &[u8], closed_action: ClosedAction) -> Ruleset {
    let ip = |last: u8| [10, 0, 0, last].into();
    let policy = Policy {
        lan_if: "lan@0.1-a_b".to_owned(),
        wan_if: "wan@0.1-a_b".to_owned(),
        ports: PortRange::spanning(15001, 15999),
        unregistered: Unregistered::Drop,
        closed_action,
        dns: DnsChoice::Upstream,
    };
    let desired = Desired {
        mapped: mapped.iter().map(|(last, port)| (ip(*last), *port)).collect(),
        closed: closed.iter().map(|last| ip(*last)).collect(),
        pins: closed.iter().map(|last| (ip(*last), Mac::new([2, 0, 0, 0, 0, *last]).unwrap())).collect(),
        tunnels: Some(ActiveTunnels {
            range: [10_000, 32_000],
            tcp: mapped.iter().map(|(last, _)| 12_000 + u16::from(*last)).collect(),
            udp: closed.iter().map(|last| 12_000 + u16::from(*last)).collect(),
        }),
        ..Desired::default()
    };
    plan(&desired, &policy).unwrap()
}

async fn holds(kernel: &dyn Kernel, ruleset: &Ruleset) {
    assert_eq!(kernel.read().await.unwrap().unwrap().elements, ruleset.elements);
}

async fn contract(kernel: &dyn Kernel) {
    assert_eq!(kernel.read().await.unwrap(), None, "nothing is there at first");
    assert_eq!(kernel.text().await.unwrap(), "");

    let first = ruleset(&[(3, 15001), (4, 15002)], &[5], ClosedAction::Drop);
    kernel.apply(&render::replace(&first)).await.unwrap();
    holds(kernel, &first).await;
    let text = kernel.text().await.unwrap();
    assert!(text.contains("client_port") && text.contains("chain forward"), "{text}");

    let printed = kernel.read().await.unwrap().unwrap().printed;
    assert!(!printed.contains("10.0.0.3"), "elements are not part of the skeleton: {printed}");

    // 3 gets another port, 4 is closed, 5 is gone, 6 is new.
    let second = ruleset(&[(3, 15002), (6, 15001)], &[4], ClosedAction::Drop);
    kernel.apply(&render::changes(&changes(&first.elements, &second.elements))).await.unwrap();
    holds(kernel, &second).await;
    assert_eq!(kernel.read().await.unwrap().unwrap().printed, printed, "elements left the rules alone");

    let third = ruleset(&[], &[], ClosedAction::Reject);
    kernel.apply(&render::replace(&third)).await.unwrap();
    holds(kernel, &third).await;
    assert_ne!(kernel.read().await.unwrap().unwrap().printed, printed, "other rules print otherwise");

    kernel.apply(&render::replace(&first)).await.unwrap();
    assert_eq!(kernel.read().await.unwrap().unwrap().printed, printed, "the same rules print the same");

    // The last line of each is bad; none of it may be done.
    let good = "delete element inet pgw_filter clients {\n\t10.0.0.3\n}\n";
    for bad in [
        "delete element ip pgw client_port {\n\t10.0.0.99\n}\n",
        "add element ip pgw client_port {\n\t10.0.0.3 : 15009\n}\n",
        "add element ip pgw nothing {\n\t10.0.0.3\n}\n",
        "delete table ip nothing\n",
        "open the gates\n",
    ] {
        let error = kernel.apply(&format!("{good}{bad}")).await.unwrap_err();
        assert!(matches!(error, KernelError::Refused(_)), "{error}");
        holds(kernel, &first).await;
    }

    // One port, the whole range, and one up to the last port there is.
    for range in [[20_000, 20_000], [1, u16::MAX], [32_768, u16::MAX], [16_384, 32_767]] {
        let tunnels = Some(ActiveTunnels { range, tcp: [].into(), udp: [].into() });
        let elements = Elements::of(&Desired { tunnels, ..Desired::default() });
        let other = Ruleset { elements, ..first.clone() };
        kernel.apply(&render::replace(&other)).await.unwrap();
        holds(kernel, &other).await;
    }

    kernel.apply("delete table ip pgw\n").await.unwrap();
    assert_eq!(kernel.read().await.unwrap(), None, "half of it is not there");
}

#[tokio::test]
async fn the_fake_kernel_keeps_the_contract() {
    contract(&FakeKernel::default()).await;
}

#[tokio::test]
async fn the_real_kernel_keeps_the_contract() {
    if inside() {
        let nft = Nft::default();
        contract(&nft).await;
        assert_eq!(nft.tally().await.unwrap().map(|tally| tally.len()), Some(33), "half of it is enough");
        nft.apply("flush chain inet pgw_filter drill_leaked\n").await.unwrap();
        assert_eq!(nft.tally().await.unwrap(), None, "a count that is missing is no zero");
        nft.apply("delete table inet pgw_filter\n").await.unwrap();
        assert_eq!(nft.tally().await.unwrap(), None);
        let mut last = String::new();
        for (case, text) in golden::texts() {
            nft.apply(&text).await.unwrap_or_else(|error| panic!("{}: {error}", case.display()));
            assert!(nft.read().await.unwrap().is_some(), "{}", case.display());
            last = text;
        }
        let printed = nft.read().await.unwrap().unwrap().printed;
        for foreign in [
            // Not a rule less, and everybody is open.
            "add table inet pgw_filter { flags dormant; }\n",
            "insert rule inet pgw_filter forward accept\n",
            "add chain inet pgw_filter forward { policy drop; }\n",
            "add set inet pgw_filter more { type ipv4_addr; }\n",
        ] {
            nft.apply(foreign).await.unwrap();
            let now = nft.read().await.unwrap().unwrap().printed;
            assert_ne!(now, printed, "{foreign}");
            nft.apply(&last).await.unwrap();
            assert_eq!(nft.read().await.unwrap().unwrap().printed, printed, "after {foreign}");
        }
        return;
    }
    again_inside("nft::contract::the_real_kernel_keeps_the_contract").await;
}
