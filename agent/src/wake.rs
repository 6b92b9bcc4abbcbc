//! When to reconcile: at the start, at every interval, and when asked. Whoever asks while one
//! is under way gets the next, which began after the question; all who wait share it. And when
//! to heal: as soon as somebody else has changed the tables, also while the API is thinking.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pgw_core::active::ReconcileReport;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::drift::{Drifts, Foreign, Healing};
use crate::reconcile::{Asked, ReconcileError, Reconciler};

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
    type Asked: Send;
    /// Changes nothing, and may take long.
    fn ask(&self) -> impl Future<Output = Self::Asked> + Send + use<Self>;
    fn work(
        &mut self,
        asked: Self::Asked,
    ) -> impl Future<Output = Result<ReconcileReport, ReconcileError>> + Send;
    fn heal(&mut self, foreign: &Foreign) -> impl Future<Output = Healing> + Send;
}

impl Work for Reconciler {
    type Asked = Asked;

    fn ask(&self) -> impl Future<Output = Asked> + Send + use<> {
        self.ask()
    }

    fn work(&mut self, asked: Asked) -> impl Future<Output = Result<ReconcileReport, ReconcileError>> + Send {
        self.reconcile(asked)
    }

    fn heal(&mut self, foreign: &Foreign) -> impl Future<Output = Healing> + Send {
        self.heal(foreign)
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
    pub async fn run(
        mut self,
        mut work: impl Work,
        mut drifts: Drifts,
        interval: Duration,
        stop: CancellationToken,
    ) {
        let mut ticks = interval_at(Instant::now(), interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut waiters = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                foreign = drifts.due() => {
                    let healing = work.heal(&foreign).await;
                    drifts.after(foreign, healing);
                    continue;
                }
                asked = self.0.recv() => match asked {
                    Some(waiter) => waiters.push(waiter),
                    None => return,
                },
                _at = ticks.tick() => {}
            }
            while let Ok(waiter) = self.0.try_recv() {
                waiters.push(waiter);
            }
            let outcome = Arc::new(reconcile(&mut work, &mut drifts).await);
            for waiter in waiters {
                // Who has gone away needs no answer.
                let _gone = waiter.send(outcome.clone());
            }
        }
    }
}

async fn reconcile(work: &mut impl Work, drifts: &mut Drifts) -> Result<ReconcileReport, ReconcileError> {
    let mut asking = pin!(work.ask());
    let asked = loop {
        tokio::select! {
            asked = &mut asking => break asked,
            foreign = drifts.due() => {
                let healing = work.heal(&foreign).await;
                drifts.after(foreign, healing);
            }
        }
    };
    work.work(asked).await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use pgw_core::ids::Generation;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::drift::{self, News};

    /// Counts its reconciles as generations; each needs a permit to end.
    #[derive(Clone)]
    struct Gated {
        begun: Arc<AtomicU64>,
        gate: Arc<Semaphore>,
        healed: Arc<AtomicU64>,
        /// The API does not answer.
        silent: bool,
    }

    impl Work for Gated {
        type Asked = ();

        fn ask(&self) -> impl Future<Output = ()> + Send + use<> {
            let silent = self.silent;
            async move {
                if silent {
                    std::future::pending::<()>().await;
                }
            }
        }

        async fn heal(&mut self, _foreign: &Foreign) -> Healing {
            self.healed.fetch_add(1, Ordering::SeqCst);
            Healing { done: true, rest_until: Instant::now() }
        }

        async fn work(&mut self, (): ()) -> Result<ReconcileReport, ReconcileError> {
            let generation = Generation(self.begun.fetch_add(1, Ordering::SeqCst) + 1);
            self.gate.acquire().await.unwrap().forget();
            Ok(ReconcileReport { generation, ..ReconcileReport::default() })
        }
    }

    struct Running {
        wake: Wake,
        work: Gated,
        news: News,
        stop: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    fn start(interval: u64) -> Running {
        start_with(interval, false)
    }

    fn start_with(interval: u64, silent: bool) -> Running {
        let ((wake, waiting), (news, drifts, _deaf)) = (channel(), drift::channel());
        let (stop, gate) = (CancellationToken::new(), Arc::new(Semaphore::new(0)));
        let work = Gated { begun: Arc::default(), gate, healed: Arc::default(), silent };
        let interval = Duration::from_secs(interval);
        let task = tokio::spawn(waiting.run(work.clone(), drifts, interval, stop.clone()));
        Running { wake, work, news, stop, task }
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

    #[tokio::test(start_paused = true)]
    async fn what_others_changed_is_healed_at_once_also_while_the_api_is_silent() {
        for silent in [false, true] {
            let running = start_with(1_000, silent);
            running.work.gate.add_permits(100);
            let began = Instant::now();
            for times in 1..4 {
                running.news.heard(Foreign::seen(None));
                while running.work.healed.load(Ordering::SeqCst) < times {
                    tokio::task::yield_now().await;
                }
            }
            assert_eq!(began.elapsed(), Duration::ZERO, "silent: {silent}");
        }
    }
}
