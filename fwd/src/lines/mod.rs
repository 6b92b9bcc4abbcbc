//! Tunnels through an upstream, in as few round trips as it bears: by a line that was made
//! ready before, with all words at once, and step by step where nothing else is known to work.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use pgw_core::dial::{Deadline, Destination, DialError, Dialer, Line, Said, Syn, Tunnel, Words};
use pgw_core::flag::FlagFile;
use pgw_core::health::CheckFailure;
use pgw_core::proxy::Upstream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

mod demand;
mod exit;
mod keep;
mod manner;
mod trial;

use exit::Exit;
use manner::Manner;
use trial::Trial;

/// Where clients begin with a hello.
const HTTPS: u16 = 443;

pub(crate) struct Lines {
    pub(crate) dialer: Dialer,
    flag: watch::Receiver<Arc<FlagFile>>,
    exits: Mutex<Vec<Arc<Exit>>>,
    /// Somebody got a tunnel, and the next one may come.
    asked: Notify,
}

impl Lines {
    pub(crate) fn new(dialer: Dialer, flag: watch::Receiver<Arc<FlagFile>>) -> Self {
        Self { dialer, flag, exits: Mutex::default(), asked: Notify::new() }
    }

    /// A tunnel to `dest` within `limit`. What the client has `said` may travel with the
    /// request, and the tunnel then tells how much of it did. `alone`: no other upstream is
    /// asked for the same.
    pub(crate) async fn reach(
        &self,
        upstream: &Upstream,
        dest: &Destination,
        said: Option<Said>,
        alone: bool,
        limit: Duration,
    ) -> Result<Tunnel, DialError> {
        let exit = self.exit(upstream);
        let most = self.most();
        let deadline = Deadline::within(limit);
        let tunnel = self.tunnel(&exit, dest, said, alone, deadline).await?;
        // Only who carries something is worth being called again.
        exit.asked(most);
        self.asked.notify_one();
        Ok(tunnel)
    }

    async fn tunnel(
        &self,
        exit: &Arc<Exit>,
        dest: &Destination,
        said: Option<Said>,
        alone: bool,
        deadline: Deadline,
    ) -> Result<Tunnel, DialError> {
        let upstream = &exit.upstream;
        // By a fresh line, which is as quick for a hello as one that waits is step by step, and
        // is not dead.
        let tries = dest.port() == HTTPS && said.is_some() && exit.may_try(alone, self.most() > 0);
        let trial = tries.then(|| Trial::of(exit));
        if trial.is_none()
            && let Some(line) = exit.take()
        {
            let ahead = said.clone().filter(|_said| exit.carries());
            let taken = Instant::now();
            match line.ask(upstream, dest, ahead, deadline).await {
                // It died while it waited, or of what it was asked: a fresh one shows which.
                Err(error) if error.kind == CheckFailure::BadAnswer => exit.was_dead(),
                outcome => {
                    if is_silence(&outcome) {
                        exit.was_silent(taken);
                    }
                    return heard(exit, outcome);
                }
            }
        }
        let begun = Instant::now();
        let mut line = self.dialer.open(upstream, Syn::Full, deadline).await?;
        if let (Some(trial), Some(said)) = (trial, &said)
            && trial::hello_came(said).await
        {
            let patience = trial::patience(begun.elapsed());
            // Boxed, like what follows a failure: they are rare, and large.
            let run = trial::run(trial, &self.dialer, line, patience, (dest, said.clone()), deadline);
            return Box::pin(run).await;
        }
        if !exit.carries() {
            line.greet(upstream, Words::OneByOne, deadline).await?;
            return line.ask(upstream, dest, None, deadline).await;
        }
        match line.ask(upstream, dest, said, deadline).await {
            Err(error) if error.kind == CheckFailure::BadAnswer => {
                let tunnel = Box::pin(self.dialer.step_by_step(upstream, dest, deadline)).await?;
                exit.learn(Manner::has_lost);
                Ok(tunnel)
            }
            outcome => heard(exit, outcome),
        }
    }

    /// Keeps lines ready for as long as they are asked for, and does not return.
    pub(crate) async fn tend(&self) {
        let mut coming = FuturesUnordered::new();
        let mut flag = self.flag.clone();
        loop {
            let now = flag.borrow_and_update().clone();
            let exits = self.used(&now);
            let most = usize::from(now.limits.warm);
            let look = exits.iter().filter_map(|exit| exit.tidy(most)).min();
            for exit in &exits {
                for _missing in 0..exit.order(most) {
                    coming.push(self.prepare(exit.clone(), now.limits.connect_timeout_ms));
                }
            }
            tokio::select! {
                () = self.asked.notified() => {}
                Ok(()) = flag.changed() => {}
                Some(()) = coming.next() => {}
                () = poll_fn(|cx| poll_ended(&exits, cx)) => {}
                () = sleep_until(look.unwrap_or_else(Instant::now)), if look.is_some() => {}
            }
        }
    }

    /// Nobody will ask any more.
    pub(crate) fn close(&self) {
        self.exits().iter().for_each(|exit| exit.close());
    }

    async fn prepare(&self, exit: Arc<Exit>, limit_ms: u64) {
        let begun = Instant::now();
        let line = self.line(&exit, Deadline::within(Duration::from_millis(limit_ms))).await;
        exit.came(line.ok(), begun.elapsed());
    }

    /// A line that is up to the request.
    async fn line(&self, exit: &Exit, deadline: Deadline) -> Result<Line, DialError> {
        let upstream = &exit.upstream;
        // With its first packet alone: this one must stand, not be promised.
        let mut line = self.dialer.open(upstream, Syn::Alone, deadline).await?;
        if exit.tries_login() {
            let greeting = line.greet(upstream, Words::AtOnce, deadline);
            if let Ok(Ok(())) = timeout(trial::LOGIN_PATIENCE, greeting).await {
                exit.learn(|manner, _now| manner.has_read_on());
                return Ok(line);
            }
            exit.learn(Manner::has_lost);
            line = self.dialer.open(upstream, Syn::Alone, deadline).await?;
        }
        line.greet(upstream, Words::OneByOne, deadline).await?;
        Ok(line)
    }

    fn most(&self) -> usize {
        self.flag.borrow().limits.warm.into()
    }

    fn exits(&self) -> MutexGuard<'_, Vec<Arc<Exit>>> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exit(&self, upstream: &Upstream) -> Arc<Exit> {
        let mut exits = self.exits();
        if let Some(known) = exits.iter().find(|exit| exit.upstream == *upstream) {
            return known.clone();
        }
        let new = Arc::new(Exit::new(upstream));
        exits.push(new.clone());
        new
    }

    /// Those that the flag file names; the lines of all others are closed.
    fn used(&self, flag: &FlagFile) -> Vec<Arc<Exit>> {
        let mut exits = self.exits();
        exits.retain(|exit| flag.upstreams.iter().any(|named| named.upstream == exit.upstream));
        exits.clone()
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.exits().iter().map(|exit| exit.waiting()).sum()
    }
}

/// Silence may mean that words were lost which used to be taken.
fn heard(exit: &Exit, outcome: Result<Tunnel, DialError>) -> Result<Tunnel, DialError> {
    if is_silence(&outcome) {
        exit.learn(|manner, _now| manner.is_silent());
    }
    outcome
}

fn is_silence(outcome: &Result<Tunnel, DialError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind == CheckFailure::Timeout)
}

fn poll_ended(exits: &[Arc<Exit>], cx: &mut Context<'_>) -> Poll<()> {
    // All of them are looked at: each is to wake this task.
    let ended = exits.iter().filter(|exit| exit.poll_ended(cx).is_ready()).count();
    if ended > 0 { Poll::Ready(()) } else { Poll::Pending }
}
