//! When to reconcile: at the start, at every interval, and when asked. Whoever asks while one
//! is under way gets the next, which began after the question; all who wait share it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::active::ReconcileReport;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::reconcile::{ReconcileError, Reconciler};

/// Beyond this, who asks waits for a place among those who wait.
const MOST_WAITING: usize = 256;

pub type Outcome = Arc<Result<ReconcileReport, ReconcileError>>;

#[derive(Clone)]
pub struct Wake(mpsc::Sender<oneshot::Sender<Outcome>>);

pub struct Waiting(mpsc::Receiver<oneshot::Sender<Outcome>>);

/// The agent is stopping.
#[derive(Debug)]
pub struct Stopping;

/// What is woken: the reconciler, or a test's stand-in.
pub trait Work: Send {
    fn work(&mut self) -> impl Future<Output = Result<ReconcileReport, ReconcileError>> + Send;
}

impl Work for Reconciler {
    fn work(&mut self) -> impl Future<Output = Result<ReconcileReport, ReconcileError>> + Send {
        self.reconcile()
    }
}

pub fn channel() -> (Wake, Waiting) {
    let (send, receive) = mpsc::channel(MOST_WAITING);
    (Wake(send), Waiting(receive))
}

impl Wake {
    pub async fn reconcile(&self) -> Result<Outcome, Stopping> {
        let (send, receive) = oneshot::channel();
        self.0.send(send).await.map_err(|_closed| Stopping)?;
        receive.await.map_err(|_dropped| Stopping)
    }
}

impl Waiting {
    /// Until told to stop; a reconcile that has begun is ended first.
    pub async fn run(mut self, mut work: impl Work, interval: Duration, stop: CancellationToken) {
        let mut ticks = interval_at(Instant::now(), interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut waiters = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                asked = self.0.recv() => match asked {
                    Some(waiter) => waiters.push(waiter),
                    None => return,
                },
                _at = ticks.tick() => {}
            }
            while let Ok(waiter) = self.0.try_recv() {
                waiters.push(waiter);
            }
            let outcome = Arc::new(work.work().await);
            for waiter in waiters {
                // Who has gone away needs no answer.
                let _gone = waiter.send(outcome.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use pgw_core::ids::Generation;
    use tokio::sync::Semaphore;

    use super::*;

    /// Counts its reconciles as generations; each needs a permit to end.
    #[derive(Clone)]
    struct Gated {
        begun: Arc<AtomicU64>,
        gate: Arc<Semaphore>,
    }

    impl Work for Gated {
        async fn work(&mut self) -> Result<ReconcileReport, ReconcileError> {
            let generation = Generation(self.begun.fetch_add(1, Ordering::SeqCst) + 1);
            self.gate.acquire().await.unwrap().forget();
            Ok(ReconcileReport { generation, changed: false, took_ms: 0, clients: 0, applied: vec![] })
        }
    }

    struct Running {
        wake: Wake,
        work: Gated,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn start(interval: u64) -> Running {
        let (wake, waiting) = channel();
        let (stop, begun) = (CancellationToken::new(), Arc::default());
        let work = Gated { begun, gate: Arc::new(Semaphore::new(0)) };
        let task = tokio::spawn(waiting.run(work.clone(), Duration::from_secs(interval), stop.clone()));
        Running { wake, work, stop, task }
    }

    impl Running {
        fn ask(&self) -> tokio::task::JoinHandle<u64> {
            let wake = self.wake.clone();
            tokio::spawn(
                async move { wake.reconcile().await.unwrap().as_ref().as_ref().unwrap().generation.0 },
            )
        }

        async fn until_begun(&self, count: u64) {
            while self.work.begun.load(Ordering::SeqCst) < count {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_during_a_reconcile_gets_one_that_began_afterwards_and_shares_it() {
        let running = start(1_000);
        running.until_begun(1).await;
        let late = [running.ask(), running.ask(), running.ask()];
        while running.wake.0.capacity() > MOST_WAITING - 3 {
            tokio::task::yield_now().await;
        }
        running.work.gate.add_permits(2);
        for one in late {
            assert_eq!(one.await.unwrap(), 2);
        }
        assert_eq!(running.work.begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn it_reconciles_at_the_start_and_at_every_interval() {
        let running = start(15);
        let began = Instant::now();
        running.work.gate.add_permits(4);
        running.until_begun(1).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(16)).await;
        running.until_begun(2).await;
        tokio::time::advance(Duration::from_secs(15)).await;
        running.until_begun(3).await;
    }

    #[tokio::test(start_paused = true)]
    async fn when_stopped_what_has_begun_is_ended_and_who_waits_is_told() {
        let running = start(15);
        running.until_begun(1).await;
        let waiter = running.wake.clone();
        let waiter = tokio::spawn(async move { waiter.reconcile().await.is_err() });
        while running.wake.0.capacity() == MOST_WAITING {
            tokio::task::yield_now().await;
        }
        running.stop.cancel();
        assert!(!running.task.is_finished());
        running.work.gate.add_permits(1);
        running.task.await.unwrap();
        assert!(waiter.await.unwrap(), "the one who waited is told that nobody will reconcile");
        assert_eq!(running.work.begun.load(Ordering::SeqCst), 1);
    }
}
