//! One port's forwarder: brought up, watched, started again when it dies, stopped. All of it in
//! one task, so that nothing about a port ever happens twice at the same time.

use std::future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::process::{Farewell, Process};
use super::sight::{Verdict, look};
use super::{House, Tempo};
use crate::units::UnitError;
use crate::units::control::{ControlError, Line};

const POLL: Duration = Duration::from_millis(5);

pub(super) enum Order {
    Start(oneshot::Sender<Result<(), UnitError>>),
    Stop(oneshot::Sender<Result<(), UnitError>>),
}

pub(super) struct Keeper {
    port: u16,
    house: Arc<House>,
    process: Option<Process>,
    /// Set while it is wanted and dead.
    again: Option<Again>,
    /// Deaths in a row, each soon after its start.
    falls: u32,
}

struct Again {
    at: Instant,
    after: String,
}

impl Keeper {
    pub(super) fn new(port: u16, house: Arc<House>) -> Self {
        Self { port, house, process: None, again: None, falls: 0 }
    }

    /// Ends with the API; the forwarder does not. What it does now and then has room of its own while
    /// it does it, for it mostly waits, and there is one for each port.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                // A death is seen before an order, so that no order is about a dead process.
                biased;
                how = ended(&mut self.process) => self.fell(how),
                order = orders.recv() => match order {
                    // A caller that no longer waits has what it asked for all the same.
                    Some(Order::Start(reply)) => { let _ = reply.send(Box::pin(self.start()).await); }
                    Some(Order::Stop(reply)) => { let _ = reply.send(Box::pin(self.stop()).await); }
                    None => return,
                },
                () = due(self.again.as_ref()) => Box::pin(self.restart()).await,
            }
        }
    }

    fn fell(&mut self, how: String) {
        let age = self.process.take().map(|process| process.age()).unwrap_or_default();
        if age >= self.house.tempo.steady {
            self.falls = 0;
        }
        tracing::warn!(port = self.port, how, lived_s = age.as_secs(), "a forwarder died");
        self.try_later(how);
        self.tell();
    }

    fn try_later(&mut self, after: String) {
        self.again = Some(Again { at: Instant::now() + pause(self.falls, &self.house.tempo), after });
        self.falls = self.falls.saturating_add(1);
    }

    fn tell(&self) {
        // Nobody listens while the API stops.
        let _ = self.house.told.send(self.port);
    }

    async fn restart(&mut self) {
        self.again = None;
        match self.bring_up().await {
            Ok(()) => {
                tracing::info!(port = self.port, "the forwarder is back");
                self.tell();
            }
            Err(error) => {
                tracing::warn!(port = self.port, error = %error, "the forwarder does not come back");
                self.try_later(error.to_string());
            }
        }
    }

    async fn start(&mut self) -> Result<(), UnitError> {
        // One that dies as soon as it is up must not be started as often as somebody asks.
        if let Some(Again { at, after }) = &self.again {
            let wait = at.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                let seconds = wait.as_secs_f32().ceil();
                let detail = format!("it died soon after its start, and is started again in {seconds} s");
                return Err(UnitError::Failed { port: self.port, result: after.clone(), detail });
            }
        }
        self.again = None;
        self.bring_up().await
    }

    async fn stop(&mut self) -> Result<(), UnitError> {
        self.again = None;
        self.falls = 0;
        match look(&self.house, self.port, &mut self.process).await? {
            Some((_, Verdict::Stranger(detail))) => Err(self.failed("it is not ours to stop", detail)),
            Some((process, Verdict::Leaving)) => self.retire(process, Farewell::Await).await,
            Some((process, Verdict::Ours | Verdict::Outdated)) => self.retire(process, Farewell::Ask).await,
            None => match self.process.take() {
                Some(process) => self.retire(process, Farewell::Ask).await,
                None => Ok(()),
            },
        }
    }

    async fn bring_up(&mut self) -> Result<(), UnitError> {
        match look(&self.house, self.port, &mut self.process).await? {
            Some((process, Verdict::Ours)) => {
                tracing::debug!(port = self.port, pid = %process.pid(), "a forwarder is there");
                self.process = Some(process);
            }
            Some((process, verdict @ (Verdict::Leaving | Verdict::Outdated))) => {
                tracing::info!(port = self.port, pid = %process.pid(), ?verdict, "a forwarder is replaced");
                let farewell = if verdict == Verdict::Leaving { Farewell::Await } else { Farewell::Ask };
                self.retire(process, farewell).await?;
            }
            Some((_, Verdict::Stranger(detail))) => return Err(self.failed("the port is taken", detail)),
            None => {}
        }
        let process = match self.process.take() {
            Some(process) => process,
            None => self.house.spawn(self.port)?,
        };
        self.until_it_answers(process).await
    }

    async fn until_it_answers(&mut self, mut process: Process) -> Result<(), UnitError> {
        let (tempo, pid) = (self.house.tempo, process.pid());
        let answered = tokio::select! {
            how = process.ended() => return Err(self.failed(&how, "its log lines say why".into())),
            answered = answers(&self.house.run_dir, self.port, pid, tempo.start) => answered,
        };
        let detail = match answered {
            Ok(()) => {
                self.process = Some(process);
                return Ok(());
            }
            Err(Unanswered::Silence) => {
                self.retire(process, Farewell::Kill).await?;
                "its control socket did not answer".to_owned()
            }
            Err(Unanswered::Ours(error)) => {
                self.process = Some(process);
                error.to_string()
            }
        };
        Err(UnitError::Timeout { port: self.port, verb: "come up", seconds: tempo.start.as_secs(), detail })
    }

    async fn retire(&mut self, mut process: Process, farewell: Farewell) -> Result<(), UnitError> {
        let gone = process.retire(farewell, &self.house.tempo).await;
        gone.map_err(|error: io::Error| {
            let pid = process.pid();
            // Still there: nobody else may be started on its port.
            self.process = Some(process);
            self.failed(&error.to_string(), format!("process {pid} cannot be stopped"))
        })
    }

    fn failed(&self, result: &str, detail: String) -> UnitError {
        UnitError::Failed { port: self.port, result: result.to_owned(), detail }
    }
}

async fn ended(process: &mut Option<Process>) -> String {
    match process {
        Some(process) => process.ended().await,
        None => future::pending().await,
    }
}

async fn due(again: Option<&Again>) {
    match again {
        Some(again) => sleep_until(again.at).await,
        None => future::pending().await,
    }
}

/// Why a forwarder that was given time to answer has not.
enum Unanswered {
    Silence,
    /// It could not be asked, for want of descriptors perhaps: that says nothing about it, and it
    /// may serve its device as well as ever.
    Ours(ControlError),
}

/// Not before this very process answers: another one's answer says nothing about it.
async fn answers(run_dir: &Path, port: u16, pid: Pid, within: Duration) -> Result<(), Unanswered> {
    let deadline = Instant::now() + within;
    loop {
        let unanswered = match Line::open(run_dir, port).await {
            Ok(mut line) => {
                if line.pid() == Some(pid) && line.status().await.is_ok_and(|status| !status.draining) {
                    return Ok(());
                }
                Unanswered::Silence
            }
            Err(error @ ControlError::Unusable { .. }) => Unanswered::Ours(error),
            Err(_silent_or_nobody) => Unanswered::Silence,
        };
        if Instant::now() >= deadline {
            return Err(unanswered);
        }
        sleep(POLL).await;
    }
}

/// None after the first death, then doubling; uneven, so that a thousand that died together do
/// not come back together.
fn pause(falls: u32, tempo: &Tempo) -> Duration {
    let Some(doublings) = falls.checked_sub(1) else { return Duration::ZERO };
    let even = tempo.first_pause.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
    even.min(tempo.longest_pause).mul_f64(rand::rng().random_range(0.75..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_forwarder_that_could_not_be_asked_is_not_taken_for_a_silent_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = pgw_core::control::socket_path(dir.path(), 15001);
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        let own = rustix::process::getpid();
        let ask = || answers(dir.path(), 15001, own, Duration::ZERO);
        assert!(matches!(ask().await, Err(Unanswered::Silence)), "nobody is there");
        // As with no descriptors left: the question cannot even be put.
        std::os::unix::fs::symlink(&path, &path).unwrap();
        assert!(matches!(ask().await, Err(Unanswered::Ours(_))));
    }

    #[test]
    fn the_first_restart_is_at_once_and_later_ones_are_slower_up_to_half_a_minute() {
        let tempo = Tempo::default();
        assert_eq!(pause(0, &tempo), Duration::ZERO);
        for (falls, longest) in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 30), (33, 30), (u32::MAX, 30)] {
            let longest = Duration::from_secs(longest);
            let got = pause(falls, &tempo);
            assert!(got <= longest && got >= longest.mul_f64(0.74), "after {falls} falls: {got:?}");
        }
    }
}
