//! What only systemd does: results, refusals, and a bus that goes away.

use std::collections::BTreeSet;

use super::mock_systemd::{Mock, Refusal, SystemdRig, unit};
use super::*;

async fn start_error(rig: &SystemdRig) -> UnitError {
    rig.units.start(PORT).await.unwrap_err()
}

#[tokio::test]
async fn every_result_but_done_is_a_failure_that_names_it_and_where_to_look() {
    let rig = SystemdRig::new().await;
    for result in ["failed", "canceled", "timeout", "dependency", "skipped"] {
        rig.mock.state().results.insert(unit(PORT), result);
        let text = start_error(&rig).await.to_string();
        assert!(text.contains(result) && text.contains("journalctl -u pgw-fwd@15001"), "{text}");
    }
}

#[tokio::test]
async fn done_is_not_believed_of_a_unit_that_is_not_up() {
    let rig = SystemdRig::new().await;
    rig.mock.state().conditions_fail = true;
    let text = start_error(&rig).await.to_string();
    assert!(text.contains("it is inactive"), "{text}");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let rig = SystemdRig::new().await;
    rig.mock.state().refusal = Some(Refusal::Unknown);
    let error = start_error(&rig).await;
    assert!(matches!(error, UnitError::NotInstalled { .. }), "{error}");
    rig.units.stop(PORT).await.unwrap();
    rig.mock.state().refusal = Some(Refusal::Denied);
    let error = start_error(&rig).await;
    assert!(matches!(error, UnitError::Denied { port: PORT, verb: "start" }), "{error}");
    assert!(rig.units.stop(PORT).await.is_err());
    rig.mock.state().refusal = Some(Refusal::Masked);
    let text = start_error(&rig).await.to_string();
    assert!(text.contains("UnitMasked") && text.contains("is masked"), "{text}");
}

#[tokio::test]
async fn a_job_that_never_ends_is_a_timeout() {
    let rig = SystemdRig::new().await;
    rig.mock.state().hangs = true;
    tokio::time::pause();
    let error = start_error(&rig).await;
    assert!(matches!(error, UnitError::Timeout { port: PORT, seconds: 10, .. }), "{error}");
}

#[tokio::test]
async fn units_that_are_not_forwarders_are_not_listed_and_neither_are_dead_ones() {
    let rig = SystemdRig::new().await;
    for (port, state) in
        [(1, "active"), (2, "activating"), (3, "deactivating"), (4, "inactive"), (5, "failed")]
    {
        rig.mock.becomes(port, state).await;
    }
    assert_eq!(rig.units.running().await.unwrap(), BTreeSet::from([1, 2, 3]));
}

#[tokio::test]
async fn what_runs_at_the_start_is_no_news_and_its_death_is() {
    let mock = Mock::default();
    let first = SystemdRig::over(mock.clone()).await;
    first.units.start(PORT).await.unwrap();
    drop(first);
    let mut second = SystemdRig::over(mock).await;
    second.mock.becomes(PORT, "failed").await;
    assert_eq!(news(&mut second).await, PORT);
    assert!(second.news().try_recv().is_err());
}

#[tokio::test]
async fn a_bus_that_went_away_is_connected_again_and_what_happened_meanwhile_is_told() {
    let mut rig = SystemdRig::new().await;
    rig.units.start(PORT).await.unwrap();
    rig.units.start(OTHER).await.unwrap();
    rig.mock.dies_unseen(PORT);
    rig.mock.hang_up().await;
    assert_eq!(news(&mut rig).await, PORT);
    assert_eq!(rig.units.running().await.unwrap(), BTreeSet::from([OTHER]));
    rig.units.start(PORT).await.unwrap();
    rig.kill(OTHER).await;
    assert_eq!(news(&mut rig).await, OTHER, "signals are heard on the new connection");
}

#[tokio::test]
async fn an_order_that_is_under_way_when_the_bus_goes_away_fails_at_once() {
    let rig = SystemdRig::new().await;
    rig.mock.state().hangs = true;
    let hang_up = async {
        while !rig.mock.has_unit(PORT) {
            tokio::task::yield_now().await;
        }
        rig.mock.hang_up().await;
    };
    let (started, ()) =
        timeout(PATIENCE, async { tokio::join!(rig.units.start(PORT), hang_up) }).await.unwrap();
    let error = started.unwrap_err();
    assert!(matches!(error, UnitError::Bus(_)), "{error}");
}

#[tokio::test]
async fn hundreds_of_starts_at_once_all_end() {
    let rig = SystemdRig::new().await;
    let ports = 15001..=15500;
    let starts = ports.clone().map(|port| rig.units.start(port));
    for started in futures_util::future::join_all(starts).await {
        started.unwrap();
    }
    assert_eq!(rig.units.running().await.unwrap(), ports.collect());
}
