//! What every way of running forwarders must do, asked of all of them alike: systemd (a mock of
//! it, over a real D-Bus connection), children (a stand-in forwarder, a real process), and the fake.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::timeout;

use super::fake::{Call, Fake};
use super::{UnitError, Units};

mod mock_systemd;
mod spawned;
mod stand_in;
mod with_systemd;

const PORT: u16 = 15001;
const OTHER: u16 = 15002;
const NONE: [u16; 0] = [];
/// Longer than anything here takes; a test that waits for it fails.
const PATIENCE: Duration = Duration::from_secs(20);

#[async_trait]
trait Rig: Send {
    fn units(&self) -> &dyn Units;
    fn news(&mut self) -> &mut UnboundedReceiver<u16>;
    /// How often a forwarder came up on this port.
    fn starts(&self, port: u16) -> usize;
    /// The next start of this port fails.
    fn refuse(&self, port: u16);
    /// The forwarder dies, and is started again by whatever keeps it.
    async fn kill(&self, port: u16);
}

struct FakeRig {
    units: Fake,
    news: UnboundedReceiver<u16>,
}

impl FakeRig {
    fn new() -> Self {
        let (told, news) = mpsc::unbounded_channel();
        Self { units: Fake::new(told), news }
    }
}

#[async_trait]
impl Rig for FakeRig {
    fn units(&self) -> &dyn Units {
        &self.units
    }

    fn news(&mut self) -> &mut UnboundedReceiver<u16> {
        &mut self.news
    }

    fn starts(&self, port: u16) -> usize {
        // It starts what is not up: a start counts unless the call before it was one as well.
        let calls = self.units.calls();
        let of_port =
            calls.iter().filter(|call| matches!(call, Call::Start(p) | Call::Stop(p) if *p == port));
        let mut of_port: Vec<&Call> = of_port.collect();
        of_port.dedup();
        of_port.iter().filter(|call| matches!(call, Call::Start(_))).count()
    }

    fn refuse(&self, port: u16) {
        self.units.refuse(port, 1);
    }

    async fn kill(&self, port: u16) {
        self.units.die(port);
        self.units.come_back(port);
    }
}

async fn news(rig: &mut impl Rig) -> u16 {
    timeout(PATIENCE, rig.news().recv()).await.unwrap().unwrap()
}

async fn running(rig: &impl Rig) -> Vec<u16> {
    rig.units().running().await.unwrap().into_iter().collect()
}

async fn a_forwarder_that_is_started_twice_runs_once(rig: impl Rig) {
    rig.units().start(PORT).await.unwrap();
    rig.units().start(PORT).await.unwrap();
    assert_eq!((rig.starts(PORT), running(&rig).await), (1, vec![PORT]));
}

async fn starts_at_the_same_time_are_one(rig: impl Rig) {
    let starts = (0..8).map(|_| rig.units().start(PORT));
    for started in futures_util::future::join_all(starts).await {
        started.unwrap();
    }
    assert_eq!((rig.starts(PORT), running(&rig).await), (1, vec![PORT]));
}

async fn stopping_what_does_not_run_is_fine(rig: impl Rig) {
    rig.units().stop(PORT).await.unwrap();
    assert_eq!(running(&rig).await, NONE);
}

async fn what_was_stopped_is_gone_and_can_be_started_again(rig: impl Rig) {
    rig.units().start(PORT).await.unwrap();
    rig.units().stop(PORT).await.unwrap();
    assert_eq!(running(&rig).await, NONE);
    rig.units().stop(PORT).await.unwrap();
    rig.units().start(PORT).await.unwrap();
    assert_eq!((rig.starts(PORT), running(&rig).await), (2, vec![PORT]));
}

async fn what_runs_is_listed(rig: impl Rig) {
    for port in [OTHER, PORT] {
        rig.units().start(port).await.unwrap();
    }
    assert_eq!(running(&rig).await, [PORT, OTHER]);
    rig.units().stop(PORT).await.unwrap();
    assert_eq!(running(&rig).await, [OTHER]);
}

async fn a_start_that_fails_says_why_and_leaves_nothing_behind(rig: impl Rig) {
    rig.refuse(PORT);
    let error = rig.units().start(PORT).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, UnitError::Failed { port: PORT, .. }), "{text}");
    assert!(text.contains("15001"), "{text}");
    assert_eq!(running(&rig).await, NONE);
    rig.units().start(PORT).await.unwrap();
    assert_eq!(running(&rig).await, [PORT]);
}

async fn a_death_is_told_and_so_is_the_return(mut rig: impl Rig) {
    for port in [PORT, OTHER] {
        rig.units().start(port).await.unwrap();
    }
    rig.kill(PORT).await;
    assert_eq!((news(&mut rig).await, news(&mut rig).await), (PORT, PORT));
    assert_eq!(running(&rig).await, [PORT, OTHER]);
}

async fn a_stop_that_was_asked_for_is_no_news(mut rig: impl Rig) {
    for port in [PORT, OTHER] {
        rig.units().start(port).await.unwrap();
    }
    rig.units().stop(PORT).await.unwrap();
    rig.kill(OTHER).await;
    assert_eq!(news(&mut rig).await, OTHER, "and nothing of the other before it");
}

macro_rules! contract {
    ($($name:ident is $rig:expr;)*) => { $( mod $name {
        use super::*;
        contract! { $rig =>
            a_forwarder_that_is_started_twice_runs_once,
            starts_at_the_same_time_are_one,
            stopping_what_does_not_run_is_fine,
            what_was_stopped_is_gone_and_can_be_started_again,
            what_runs_is_listed,
            a_start_that_fails_says_why_and_leaves_nothing_behind,
            a_death_is_told_and_so_is_the_return,
            a_stop_that_was_asked_for_is_no_news
        }
    } )* };
    ($rig:expr => $($test:ident),*) => { $(
        #[tokio::test]
        async fn $test() {
            super::$test($rig.await).await;
        }
    )* };
}

contract! {
    fake is std::future::ready(FakeRig::new());
    children is std::future::ready(spawned::SpawnRig::new());
    systemd is mock_systemd::SystemdRig::new();
}
