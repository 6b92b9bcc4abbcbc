use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use async_trait::async_trait;

use pgw_core::active::ActiveSet;
use pgw_core::ids::DatabaseId;

use super::*;
use pgw_core::settings::AgentSettings;

use crate::conntrack::fake::FakeConntrack;
use crate::drift::{self, News};
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

mod flows;
mod heal;
mod tunnels;

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

    /// 3 is open by 15001 and 4 is closed, and each has a connection that may live.
    async fn settled() -> Self {
        let mut house = Self::new();
        house.conntrack.begin(ip(3), GATEWAY, 15001);
        house.conntrack.begin(ip(4), GATEWAY, 443);
        house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
        assert_eq!(house.conntrack.sources(), [ip(3), ip(4)]);
        house
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

    fn looks(&self) -> usize {
        self.conntrack.looks.load(Ordering::SeqCst)
    }

    fn drift(&self) -> u64 {
        self.status.now().drift.count
    }
}

const ORIGIN: [u8; 4] = [203, 0, 113, 10];
const GATEWAY: [u8; 4] = [10, 0, 0, 1];

fn ip(last: u8) -> Ipv4Addr {
    [10, 0, 0, last].into()
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
async fn one_client_more_costs_one_change_and_one_look() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap();
    let counts = |house: &House| (house.kernel.times_applied(), house.kernel.looks.load(Ordering::SeqCst));
    let before = counts(&house);
    house.reconcile(Ok(active(2, &[(3, 15001)], &[5]))).await.unwrap();
    assert_eq!(counts(&house), (before.0 + 1, before.1 + 1));
}

#[tokio::test]
async fn an_api_that_is_silent_or_talks_nonsense_leaves_the_rules_as_they_are() {
    let mut house = House::new();
    house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
    let cut_short = ActiveSet { count: 9, ..active(2, &[], &[]) };
    let emptied = ActiveSet { count: 2, ..active(2, &[], &[]) };
    let half = ActiveSet { items: vec![], ..active(2, &[(3, 15001)], &[4]) };
    let outside = active(2, &[(3, 80)], &[]);
    let port_twice = active(2, &[(3, 15001), (4, 15001)], &[]);
    let address_twice = active(2, &[(3, 15001)], &[4, 4]);
    let open_and_closed = active(2, &[(3, 15001)], &[3]);
    let other_version = ActiveSet { version: 2, ..active(2, &[], &[]) };
    let nonsense = ApiError::Nonsense { path: "/v1/mappings/active", why: "expected value".to_owned() };
    let sets = [cut_short, emptied, half, outside, port_twice, address_twice, open_and_closed, other_version];
    let failures = [unreachable(), nonsense].map(Err);
    for bad in failures.into_iter().chain(sets.map(Ok)) {
        let error = house.reconcile(bad).await.unwrap_err();
        let status = house.status.now();
        assert_eq!(status.last_error, Some(error.to_string()));
        assert_eq!(status.generation, Some(Generation(1)), "of what the kernel holds");
        assert_eq!((house.ports(), house.kernel.times_applied()), (vec![15001], 1));
    }
    house.reconcile(Ok(active(3, &[], &[3]))).await.unwrap();
    assert_eq!((house.ports(), house.status.now().last_error), (vec![], None));
}

/// G40, of the rules.
#[tokio::test]
async fn a_set_from_another_database_leaves_the_rules_as_they_are_until_an_operator_says_so() {
    let database = |n| Some(DatabaseId(uuid::Uuid::from_u128(n)));
    let mut house = House::new();
    house.reconcile(Ok(ActiveSet { database: database(1), ..active(1, &[(3, 15001)], &[4]) })).await.unwrap();
    let file = house.state.path().join("agent/database");
    for emptied in [active(2, &[], &[]), active(2, &[], &[3, 4])] {
        let other = ActiveSet { database: database(2), ..emptied };
        let error = house.reconcile(Ok(other)).await.unwrap_err();
        assert!(matches!(error, ReconcileError::OtherDatabase { .. }), "{error}");
        let line = error.to_string();
        assert!(
            line.contains("answers from another database") && line.contains(&*file.to_string_lossy()),
            "{line}"
        );
        assert_eq!((house.ports(), house.kernel.times_applied()), (vec![15001], 1));
    }
    // One that was restored tells the same, and one that did not tell yet is believed.
    house.reconcile(Ok(ActiveSet { database: database(1), ..active(3, &[], &[3]) })).await.unwrap();
    house.reconcile(Ok(active(4, &[(3, 15001)], &[]))).await.unwrap();
    std::fs::write(&file, "damaged").unwrap();
    let error = house.reconcile(Ok(ActiveSet { database: database(1), ..active(5, &[], &[]) })).await;
    assert!(matches!(error, Err(ReconcileError::DatabaseUnknown(_))), "{error:?}");
    assert_eq!(house.ports(), [15001]);
    std::fs::remove_file(&file).unwrap();
    house.reconcile(Ok(ActiveSet { database: database(2), ..active(6, &[], &[]) })).await.unwrap();
    assert_eq!((house.ports(), file.exists()), (vec![], true), "and that one is remembered");
}

#[tokio::test]
async fn an_empty_list_that_says_that_it_is_complete_is_believed() {
    let mut house = House::settled().await;
    let report = house.reconcile(Ok(active(2, &[], &[]))).await.unwrap();
    assert_eq!((report.generation, report.clients, house.ports()), (Generation(2), 0, vec![]));
}

#[tokio::test]
async fn whatever_somebody_else_changed_is_made_right_and_counted() {
    let tampers: [fn(&FakeKernel); 4] = [
        |kernel| kernel.model().forget(Table::Filter),
        |kernel| kernel.model().tamper(Table::Filter, |text| text.push_str("chain more { }\n")),
        |kernel| kernel.model().apply("delete element inet pgw_filter clients {\n10.0.0.3\n}\n").unwrap(),
        |kernel| kernel.model().apply("add element inet pgw_filter open {\n10.0.0.4\n}\n").unwrap(),
    ];
    // Whether anything was to be changed or not.
    let nexts = [active(1, &[(3, 15001)], &[4]), active(2, &[(3, 15001)], &[5])];
    for (tamper, next) in tampers.into_iter().flat_map(|tamper| nexts.clone().map(|next| (tamper, next))) {
        let mut house = House::new();
        house.reconcile(Ok(next.clone())).await.unwrap();
        let wanted = house.kernel.model().found();
        house.reconcile(Ok(active(1, &[(3, 15001)], &[4]))).await.unwrap();
        let before = house.kernel.model().found();
        tamper(&house.kernel);
        assert_ne!(house.kernel.model().found(), before);
        assert!(house.reconcile(Ok(next.clone())).await.unwrap().changed);
        assert_eq!((house.kernel.model().found(), house.drift()), (wanted, 1));
        assert!(!house.reconcile(Ok(next)).await.unwrap().changed);
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
    // The third is what an nft says that is too old for a word of ours.
    let too_old = "/dev/stdin:5:3-9: Error: syntax error, unexpected string in: comment".to_owned();
    for (failure, told) in [
        (KernelError::NotInstalled, "nft is not installed"),
        (KernelError::NotPermitted, "needs CAP_NET_ADMIN"),
        (KernelError::Refused(too_old), "syntax error"),
        (KernelError::Killed(11), "more than one version of nft"),
    ] {
        let mut house = House::new();
        *house.kernel.failure.lock().unwrap() = Some(failure);
        let error = house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!(house.status.now().last_error, Some(error.to_string()));
        assert!(!house.state.path().join("agent").exists());
        house.reconcile(Ok(active(1, &[(3, 15001)], &[]))).await.unwrap();
        assert_eq!(house.ports(), vec![15001], "it goes on by itself");
    }
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
