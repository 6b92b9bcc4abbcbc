//! One upstream: the lines that wait for a request, and what was learnt of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pgw_core::dial::Line;
use pgw_core::proxy::{Scheme, Upstream};
use tokio::time::Instant;

use super::demand::Demand;
use super::keep::Keep;
use super::manner::Manner;

/// What a new line takes, as long as nobody knows.
const USUAL_SETUP: Duration = Duration::from_millis(100);
/// An upstream that gave no line, or closed one, is left alone for this time.
const REST: Duration = Duration::from_secs(5);

pub(super) struct Exit {
    /// With its credentials: a line is logged in.
    pub(super) upstream: Upstream,
    state: Mutex<State>,
}

struct State {
    manner: Manner,
    demand: Demand,
    keep: Keep,
    /// The youngest last.
    waiting: Vec<Waiting>,
    /// Lines that are being made.
    coming: usize,
    setup: Duration,
    resting_until: Option<Instant>,
}

struct Waiting {
    line: Line,
    since: Instant,
}

impl Exit {
    pub(super) fn new(upstream: &Upstream) -> Self {
        let state = State {
            manner: Manner::default(),
            demand: Demand::default(),
            keep: Keep::default(),
            waiting: Vec::new(),
            coming: 0,
            setup: USUAL_SETUP,
            resting_until: None,
        };
        Self { upstream: upstream.clone(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wanted a line, and got a tunnel.
    pub(super) fn asked(&self, most: usize) {
        let mut state = self.state();
        let setup = state.setup;
        state.demand.asked(Instant::now(), setup, most);
    }

    /// Of the lines that wait, the youngest one that still stands.
    pub(super) fn take(&self) -> Option<Line> {
        let mut state = self.state();
        while let Some(mut youngest) = state.waiting.pop() {
            if youngest.line.poll_ended(&mut Context::from_waker(Waker::noop())).is_pending() {
                return Some(youngest.line);
            }
            state.keep.died(youngest.since.elapsed());
        }
        None
    }

    /// A line that waited was dead, though nobody could see it: the others will be, too.
    pub(super) fn was_dead(&self) {
        let mut state = self.state();
        state.waiting.clear();
        state.rest();
    }

    /// A line that was taken then gave no sign any more. Whoever waited beside it may be as dead, by a
    /// cable or a router, and would be found out one by one.
    pub(super) fn was_silent(&self, taken: Instant) {
        self.state().waiting.retain(|waiting| waiting.since > taken);
    }

    /// Closes what is too old, or what nobody wants any more. Gives the time of the next look.
    pub(super) fn tidy(&self, most: usize) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        let quiet = state.keep.limit();
        if state.demand.wanted(now, quiet, most) == 0 {
            state.waiting.clear();
        }
        let before = state.waiting.len();
        state.waiting.retain(|waiting| now < waiting.since + quiet);
        if state.waiting.len() < before {
            state.keep.lasted();
        }
        state.waiting.iter().map(|waiting| waiting.since + quiet).min()
    }

    /// How many more are to be made; they count as coming from now on.
    pub(super) fn order(&self, most: usize) -> usize {
        let mut state = self.state();
        let now = Instant::now();
        if state.resting_until.is_some_and(|until| now < until) {
            return 0;
        }
        let wanted = state.demand.wanted(now, state.keep.limit(), most);
        let missing = wanted.saturating_sub(state.waiting.len() + state.coming);
        state.coming += missing;
        missing
    }

    /// What became of one that was coming, and how long it took.
    pub(super) fn came(&self, line: Option<Line>, took: Duration) {
        let mut state = self.state();
        state.coming = state.coming.saturating_sub(1);
        match line {
            Some(line) => {
                state.setup = (state.setup * 3 + took) / 4;
                state.waiting.push(Waiting { line, since: Instant::now() });
            }
            None => state.rest(),
        }
    }

    /// Ready when the upstream has closed a line that waited.
    pub(super) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        let ended = state.drop_ended(cx, Instant::now());
        if ended {
            state.rest();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    pub(super) fn close(&self) {
        self.state().waiting.clear();
    }

    /// Whether a client is to find out if all may be said at once. `alone`: nobody would be
    /// asked instead, should that take long.
    pub(super) fn may_try(&self, alone: bool, keeps_lines: bool) -> bool {
        let mut state = self.state();
        // A login is tried on lines that nobody waits for, where lines are kept.
        let harmless = match self.upstream.scheme {
            Scheme::Http | Scheme::Https => true,
            Scheme::Socks5 if self.upstream.credentials.is_some() && keeps_lines => state.manner.reads_on(),
            Scheme::Socks5 => alone,
        };
        harmless && state.manner.may_try(Instant::now())
    }

    /// Whether the next line is made with all words at once, to see whether they are read.
    pub(super) fn tries_login(&self) -> bool {
        let mut state = self.state();
        let unknown = !state.manner.reads_on() && self.upstream.credentials.is_some();
        unknown && self.upstream.scheme == Scheme::Socks5 && state.manner.may_try(Instant::now())
    }

    pub(super) fn carries(&self) -> bool {
        self.state().manner.carries()
    }

    pub(super) fn learn(&self, of: impl FnOnce(&mut Manner, Instant)) {
        of(&mut self.state().manner, Instant::now());
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }
}

impl State {
    fn rest(&mut self) {
        self.resting_until = Some(Instant::now() + REST);
    }

    fn drop_ended(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let before = self.waiting.len();
        let keep = &mut self.keep;
        self.waiting.retain_mut(|waiting| {
            let stands = waiting.line.poll_ended(cx).is_pending();
            if !stands {
                keep.died(now.duration_since(waiting.since));
            }
            stands
        });
        self.waiting.len() < before
    }
}
