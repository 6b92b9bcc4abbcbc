//! What is done after somebody else's hand.

use pgw_core::news::{Episode, Phase, What};

use super::*;
use crate::drift::Foreign;

#[tokio::test]
async fn what_others_changed_is_given_back_from_memory_and_what_began_meanwhile_ends() {
    let mut house = House::settled().await;
    let before = house.kernel.model().found();
    for table in Table::ALL {
        house.kernel.model().forget(table);
    }
    house.conntrack.begin(ip(4), ORIGIN, 443);
    let asked = Err(unreachable());
    *house.api.0.lock().unwrap() = asked;
    let healing = house.reconciler.heal(&Foreign::seen(Some("nft".to_owned()))).await;
    assert!(healing.done);
    assert_eq!(house.kernel.model().found(), before);
    assert_eq!(house.conntrack.sources(), [ip(3), ip(4)], "the direct one has ended");
    let drift = house.status.now().drift;
    assert_eq!((drift.count, drift.last_by.as_deref(), drift.fighting), (1, Some("nft"), false));
    assert!(drift.healed_ms.is_some() && drift.last_at.is_some());
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    assert_eq!(house.drift(), 1, "it is counted once");
}

#[tokio::test]
async fn a_change_that_a_look_has_covered_is_not_healed_twice() {
    let mut house = House::settled().await;
    let foreign = Foreign::seen(None);
    house.kernel.model().forget(Table::Nat);
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    let applied = house.kernel.times_applied();
    house.reconciler.heal(&foreign).await;
    assert_eq!((house.kernel.times_applied(), house.drift()), (applied, 1));
}

#[tokio::test]
async fn when_notices_were_lost_a_look_decides_what_is_done() {
    let mut house = House::settled().await;
    let applied = house.kernel.times_applied();
    house.reconciler.heal(&Foreign::perhaps()).await;
    assert_eq!((house.kernel.times_applied(), house.drift()), (applied, 0));
    house.kernel.model().forget(Table::Filter);
    let before = house.kernel.model().found();
    house.reconciler.heal(&Foreign::perhaps()).await;
    assert_ne!(house.kernel.model().found(), before);
    assert_eq!(house.drift(), 1);
}

#[tokio::test]
async fn what_is_given_back_is_what_the_kernel_took_last_and_never_what_was_before() {
    let mut house = House::settled().await;
    // Taken, and changed by somebody else before it could be confirmed; the change, and then all.
    house.kernel.forgets.store(2, Ordering::SeqCst);
    house.reconcile(Ok(active(2, &[], &[3, 4, 5]))).await.unwrap_err();
    assert!(house.reconciler.heal(&Foreign::seen(None)).await.done);
    let found = house.kernel.model().found().unwrap();
    assert_eq!((house.ports(), found.elements.registered().count()), (vec![], 3));
}

#[tokio::test(start_paused = true)]
async fn a_fight_is_told_while_it_lasts() {
    let mut house = House::settled().await;
    for _ in 0..10 {
        house.kernel.model().forget(Table::Filter);
        house.reconciler.heal(&Foreign::seen(Some("other".to_owned()))).await;
    }
    assert!(house.status.now().drift.fighting);
    for (seconds, fighting) in [(1, true), (30, false)] {
        tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
        house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
        assert_eq!(house.status.now().drift.fighting, fighting, "after {seconds} s");
    }
    let told = house.status.chronicle().after(None, 0, std::time::Duration::ZERO).await.items;
    let told: Vec<_> = told
        .into_iter()
        .map(|item| match item.what {
            What::Drift(Episode { phase, by, repairs, .. }) => (phase, by.unwrap_or_default(), repairs),
            What::Drill(drill) => panic!("nobody drilled: {drill:?}"),
        })
        .collect();
    let other = || "other".to_owned();
    let wanted = [
        (Phase::Began, other(), 1),
        (Phase::Healed, other(), 1),
        (Phase::Fighting, other(), 6),
        (Phase::Over, other(), 10),
    ];
    assert_eq!(told, wanted, "an episode is told in four lines, however long it is");
}
