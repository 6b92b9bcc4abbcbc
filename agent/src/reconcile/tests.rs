use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use pgw_core::active::ActiveSet;

use super::*;
use pgw_core::settings::AgentSettings;

use crate::conntrack::fake::FakeConntrack;
use crate::drift::{self, Foreign, News};
use crate::interfaces::Present;
use crate::nft::fake::FakeKernel;
use crate::nft::ruleset::Table;
use crate::testing::{active, interfaces, policy};

/// Answers what it was last told to.
struct FakeApi(Mutex<Result<ActiveSet, ApiError>>);

#[async_trait]
impl ActiveSource for FakeApi {
    async fn active_set(&self) -> Result<ActiveSet, ApiError> {
        self.0.lock().unwrap().clone()
    }
}

struct House {
    api: Arc<FakeApi>,
    kernel: Arc<FakeKernel>,
    conntrack: Arc<FakeConntrack>,
    interfaces: Arc<Mutex<Present>>,
    news: News,
    state: tempfile::TempDir,
    status: Status,
    reconciler: Reconciler,
}

impl House {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let settings = AgentSettings::read(&BTreeMap::new()).unwrap();
        let (api, kernel) =
            (Arc::new(FakeApi(Mutex::new(Err(unreachable())))), Arc::new(FakeKernel::default()));
        let (saved, status) = (Saved::new(state.path()), Status::new(&settings));
        let (conntrack, interfaces) = (Arc::<FakeConntrack>::default(), interfaces());
        let machine =
            Machine { kernel: kernel.clone(), conntrack: conntrack.clone(), interfaces: interfaces.clone() };
        let (news, _drifts, deaf) = drift::channel();
        let reconciler = Reconciler::new(api.clone(), machine, saved, policy(), status.clone(), deaf);
        Self { api, kernel, conntrack, interfaces, news, state, status, reconciler }
    }

    async fn reconcile(
        &mut self,
        set: Result<ActiveSet, ApiError>,
    ) -> Result<ReconcileReport, ReconcileError> {
        *self.api.0.lock().unwrap() = set;
        let asked = self.reconciler.ask().await;
        self.reconciler.reconcile(asked).await
    }

    fn ports(&self) -> Vec<u16> {
        let found = self.kernel.model().found();
        found.map(|found| found.elements.client_port.into_values().collect()).unwrap_or_default()
    }

    fn drift(&self) -> u64 {
        self.status.now().drift.count
    }
}

fn unreachable() -> ApiError {
    ApiError::Unreachable { url: "http://127.0.0.1:8080".to_owned(), why: "connection refused".to_owned() }
}

#[tokio::test]
async fn what_the_api_says_is_in_the_kernel_and_reported_from_there() {
    let mut house = House::new();
    let report = house.reconcile(Ok(active(7, &[(3, 15001)], &[4]))).await.unwrap();
    assert_eq!((report.generation, report.changed, report.clients), (Generation(7), true, 2));
    let applied = AppliedRule { ip_cidr: "10.0.0.3".parse().unwrap(), port: 15001 };
    assert_eq!(report.applied, vec![applied]);
    let status = house.status.now();
    assert_eq!((status.generation, status.clients, status.applied), (Some(Generation(7)), 2, 1));
    assert!(status.last_error.is_none() && status.last_reconcile_at.is_some());
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let mut house = House::new();
    house.reconcile(Ok(active(7, &[(3, 15001)], &[4]))).await.unwrap();
    let report = house.reconcile(Ok(active(8, &[(3, 15001)], &[4]))).await.unwrap();
    assert_eq!((report.generation, report.changed), (Generation(8), false));
    assert_eq!((house.kernel.times_applied(), house.drift()), (1, 0));
}

#[tokio::test]
async fn one_client_more_changes_elements_and_is_no_drift() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap();
    let report = house.reconcile(Ok(active(2, &[(3, 15001), (4, 15002)], &[5]))).await.unwrap();
    assert!(report.changed);
    assert_eq!((house.ports(), report.clients, house.drift()), (vec![15001, 15002], 3, 0));
}

#[tokio::test]
async fn an_api_that_is_silent_or_talks_nonsense_leaves_the_rules_as_they_are() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    let cut_short = ActiveSet { count: 9, ..active(2, &[], &[]) };
    let outside = active(2, &[(3, 80)], &[]);
    for bad in [Err(unreachable()), Ok(cut_short), Ok(outside)] {
        let error = house.reconcile(bad).await.unwrap_err();
        let status = house.status.now();
        assert_eq!(status.last_error, Some(error.to_string()));
        assert_eq!(status.generation, Some(Generation(1)), "of what the kernel holds");
        assert_eq!((house.ports(), house.kernel.times_applied()), (vec![15001], 1));
    }
    house.reconcile(Ok(active(3, &[], &[3]))).await.unwrap();
    assert_eq!((house.ports(), house.status.now().last_error), (vec![], None));
}

#[tokio::test]
async fn whatever_somebody_else_changed_is_made_right_and_counted() {
    let set = || Ok(active(1, &[(3, 15001)], &[4]));
    let tampers: [fn(&FakeKernel); 4] = [
        |kernel| kernel.model().forget(Table::Filter),
        |kernel| kernel.model().tamper(Table::Filter, |text| text.push_str("chain more { }\n")),
        |kernel| kernel.model().apply("delete element inet pgw_filter clients {\n10.0.0.4\n}\n").unwrap(),
        |kernel| kernel.model().apply("add element inet pgw_filter open {\n10.0.0.4\n}\n").unwrap(),
    ];
    for tamper in tampers {
        let mut house = House::new();
        house.reconcile(set()).await.unwrap();
        let before = house.kernel.model().found();
        tamper(&house.kernel);
        assert_ne!(house.kernel.model().found(), before);
        assert!(house.reconcile(set()).await.unwrap().changed);
        assert_eq!((house.kernel.model().found(), house.drift()), (before, 1));
        assert!(!house.reconcile(set()).await.unwrap().changed);
        assert_eq!(house.drift(), 1, "it is counted once");
    }
}

#[tokio::test]
async fn what_somebody_else_took_away_comes_back_without_the_api() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    let before = house.kernel.model().found();
    house.kernel.model().forget(Table::Filter);
    house.reconcile(Err(unreachable())).await.unwrap_err();
    assert_eq!((house.kernel.model().found(), house.drift()), (before.clone(), 1));

    // The same for an agent that has just been started and confirmed nothing yet.
    house.reconciler.left = None;
    house.reconciler.given = None;
    house.kernel.model().forget(Table::Filter);
    house.reconcile(Err(unreachable())).await.unwrap_err();
    assert_eq!(house.kernel.model().found(), before, "what was saved");
}

#[tokio::test]
async fn elements_that_cannot_be_changed_are_replaced_with_everything() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap();
    *house.kernel.failure.lock().unwrap() = Some(KernelError::Refused("File exists".to_owned()));
    house.reconcile(Ok(active(2, &[(3, 15002)], &[]))).await.unwrap();
    assert_eq!(house.ports(), vec![15002]);
}

#[tokio::test]
async fn success_is_said_only_when_the_kernel_holds_it() {
    let mut house = House::new();
    house.kernel.ignores.store(1, Ordering::SeqCst);
    let error = house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap_err();
    assert!(matches!(error, ReconcileError::NotConfirmed));
    assert_eq!(house.status.now().generation, None);
    house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap();
    assert_eq!(house.ports(), vec![15001]);
}

#[tokio::test]
async fn a_kernel_that_refuses_is_told_and_nothing_is_saved() {
    let mut house = House::new();
    *house.kernel.failure.lock().unwrap() = Some(KernelError::NotInstalled);
    let error = house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap_err();
    assert!(error.to_string().contains("nft is not installed"), "{error}");
    assert!(!house.state.path().join("agent").exists());
}

#[tokio::test]
async fn what_was_confirmed_is_what_the_next_boot_loads() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    let booted = FakeKernel::default();
    let restored = restore(&booted, &Saved::new(house.state.path()), &policy()).await.unwrap();
    assert_eq!(restored, Restored::Saved);
    assert_eq!(booted.model().found(), house.kernel.model().found());
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_keeps_nobody_open_and_is_told_until_it_can() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap();
    let in_the_way = house.state.path().join("agent/.ruleset.nft.new/full");
    std::fs::create_dir_all(&in_the_way).unwrap();
    for _interval in 0..2 {
        house.reconcile(Ok(active(2, &[], &[3]))).await.unwrap();
        assert_eq!(house.ports(), Vec::<u16>::new());
        let status = house.status.now();
        assert_eq!((status.last_error, status.warnings.len()), (None, 1), "the rules are in place");
        assert!(status.warnings[0].contains("not saved for the next boot"), "{:?}", status.warnings);
    }
    std::fs::remove_dir_all(in_the_way.parent().unwrap()).unwrap();
    let report = house.reconcile(Ok(active(2, &[], &[3]))).await.unwrap();
    assert_eq!((report.warnings, house.status.now().warnings), (vec![], vec![]));
}

const ORIGIN: [u8; 4] = [203, 0, 113, 10];
const GATEWAY: [u8; 4] = [10, 0, 0, 1];

fn ip(last: u8) -> Ipv4Addr {
    [10, 0, 0, last].into()
}

impl House {
    /// 3 is open by 15001 and 4 is closed, and each has a connection that may live.
    async fn settled() -> Self {
        let mut house = Self::new();
        house.conntrack.begin(ip(3), GATEWAY, 15001);
        house.conntrack.begin(ip(4), GATEWAY, 443);
        house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
        assert_eq!(house.conntrack.sources(), [ip(3), ip(4)]);
        house
    }

    fn looks(&self) -> usize {
        self.conntrack.looks.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn who_is_registered_closed_moved_or_deleted_loses_what_was_open() {
    let direct = |house: &House| house.conntrack.begin(ip(5), ORIGIN, 22);
    let by_forwarder = |_: &House| {};
    let cases: [(fn(&House), ActiveSet, u8); 4] = [
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
    // Taken, and changed by somebody else before it could be confirmed.
    house.kernel.forgets.store(1, Ordering::SeqCst);
    house.reconcile(Ok(active(2, &[], &[3, 4, 5]))).await.unwrap_err();
    assert!(house.reconciler.heal(&Foreign::seen(None)).await.done);
    let found = house.kernel.model().found().unwrap();
    assert_eq!((house.ports(), found.elements.clients.len()), (vec![], 3));
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
}

#[tokio::test]
async fn an_interface_that_is_missing_is_told_and_its_rules_are_in_place() {
    let mut house = House::new();
    house.interfaces.lock().unwrap().names.clear();
    let report = house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    assert!(report.warnings[0].contains("PGW_LAN_IF=ens19 does not exist"), "{:?}", report.warnings);
    assert_eq!((house.ports(), &house.status.now().warnings), (vec![15001], &report.warnings));
    house.interfaces.lock().unwrap().names.insert("ens19".to_owned());
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    assert_eq!(house.status.now().warnings, Vec::<String>::new());
}

#[tokio::test]
async fn while_changes_of_others_are_not_heard_of_the_status_says_so() {
    let mut house = House::new();
    house.news.deaf("Operation not permitted");
    let report = house.reconcile(Ok(active(1, &[], &[]))).await.unwrap();
    assert!(report.warnings[0].contains("Operation not permitted"), "{:?}", report.warnings);
    house.news.listening();
    assert_eq!(house.reconcile(Ok(active(1, &[], &[]))).await.unwrap().warnings, Vec::<String>::new());
}
