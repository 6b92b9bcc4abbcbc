use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgw_core::active::Desired;
use pgw_core::settings::AgentSettings;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::nft::fake::FakeKernel;
use crate::nft::plan::plan;
use crate::nft::render;
use crate::reconcile::Status;
use crate::testing::policy;

/// A gateway as its rules should make it, but for what is leaky or lost.
#[derive(Default)]
struct FakeGround {
    kernel: Arc<FakeKernel>,
    leaky: Mutex<Option<Canary>>,
    lost: Mutex<Option<Canary>>,
    held_back: Mutex<Option<Canary>>,
    missing: Mutex<Option<GroundError>>,
    busy: AtomicUsize,
    laid: Arc<AtomicUsize>,
}

struct FakeLaid {
    ground: Arc<FakeGround>,
}

struct Shared(Arc<FakeGround>);

impl Ground for Shared {
    fn turn(&self) -> Result<Turn, GroundError> {
        match self.0.busy.load(Ordering::SeqCst) {
            0 => Ok(Turn::new(File::open("/").unwrap())),
            _ => Err(GroundError::UnderWay),
        }
    }

    fn lay(&self, _turn: Turn) -> Result<Box<dyn Laid>, GroundError> {
        if let Some(error) = self.0.missing.lock().unwrap().take() {
            return Err(error);
        }
        self.0.laid.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeLaid { ground: self.0.clone() }))
    }

    fn sweep(&self, _turn: Turn) {}
}

impl Drop for FakeLaid {
    fn drop(&mut self) {
        self.ground.laid.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Laid for FakeLaid {
    fn send(&self, canary: Canary, sender: Sender, _number: u16) -> std::io::Result<()> {
        let is = |one: &Mutex<Option<Canary>>| *one.lock().unwrap() == Some(canary);
        let mut tally = self.ground.kernel.tally.lock().unwrap();
        let Some(tally) = tally.as_mut() else { return Ok(()) };
        let mut count = |place| *tally.entry((place, canary)).or_default() += 1;
        if sender != Sender::Elsewhere && !is(&self.ground.lost) {
            count(Place::Met);
        }
        match sender {
            Sender::Closed if is(&self.ground.leaky) => count(Place::Leaked),
            Sender::Stranger | Sender::Elsewhere if !is(&self.ground.held_back) => count(Place::Control),
            Sender::Closed | Sender::Stranger | Sender::Elsewhere => {}
        }
        Ok(())
    }

    fn without_ipv6(&self) -> Option<&str> {
        None
    }
}

struct House {
    ground: Arc<FakeGround>,
    keeper: Keeper,
    status: Status,
}

impl House {
    fn new(desired: &Desired) -> Self {
        let kernel = Arc::new(FakeKernel::default());
        kernel.model().apply(&render::replace(&plan(desired, &policy()).unwrap())).unwrap();
        *kernel.tally.lock().unwrap() = Some(Tally::new());
        let ground = Arc::new(FakeGround { kernel: kernel.clone(), ..FakeGround::default() });
        let shared = Arc::new(Shared(ground.clone()));
        let range = Range { ground: shared, kernel, unregistered: Unregistered::Allow };
        let status = Status::new(&AgentSettings::read(&BTreeMap::new()).unwrap());
        Self { ground, keeper: Keeper::new(range, status.clone()), status }
    }

    async fn outcome(&self) -> (Outcome, String) {
        let drill = self.keeper.drill().await.unwrap();
        assert_eq!(self.ground.laid.load(Ordering::SeqCst), 0, "the ground was not taken away");
        assert_eq!(self.status.now().drill, drill);
        (drill.outcome.unwrap(), drill.detail)
    }
}

#[tokio::test(start_paused = true)]
async fn closed_is_remembered_and_said_of_the_drill_that_saw_it() {
    let house = House::new(&Desired::default());
    let (outcome, detail) = house.outcome().await;
    assert_eq!(outcome, Outcome::Closed, "{detail}");
    let proven = house.status.now().drill.proven_closed_at.unwrap();
    *house.ground.leaky.lock().unwrap() = Some(Canary::Quic);
    let (outcome, detail) = house.outcome().await;
    assert_eq!((outcome, detail.contains("udp 443")), (Outcome::Leaked, true), "{detail}");
    assert_eq!(house.status.now().drill.proven_closed_at, Some(proven), "that was the last time");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_or_held_back_by_others_is_no_proof() {
    for canary in Canary::ALL {
        let house = House::new(&Desired::default());
        *house.ground.lost.lock().unwrap() = Some(canary);
        assert_eq!(house.outcome().await.0, Outcome::NotRun, "{}", canary.name());
        *house.ground.lost.lock().unwrap() = None;
        *house.ground.held_back.lock().unwrap() = Some(canary);
        assert_eq!(house.outcome().await.0, Outcome::NotRun, "{}", canary.name());
        assert_eq!(house.status.now().drill.proven_closed_at, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drill_that_cannot_be_run_says_why() {
    let house = House::new(&Desired::default());
    let missing = GroundError::Missing { setting: "PGW_WAN_IF", name: "eth0".to_owned() };
    *house.ground.missing.lock().unwrap() = Some(missing);
    let (outcome, detail) = house.outcome().await;
    assert_eq!((outcome, detail.contains("PGW_WAN_IF=eth0 does not exist")), (Outcome::NotRun, true));

    *house.ground.kernel.tally.lock().unwrap() = None;
    let (outcome, detail) = house.outcome().await;
    assert_eq!((outcome, detail.contains("not in the kernel")), (Outcome::NotRun, true), "{detail}");

    let taken = House::new(&Desired { mapped: [(CLOSED, 15001)].into(), ..Desired::default() });
    let (outcome, detail) = taken.outcome().await;
    assert_eq!((outcome, detail.contains("belongs to the drill")), (Outcome::NotRun, true), "{detail}");
}

#[tokio::test(start_paused = true)]
async fn two_drills_are_never_under_way_at_once() {
    let house = House::new(&Desired::default());
    house.ground.busy.store(1, Ordering::SeqCst);
    assert!(matches!(house.keeper.drill().await, Err(GroundError::UnderWay)));
    assert_eq!(house.status.now().drill, Drill::default(), "it is not taken for a result");
}

#[test]
fn the_turn_is_given_to_one_and_given_back() {
    let state = tempfile::tempdir().unwrap();
    let ground = KernelGround {
        state_dir: state.path().to_owned(),
        lan_if: "lan".to_owned(),
        wan_if: "wan".to_owned(),
    };
    let turn = ground.turn().unwrap();
    assert!(matches!(ground.turn(), Err(GroundError::UnderWay)));
    drop(turn);
    assert!(ground.turn().is_ok());
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_soon_after_the_start_and_then_at_every_interval() {
    let house = House::new(&Desired::default());
    let stop = CancellationToken::new();
    let began = Instant::now();
    let keeper = Arc::new(house.keeper);
    let (running, stopped) = (keeper.clone(), stop.clone());
    let task = tokio::spawn(async move { running.run(Some(Duration::from_secs(3_600)), stopped).await });
    let mut before = None;
    for due in [10, 3_610, 7_210] {
        while house.status.now().drill.last_at == before {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        before = house.status.now().drill.last_at;
        let late = began.elapsed().as_secs().abs_diff(due);
        assert!(late <= 2, "due after {due} s, {late} s off");
    }
    stop.cancel();
    task.await.unwrap();
}
