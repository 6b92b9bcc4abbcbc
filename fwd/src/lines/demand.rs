//! How many lines are worth having ready: as many as were asked for, at the busiest moment of
//! late, within the time that a new one takes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How long a burst is remembered: a person reads a page and opens the next one.
const REMEMBERED: Duration = Duration::from_secs(30);
/// What comes within a blink belongs together, however quickly a line is made.
const BLINK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
pub(super) struct Demand {
    /// The latest ones, no more than could be met.
    asked: VecDeque<Instant>,
    busiest: Option<(usize, Instant)>,
}

impl Demand {
    /// Somebody wanted a line; a new one takes `setup`, and no more than `most` are kept.
    pub(super) fn asked(&mut self, now: Instant, setup: Duration, most: usize) {
        self.asked.push_back(now);
        while self.asked.len() > most.max(1) {
            self.asked.pop_front();
        }
        // With a half of it to spare: one that comes just when the next line should be there would wait.
        let window = (setup + setup / 2).max(BLINK);
        let together = self.asked.iter().filter(|at| now.duration_since(**at) <= window).count();
        let busier = match self.busiest {
            Some((count, at)) => together >= count || now.duration_since(at) >= REMEMBERED,
            None => true,
        };
        if busier {
            self.busiest = Some((together, now));
        }
    }

    /// None when nobody asked for as long as `quiet`.
    pub(super) fn wanted(&self, now: Instant, quiet: Duration, most: usize) -> usize {
        let Some(last) = self.asked.back() else { return 0 };
        if now.duration_since(*last) >= quiet {
            return 0;
        }
        let busiest = self.busiest.filter(|(_count, at)| now.duration_since(*at) < REMEMBERED);
        busiest.map_or(1, |(count, _at)| count).min(most)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SETUP: Duration = Duration::from_millis(150);
    const QUIET: Duration = Duration::from_secs(25);

    fn wanted(demand: &Demand) -> usize {
        demand.wanted(Instant::now(), QUIET, 8)
    }

    async fn ask(demand: &mut Demand, times: usize, apart: Duration) {
        for _time in 0..times {
            advance(apart).await;
            demand.asked(Instant::now(), SETUP, 8);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_are_wanted_as_come_while_one_is_made() {
        for (name, times, apart_ms, want) in [
            ("one", 1, 0, 1),
            ("one a second", 30, 1000, 1),
            ("a burst of six", 6, 1, 6),
            ("each a little later than the last one could be replaced", 10, 160, 2),
            ("twenty a second", 40, 50, 5),
            ("more than are kept", 100, 1, 8),
        ] {
            let mut demand = Demand::default();
            assert_eq!(wanted(&demand), 0, "nothing was asked for");
            ask(&mut demand, times, Duration::from_millis(apart_ms)).await;
            assert_eq!(wanted(&demand), want, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_forgotten_and_silence_wants_nothing() {
        let mut demand = Demand::default();
        ask(&mut demand, 6, Duration::from_millis(1)).await;
        ask(&mut demand, 20, Duration::from_secs(1)).await;
        assert_eq!(wanted(&demand), 6, "the next page may come");
        ask(&mut demand, 10, Duration::from_secs(1)).await;
        assert_eq!(wanted(&demand), 1, "half a minute later it is one at a time");
        advance(QUIET).await;
        assert_eq!(wanted(&demand), 0);
        ask(&mut demand, 1, Duration::ZERO).await;
        assert_eq!(wanted(&demand), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_not_be_kept_is_not_wanted() {
        let mut demand = Demand::default();
        demand.asked(Instant::now(), SETUP, 0);
        demand.asked(Instant::now(), SETUP, 0);
        assert_eq!(demand.wanted(Instant::now(), QUIET, 0), 0);
    }
}
