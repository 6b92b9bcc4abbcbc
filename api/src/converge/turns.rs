//! The map of turns: whatever happens to a subject happens in one task at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{self, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::turn::{Caller, Turn, Unfinished};
use super::{Command, Look, Settled, Subject};

/// Runs that work at the same time: enough to hide a slow unit, few enough for two cores.
const AT_ONCE: usize = 32;
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(10);

type Outcome = Result<Settled, Unfinished>;
type Waiter = oneshot::Sender<Settled>;

pub(super) struct Turns {
    work: Arc<dyn Look>,
    commands: mpsc::UnboundedSender<Command>,
    entries: HashMap<Subject, Entry>,
    running: JoinSet<Outcome>,
    /// Whom each running task is for, known also when it panics.
    tasks: HashMap<task::Id, Subject>,
    permits: Arc<Semaphore>,
    runs: u64,
}

#[derive(Default)]
struct Entry {
    run: Option<Run>,
    /// Touched while running: what runs may not have seen it.
    again: bool,
    failures: u32,
    retry_at: Option<Instant>,
    /// Answered by the run that is under way, and by the one after it.
    waiting: Vec<Waiter>,
    waiting_next: Vec<Waiter>,
}

struct Run {
    number: u64,
    touched: CancellationToken,
}

impl Turns {
    pub(super) fn new(work: Arc<dyn Look>, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self {
            work,
            commands,
            entries: HashMap::new(),
            running: JoinSet::new(),
            tasks: HashMap::new(),
            permits: Arc::new(Semaphore::new(AT_ONCE)),
            runs: 0,
        }
    }

    /// There is news. A run that only waits is ended by it, and begins anew.
    pub(super) fn touch(&mut self, subject: Subject, waiter: Option<Waiter>) {
        let entry = self.entries.entry(subject).or_default();
        match &entry.run {
            Some(run) => {
                entry.again = true;
                entry.waiting_next.extend(waiter);
                run.touched.cancel();
            }
            None => {
                entry.waiting.extend(waiter);
                self.start(subject);
            }
        }
    }

    /// There is no news, only an interval that is over: whoever is being looked at is let be, or
    /// an agent slower than the interval would never be waited for to the end.
    pub(super) fn visit(&mut self, subject: Subject) {
        if self.entries.entry(subject).or_default().run.is_none() {
            self.start(subject);
        }
    }

    /// Whoever waits for this run is told that it is not done.
    pub(super) fn waits(&mut self, subject: Subject, run: u64, so_far: &Settled) {
        let Some(entry) = self.entries.get_mut(&subject) else { return };
        if entry.run.as_ref().is_some_and(|now| now.number == run) {
            answer(&mut entry.waiting, so_far);
        }
    }

    pub(super) fn are_over(&self) -> bool {
        self.running.is_empty()
    }

    /// Waits for the next end of a run or the next retry that is due, and does what follows.
    /// Without either it waits for ever; nothing is lost if it is not waited for.
    pub(super) async fn next(&mut self) {
        let retry_at = self.entries.values().filter_map(|entry| entry.retry_at).min();
        let due = async {
            match retry_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => self.ended(ended),
            () = due => self.start_due(),
        }
    }

    fn start(&mut self, subject: Subject) {
        self.runs += 1;
        let run = Run { number: self.runs, touched: CancellationToken::new() };
        let (permits, touched) = (self.permits.clone(), run.touched.clone());
        let caller = Caller { subject, run: run.number, commands: self.commands.clone() };
        let entry = self.entries.entry(subject).or_default();
        entry.run = Some(run);
        entry.retry_at = None;
        let work = self.work.clone();
        let task = self.running.spawn(async move {
            let mut turn = Turn::begin(permits, touched, caller).await;
            work.look(subject, &mut turn).await
        });
        self.tasks.insert(task.id(), subject);
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let due = |entry: &Entry| entry.run.is_none() && entry.retry_at.is_some_and(|at| at <= now);
        let due: Vec<Subject> = self.entries.iter().filter(|(_, e)| due(e)).map(|(id, _)| *id).collect();
        for subject in due {
            self.start(subject);
        }
    }

    fn ended(&mut self, ended: Result<(task::Id, Outcome), task::JoinError>) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            Err(panic) => {
                tracing::error!(error = %panic, "a look failed in itself");
                (panic.id(), Ok(Settled::No("pgw-api failed; its log tells more".to_owned())))
            }
        };
        let Some(subject) = self.tasks.remove(&task) else { return };
        let Some(entry) = self.entries.get_mut(&subject) else { return };
        entry.run = None;
        let settled = match outcome {
            Ok(settled) => settled,
            // The next run answers those who waited for this one: it began later still.
            Err(Unfinished::Touched) => {
                entry.again = false;
                entry.waiting.append(&mut entry.waiting_next);
                return self.start(subject);
            }
            Err(Unfinished::Store(error)) => {
                tracing::warn!(?subject, error = %error, "the configuration cannot be brought about now");
                Settled::No(error.to_string())
            }
        };
        answer(&mut entry.waiting, &settled);
        if entry.again {
            entry.again = false;
            entry.waiting = std::mem::take(&mut entry.waiting_next);
            return self.start(subject);
        }
        match settled {
            Settled::Yes => drop(self.entries.remove(&subject)),
            Settled::Shut(_) | Settled::No(_) => {
                entry.failures = entry.failures.saturating_add(1);
                entry.retry_at = Some(Instant::now() + retry_delay(entry.failures, rand::random()));
            }
        }
    }
}

fn answer(waiting: &mut Vec<Waiter>, settled: &Settled) {
    for waiter in waiting.drain(..) {
        // Whoever asked may have given up waiting.
        let _gone = waiter.send(settled.clone());
    }
}

/// Doubles from a quarter of a second to ten, minus up to a quarter of itself: `spread` in 0..1.
fn retry_delay(failures: u32, spread: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(LONGEST_RETRY).mul_f64(1.0 - spread.clamp(0.0, 1.0) / 4.0)
}

#[cfg(test)]
mod tests;
