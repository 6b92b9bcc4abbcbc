//! The leak drill: a device that is registered and closed tries every way out, and what comes out
//! is counted. Before it, others try the same ways whom nobody closes: only eyes that saw those come
//! out are believed when they see nothing.

mod ground;
mod judge;
mod keeper;
mod packet;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pgw_core::drill::{Drill, Outcome};
use pgw_core::settings::{AgentSettings, Unregistered};
use tokio::time::{Instant, sleep, timeout};

pub use ground::{Ground, GroundError, Kernel as KernelGround, Laid, Sender, Turn};
pub use keeper::Keeper;

use crate::nft::drill::{CLOSED, Canary, Place, Tally};
use crate::nft::kernel::{Kernel, KernelError};
use judge::{Counts, EACH, judge, since};

/// All of it. Usually it takes a fifth of a second.
const LIMIT: Duration = Duration::from_millis(2_500);
/// For the kernel to have dealt with what was sent.
const PATIENCE: Duration = Duration::from_millis(600);
const GLANCE: Duration = Duration::from_millis(20);

pub struct Range {
    pub ground: Arc<dyn Ground>,
    pub kernel: Arc<dyn Kernel>,
    pub unregistered: Unregistered,
}

/// Why there is nothing to judge.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    #[error(transparent)]
    Ground(#[from] GroundError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("pgw's rules are not in the kernel: registered devices are not held back")]
    NoRules,
    #[error(
        "{CLOSED} belongs to the drill, and is a client with a mapping here; give that device another address"
    )]
    Taken,
    #[error("a packet cannot be sent: {0}")]
    NotSent(#[source] std::io::Error),
    #[error("it did not end within {} ms", LIMIT.as_millis())]
    TooSlow,
    #[error("it broke off: {0}")]
    BrokeOff(#[source] tokio::task::JoinError),
}

impl Range {
    /// Of this network namespace.
    pub fn new(settings: &AgentSettings, kernel: Arc<dyn Kernel>) -> Self {
        let ground = KernelGround {
            state_dir: settings.state_dir.clone(),
            lan_if: settings.lan_if.clone(),
            wan_if: settings.wan_if.clone(),
        };
        Self { ground: Arc::new(ground), kernel, unregistered: settings.unregistered }
    }

    /// `Err`: another one is under way. What else keeps it from being run is its outcome.
    pub async fn drill(&self) -> Result<Drill, GroundError> {
        let turn = match self.ground.turn() {
            Err(under_way @ GroundError::UnderWay) => return Err(under_way),
            turn => turn,
        };
        let (began, at) = (Instant::now(), Timestamp::now());
        let rounds = async { self.rounds(turn?).await };
        let judged = timeout(LIMIT, rounds).await.unwrap_or(Err(DrillError::TooSlow));
        let mut drill = match judged {
            Ok(judged) => Drill {
                outcome: Some(judged.outcome),
                detail: judged.detail,
                kinds: judged.kinds,
                ..Drill::default()
            },
            Err(error) => Drill {
                outcome: Some(Outcome::NotRun),
                detail: format!("the drill could not be run: {error}"),
                ..Drill::default()
            },
        };
        drill.last_at = Some(at);
        drill.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        drill.proven_closed_at = (drill.outcome == Some(Outcome::Closed)).then_some(at);
        Ok(drill)
    }

    async fn rounds(&self, turn: Turn) -> Result<judge::Judgement, DrillError> {
        let held = self.kernel.read().await?.ok_or(DrillError::NoRules)?;
        if held.elements.open.contains(&CLOSED) {
            return Err(DrillError::Taken);
        }
        let ground = self.ground.clone();
        let laid = blocking(move || ground.lay(turn)).await??;
        let tried = |canary: &Canary| !canary.is_ipv6() || laid.without_ipv6().is_none();
        let canaries: Vec<Canary> = Canary::ALL.into_iter().filter(tried).collect();

        let before = self.tally().await?;
        let control = |canary: Canary| match self.unregistered {
            // Closed like all of the LAN: then the way is tried from beside it.
            Unregistered::Drop => Sender::Elsewhere,
            Unregistered::Allow if canary.is_ipv6() => Sender::Elsewhere,
            Unregistered::Allow => Sender::Stranger,
        };
        send(laid.as_ref(), &canaries, control)?;
        let between = self.until_all(&before, Place::Control, &canaries).await?;
        send(laid.as_ref(), &canaries, |_| Sender::Closed)?;
        self.until_all(&between, Place::Met, &canaries).await?;
        // What met the rules late is out late.
        sleep(GLANCE).await;
        let after = self.tally().await?;
        let judged = judge(&Counts { before, between, after }, laid.without_ipv6());
        // Links take their time to go.
        blocking(move || drop(laid)).await?;
        Ok(judged)
    }

    async fn tally(&self) -> Result<Tally, DrillError> {
        self.kernel.tally().await?.ok_or(DrillError::NoRules)
    }

    /// Until all have come by, or long enough; what is missing is the judge's.
    async fn until_all(
        &self,
        before: &Tally,
        place: Place,
        canaries: &[Canary],
    ) -> Result<Tally, DrillError> {
        let began = Instant::now();
        loop {
            let now = self.tally().await?;
            let all = canaries.iter().all(|canary| since(before, &now, place, *canary) >= EACH);
            if all || began.elapsed() > PATIENCE {
                return Ok(now);
            }
            sleep(GLANCE).await;
        }
    }
}

fn send(laid: &dyn Laid, canaries: &[Canary], who: impl Fn(Canary) -> Sender) -> Result<(), DrillError> {
    for (canary, number) in canaries.iter().flat_map(|canary| (0..EACH).map(move |n| (*canary, n))) {
        let number = u16::try_from(number).unwrap_or_default();
        laid.send(canary, who(canary), number).map_err(DrillError::NotSent)?;
    }
    Ok(())
}

/// Links are made and taken away behind a lock of the whole machine's.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, DrillError> {
    tokio::task::spawn_blocking(work).await.map_err(DrillError::BrokeOff)
}

#[cfg(test)]
mod tests;
