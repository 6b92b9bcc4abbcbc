use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;

/// A look at a port waits for an agent that answers when the test says so.
struct Agent {
    asked: AtomicUsize,
    answers: Semaphore,
}

#[async_trait]
impl Look for Agent {
    async fn look(&self, subject: Subject, turn: &mut Turn) -> Outcome {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if matches!(subject, Subject::Port(_)) {
            turn.wait_for("the agent", self.answers.acquire()).await?.unwrap().forget();
        }
        Ok(Settled::Yes)
    }
}

struct Stage {
    agent: Arc<Agent>,
    turns: Turns,
    commands: UnboundedReceiver<Command>,
}

impl Stage {
    fn new() -> Self {
        let agent = Arc::new(Agent { asked: AtomicUsize::new(0), answers: Semaphore::new(0) });
        let (send, commands) = mpsc::unbounded_channel();
        Self { turns: Turns::new(agent.clone(), send), agent, commands }
    }

    fn asked(&self) -> usize {
        self.agent.asked.load(Ordering::SeqCst)
    }

    fn agent_answers(&self, times: usize) {
        self.agent.answers.add_permits(times);
    }

    fn touch(&mut self, subject: Subject) -> oneshot::Receiver<Settled> {
        let (send, receive) = oneshot::channel();
        self.turns.touch(subject, Some(send));
        receive
    }

    /// As the converger's own task does, for as long as this takes.
    async fn during<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return done,
                () = self.turns.next() => {}
                Some(command) = self.commands.recv() => match command {
                    Command::Waits { subject, run, so_far } => self.turns.waits(subject, run, &so_far),
                    _ => panic!("a run tells nothing else"),
                }
            }
        }
    }

    /// Until everybody who can go on has done so.
    async fn idle(&mut self) {
        self.during(tokio::time::sleep(Duration::from_millis(1))).await;
    }
}

const WAITS: Subject = Subject::Port(1);

#[tokio::test(start_paused = true)]
async fn a_touch_ends_a_wait_and_who_waited_is_answered_by_the_run_after_it() {
    let mut stage = Stage::new();
    let first = stage.touch(WAITS);
    stage.idle().await;
    assert_eq!(stage.asked(), 1);
    let second = stage.touch(WAITS);
    stage.idle().await;
    assert_eq!(stage.asked(), 2, "it did not begin anew");
    stage.agent_answers(1);
    let both = stage.during(async { (first.await.unwrap(), second.await.unwrap()) }).await;
    assert_eq!(both, (Settled::Yes, Settled::Yes));
    stage.idle().await;
    assert_eq!(stage.asked(), 2, "nothing was left to be done");
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_is_over_ends_no_wait() {
    let mut stage = Stage::new();
    let waiter = stage.touch(WAITS);
    stage.idle().await;
    for _ in 0..3 {
        stage.turns.visit(WAITS);
        stage.idle().await;
    }
    stage.agent_answers(1);
    assert_eq!(stage.during(waiter).await.unwrap(), Settled::Yes);
    assert_eq!(stage.asked(), 1, "an agent slower than the interval would never be waited for");
}

#[tokio::test(start_paused = true)]
async fn who_waits_takes_no_turn_from_those_who_work() {
    let mut stage = Stage::new();
    for port in 0..2 * u16::try_from(AT_ONCE).unwrap() {
        stage.turns.visit(Subject::Port(port));
    }
    stage.idle().await;
    assert_eq!(stage.asked(), 2 * AT_ONCE, "all of them wait by now");
    let other = stage.touch(Subject::Kernel);
    assert_eq!(stage.during(other).await.unwrap(), Settled::Yes);
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_not_kept_by_an_agent_that_is_silent_and_the_run_goes_on() {
    let mut stage = Stage::new();
    let begin = Instant::now();
    let waiter = stage.touch(WAITS);
    let told = stage.during(waiter).await.unwrap();
    assert_eq!(told, Settled::No("the agent does not answer".into()));
    assert!(begin.elapsed() <= Duration::from_secs(3), "{:?}", begin.elapsed());
    stage.agent_answers(1);
    stage.idle().await;
    assert_eq!((stage.asked(), stage.turns.are_over()), (1, true));
}

#[test]
fn retries_back_off_to_a_bound() {
    for (failures, spread, want_ms) in [
        (1, 0.0, 250),
        (2, 0.0, 500),
        (6, 0.0, 8_000),
        (7, 0.0, 10_000),
        (u32::MAX, 0.0, 10_000),
        (7, 1.0, 7_500),
    ] {
        assert_eq!(retry_delay(failures, spread).as_millis(), want_ms, "{failures} {spread}");
    }
}
