//! Whose connections end with a change of the rules, and whose do not.

use super::*;

type Before = fn(&House);

#[tokio::test]
async fn who_is_registered_closed_moved_or_deleted_loses_what_was_open() {
    let direct = |house: &House| house.conntrack.begin(ip(5), ORIGIN, 22);
    let by_forwarder = |_: &House| {};
    let cases: [(Before, ActiveSet, u8); 4] = [
        (direct, active(2, &[(3, 15001)], &[4, 5]), 5),
        (by_forwarder, active(2, &[], &[3, 4]), 3),
        (by_forwarder, active(2, &[(3, 15002)], &[4]), 3),
        (by_forwarder, active(2, &[], &[4]), 3),
    ];
    for (before, set, who) in cases {
        let mut house = House::settled().await;
        before(&house);
        let report = house.reconcile(Ok(set.clone())).await.unwrap();
        assert_eq!((report.flows_ended, report.warnings), (1, vec![]), "{set:?}");
        assert!(!house.conntrack.sources().contains(&ip(who)), "{set:?}");
    }
}

#[tokio::test]
async fn who_stays_as_he_is_keeps_his_connections_and_is_not_even_looked_at() {
    let mut house = House::settled().await;
    let looks = house.looks();
    house.reconcile(Ok(active(2, &[(3, 15001)], &[4]))).await.unwrap();
    assert_eq!(house.looks(), looks);
    house.reconcile(Ok(active(3, &[(3, 15001), (6, 15002)], &[4]))).await.unwrap();
    assert_eq!(house.conntrack.sources(), [ip(3), ip(4)]);
}

#[tokio::test]
async fn an_agent_that_begins_ends_what_another_left_and_spares_what_is_right() {
    let before = House::settled().await;
    let mut house = House::new();
    *house.kernel.model() = before.kernel.model().clone();
    house.conntrack.begin(ip(3), GATEWAY, 15001);
    house.conntrack.begin(ip(3), ORIGIN, 443);
    house.conntrack.begin(ip(9), ORIGIN, 443);
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    assert_eq!(house.conntrack.sources(), [ip(3), ip(9)]);
}

#[tokio::test]
async fn connections_end_after_the_rules_are_there_and_never_without_them() {
    let mut house = House::settled().await;
    house.conntrack.begin(ip(5), ORIGIN, 22);
    *house.kernel.failure.lock().unwrap() = Some(KernelError::NotInstalled);
    house.reconcile(Ok(active(2, &[(3, 15001)], &[4, 5]))).await.unwrap_err();
    assert!(house.conntrack.sources().contains(&ip(5)));
    let report = house.reconcile(Ok(active(2, &[(3, 15001)], &[4, 5]))).await.unwrap();
    assert_eq!(report.flows_ended, 1);
}

#[tokio::test]
async fn connections_that_cannot_be_ended_are_told_and_tried_again() {
    let mut house = House::settled().await;
    house.conntrack.begin(ip(5), ORIGIN, 22);
    house.conntrack.broken.store(true, Ordering::SeqCst);
    let report = house.reconcile(Ok(active(2, &[(3, 15001)], &[4, 5]))).await.unwrap();
    assert!(report.warnings[0].contains("of 1 devices"), "{:?}", report.warnings);
    house.conntrack.broken.store(false, Ordering::SeqCst);
    let report = house.reconcile(Ok(active(2, &[(3, 15001)], &[4, 5]))).await.unwrap();
    assert_eq!((report.flows_ended, report.warnings, report.changed), (1, vec![], false));
}
