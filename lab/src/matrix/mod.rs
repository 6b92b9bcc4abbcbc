//! The fault matrix: sequences of random faults, each a function of its seed, while devices try
//! every door. After each one nobody may have got out by anything but his own upstream, and
//! everything must come back to what the database says (G1, G2, G4).

mod dice;
mod foreign;
mod operator;
pub mod play;
mod script;
mod settled;
mod stage;
mod told;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};

use crate::gateway::Program;
use crate::lab::Lab;
use crate::leaks::{self, Leaks};
use crate::net::Device;
use crate::vigil::Vigil;
use script::{Act, DEVICES, Operation, ROUTES, script};
use stage::Stage;

/// For the seed of a run that is to be repeated.
pub const SEED: &str = "PGW_LAB_SEED";

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Sequences(u64),
    Passed(Duration),
}

/// The one that was asked for, or one that nobody had before.
pub fn seed() -> Result<u64> {
    match std::env::var(SEED) {
        Ok(text) => text.parse().with_context(|| format!("{SEED}={text:?} is no whole number")),
        // Seconds, so that it can be typed again.
        Err(_unset) => Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs()),
    }
}

pub struct Matrix {
    stage: Stage,
    /// Since the beginning, so that nothing that happens between two sequences is missed.
    before: BTreeMap<&'static str, Leaks>,
    sequences: u64,
    acts: usize,
    rounds: usize,
}

impl Matrix {
    pub async fn build(lab: Lab) -> Result<Self> {
        let stage = Stage::build(lab).await?;
        let mut before = BTreeMap::from([("gw", leaks::count("gw").await?)]);
        for device in DEVICES {
            before.insert(device.name, leaks::count(device.name).await?);
        }
        Ok(Self { stage, before, sequences: 0, acts: 0, rounds: 0 })
    }

    /// Sequence after sequence, each with the seed after the one before.
    pub async fn run(&mut self, seed: u64, until: Until, mut progress: impl FnMut(&Self)) -> Result<()> {
        let began = Instant::now();
        loop {
            let seed = seed.wrapping_add(self.sequences);
            let acts = script(seed);
            self.sequence(&acts).await.with_context(|| {
                let acts: String = acts
                    .iter()
                    .map(|act| format!("\n  {:>4} ms later {:?}", act.after.as_millis(), act.operation))
                    .collect();
                format!("sequence {seed} (again: cargo xtask matrix 1 {seed}){acts}\n")
            })?;
            self.sequences += 1;
            progress(self);
            let enough = match until {
                Until::Sequences(count) => self.sequences >= count,
                Until::Passed(time) => began.elapsed() >= time,
            };
            if enough {
                return Ok(());
            }
        }
    }

    /// Would it? A device that really gets out must not go unnoticed.
    pub async fn notices_a_leak(&mut self) -> Result<()> {
        let act = |millis, operation| Act { after: Duration::from_millis(millis), operation };
        let acts = [
            act(0, Operation::KillProgram(Program::Agent)),
            act(0, Operation::FlushUnseen),
            act(700, Operation::ReviveProgram(Program::Agent)),
        ];
        let told = self.sequence(&acts).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        let words = ["got an answer", "was seen as", "left the gateway directly"];
        ensure!(words.iter().any(|word| told.contains(word)), "a leak was not noticed: {told:?}");
        Ok(())
    }

    async fn sequence(&mut self, acts: &[Act]) -> Result<()> {
        let mut vigils = Vec::new();
        for device in DEVICES {
            vigils.push((device, Vigil::begin(device).await?));
        }
        self.stage.operator.set_up().await.context("before the first fault")?;
        self.stage.settled().await.context("before the first fault")?;
        for act in acts {
            tokio::time::sleep(act.after).await;
            self.stage.perform(act.operation).await.with_context(|| format!("{:?}", act.operation))?;
            self.acts += 1;
        }
        self.stage.repair().await.context("everything is started again")?;
        self.stage.settled().await.context("everything runs again")?;
        for (device, vigil) in vigils {
            self.judge(device, vigil).await?;
        }
        let direct = self.since("gw").await?;
        ensure!(direct == 0, "{direct} packets of the gateway itself went where a device wanted to go");
        Ok(())
    }

    async fn judge(&mut self, device: Device, vigil: Vigil) -> Result<()> {
        let own: Vec<Ipv4Addr> =
            ROUTES.iter().filter(|route| route.device == device).map(|route| route.kind.ip()).collect();
        let windows = &self.stage.windows;
        let rounds = vigil.watched().await?.rounds;
        self.rounds += rounds.len();
        for round in rounds.iter().filter(|round| !windows.excuse(round.began, round.ended)) {
            round.allowed(&own).with_context(|| device.name.to_owned())?;
        }
        let (leaked, told) = (self.since(device.name).await?, self.leaked_in_windows(device.name));
        ensure!(
            leaked == told,
            "{} packets of {} left the gateway directly, and nobody else had changed its rules",
            leaked.saturating_sub(told),
            device.name
        );
        Ok(())
    }

    async fn since(&self, who: &str) -> Result<u64> {
        let before = self.before.get(who).context("nobody counted it before")?;
        Ok(leaks::count(who).await?.since(before).total())
    }

    fn leaked_in_windows(&self, who: &str) -> u64 {
        self.stage.windows.leaked.get(who).copied().unwrap_or(0)
    }

    pub fn summary(&self) -> String {
        let windows = &self.stage.windows;
        let told: u64 = windows.leaked.values().sum();
        format!(
            "{} sequences, {} faults, {} rounds of every way out: 0 packets leaked. Not counted are the {told} that got \
             out while somebody else had taken the rules away, which happened {} times: {}",
            self.sequences,
            self.acts,
            self.rounds,
            windows.closed.len(),
            windows.times(),
        )
    }
}
