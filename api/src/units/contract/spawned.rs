//! What only children must do: outlive the API, be found again, and never be two on one port.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use pgw_core::control::FwdStatus;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::stand_in::{note, program};
use super::*;
use crate::units::control;
use crate::units::spawn::{Program, Spawn, Tempo};

pub(super) struct SpawnRig {
    dir: TempDir,
    tempo: Tempo,
    units: Spawn,
    news: UnboundedReceiver<u16>,
}

fn brisk() -> Tempo {
    Tempo {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        ..Tempo::default()
    }
}

fn api(dir: &Path, tempo: Tempo) -> (Spawn, UnboundedReceiver<u16>) {
    let (told, news) = mpsc::unbounded_channel();
    (Spawn::with_tempo(program(), dir, dir, told, tempo), news)
}

impl SpawnRig {
    pub(super) fn new() -> Self {
        Self::with_tempo(brisk())
    }

    fn with_tempo(tempo: Tempo) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("fwd")).unwrap();
        let (units, news) = api(dir.path(), tempo);
        Self { dir, tempo, units, news }
    }

    /// The API is gone, and another one takes its place.
    fn restart_api(&mut self) {
        (self.units, self.news) = api(self.dir.path(), self.tempo);
    }

    fn pids(&self, port: u16) -> Vec<Pid> {
        let written = fs::read_to_string(note(self.dir.path(), port, "pids")).unwrap_or_default();
        written.lines().map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect()
    }

    fn alive(&self, port: u16) -> Vec<Pid> {
        self.pids(port).into_iter().filter(|pid| is_alive(*pid)).collect()
    }

    fn set(&self, what: &str, text: &str) {
        fs::write(note(self.dir.path(), PORT, what), text).unwrap();
    }

    fn unset(&self, what: &str) {
        fs::remove_file(note(self.dir.path(), PORT, what)).unwrap();
    }

    fn says(&self, what: &str) -> bool {
        note(self.dir.path(), PORT, what).exists()
    }

    async fn until(&self, what: fn(&FwdStatus) -> bool) {
        let look = async {
            while !control::status(self.dir.path(), PORT).await.is_ok_and(|status| what(&status)) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, look).await.unwrap();
    }
}

impl Drop for SpawnRig {
    fn drop(&mut self) {
        for port in [PORT, OTHER] {
            for pid in self.alive(port) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// One that is dead and not yet reaped does not count.
fn is_alive(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[async_trait]
impl Rig for SpawnRig {
    fn units(&self) -> &dyn Units {
        &self.units
    }

    fn news(&mut self) -> &mut UnboundedReceiver<u16> {
        &mut self.news
    }

    fn starts(&self, port: u16) -> usize {
        self.pids(port).len()
    }

    fn refuse(&self, port: u16) {
        fs::write(note(self.dir.path(), port, "refuse"), "").unwrap();
    }

    async fn kill(&self, port: u16) {
        kill_process(*self.pids(port).last().unwrap(), Signal::KILL).unwrap();
    }
}

#[tokio::test]
async fn a_forwarder_outlives_the_api_and_the_next_one_adopts_and_watches_it() {
    let mut rig = SpawnRig::new();
    rig.units.start(PORT).await.unwrap();
    let before = rig.alive(PORT);
    rig.restart_api();
    assert_eq!(rig.units.running().await.unwrap(), BTreeSet::from([PORT]));
    rig.units.start(PORT).await.unwrap();
    assert_eq!((rig.alive(PORT), rig.starts(PORT)), (before, 1));

    rig.kill(PORT).await;
    assert_eq!((news(&mut rig).await, news(&mut rig).await), (PORT, PORT), "it died, and it is back");
    assert_eq!((rig.alive(PORT).len(), rig.starts(PORT)), (1, 2));
}

#[tokio::test]
async fn a_forwarder_that_another_api_started_can_be_stopped() {
    let mut rig = SpawnRig::new();
    rig.units.start(PORT).await.unwrap();
    rig.restart_api();
    rig.units.stop(PORT).await.unwrap();
    assert_eq!(rig.alive(PORT), []);
}

#[tokio::test]
async fn a_forwarder_of_another_version_is_replaced() {
    let mut rig = SpawnRig::new();
    rig.set("version", "0.0.1");
    rig.units.start(PORT).await.unwrap();
    let old = rig.alive(PORT);
    rig.restart_api();
    rig.unset("version");
    rig.units.start(PORT).await.unwrap();
    assert_eq!(rig.starts(PORT), 2);
    assert!(rig.alive(PORT).len() == 1 && rig.alive(PORT) != old, "the old one is gone");
}

/// A forwarder takes a second request to stop as one to drop what it carries.
#[tokio::test]
async fn one_that_is_draining_is_awaited_and_not_cut_off() {
    let tempo = Tempo { drain: Duration::from_millis(300), ..brisk() };
    for starts in [true, false] {
        let mut rig = SpawnRig::with_tempo(tempo);
        rig.units.start(PORT).await.unwrap();
        rig.set("slow", "");
        kill_process(*rig.alive(PORT).first().unwrap(), Signal::TERM).unwrap();
        rig.until(|status| status.draining).await;
        rig.restart_api();
        if starts {
            rig.units.start(PORT).await.unwrap();
        } else {
            rig.units.stop(PORT).await.unwrap();
        }
        assert_eq!(rig.alive(PORT).len(), usize::from(starts));
        assert!(!rig.says("cut"));
    }
}

#[tokio::test]
async fn one_that_does_not_stop_is_killed() {
    let rig = SpawnRig::with_tempo(Tempo { drain: Duration::from_millis(50), ..brisk() });
    rig.units.start(PORT).await.unwrap();
    rig.set("slow", "");
    rig.units.stop(PORT).await.unwrap();
    assert_eq!(rig.alive(PORT), []);
}

#[tokio::test]
async fn one_that_dies_again_and_again_waits_longer_and_whoever_asks_is_told_so() {
    let tempo = Tempo { first_pause: Duration::from_secs(100), longest_pause: PATIENCE * 10, ..brisk() };
    let mut rig = SpawnRig::with_tempo(tempo);
    rig.units.start(PORT).await.unwrap();
    rig.kill(PORT).await;
    assert_eq!((news(&mut rig).await, news(&mut rig).await), (PORT, PORT), "the first restart is at once");
    rig.kill(PORT).await;
    assert_eq!(news(&mut rig).await, PORT);
    let error = rig.units.start(PORT).await.unwrap_err().to_string();
    assert!(error.contains("killed by signal 9") && error.contains("started again in"), "{error}");
    assert_eq!(rig.starts(PORT), 2);
    // Not wanted any more: nothing comes back, and a new start is a fresh one.
    rig.units.stop(PORT).await.unwrap();
    rig.units.start(PORT).await.unwrap();
    assert_eq!(rig.starts(PORT), 3);
}

#[tokio::test]
async fn two_apis_at_once_never_run_two_forwarders_on_one_port() {
    let rig = SpawnRig::new();
    let (other, _news) = api(rig.dir.path(), rig.tempo);
    let (one, two) = tokio::join!(rig.units.start(PORT), other.start(PORT));
    assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    assert_eq!((rig.alive(PORT).len(), rig.starts(PORT)), (1, 1));
    rig.units.start(PORT).await.unwrap();
    other.start(PORT).await.unwrap();
    assert_eq!((rig.alive(PORT).len(), rig.starts(PORT)), (1, 1));
}

#[tokio::test]
async fn one_that_never_answers_is_a_timeout_and_is_cleaned_up() {
    let rig = SpawnRig::with_tempo(Tempo { start: Duration::from_secs(1), ..brisk() });
    rig.set("mute", "");
    let error = rig.units.start(PORT).await.unwrap_err();
    assert!(matches!(error, UnitError::Timeout { port: PORT, .. }), "{error}");
    assert_eq!((rig.alive(PORT), rig.starts(PORT)), (vec![], 1));
    rig.unset("mute");
    rig.units.start(PORT).await.unwrap();
}

#[tokio::test]
async fn a_flag_file_of_no_use_is_named_as_the_reason() {
    let rig = SpawnRig::new();
    rig.refuse(PORT);
    let error = rig.units.start(PORT).await.unwrap_err().to_string();
    assert!(error.contains("exit code 78: its flag file cannot be used"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_said_to_be_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program { path: dir.path().join("pgw-fwd"), leading: Vec::new() };
    let units = Spawn::new(program, dir.path(), dir.path(), mpsc::unbounded_channel().0);
    let error = units.start(PORT).await.unwrap_err();
    assert!(matches!(error, UnitError::NotInstalled { .. }), "{error}");
    assert_eq!(units.running().await.unwrap(), BTreeSet::new());
}

#[tokio::test]
async fn a_forwarder_gets_its_own_environment_and_nothing_of_the_apis() {
    let rig = SpawnRig::new();
    rig.units.start(PORT).await.unwrap();
    let names = fs::read_to_string(note(rig.dir.path(), PORT, "environment")).unwrap();
    let allowed =
        ["PGW_STATE_DIR", "PGW_RUN_DIR", "PGW_LOG", "SSL_CERT_FILE", "SSL_CERT_DIR", "PATH", "LANG"];
    for name in names.lines() {
        assert!(allowed.contains(&name), "{name} was passed on");
    }
    let kept_back = std::env::vars().any(|(name, _)| !allowed.contains(&name.as_str()));
    assert!(kept_back, "there was something to keep back");
}
