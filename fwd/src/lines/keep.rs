//! How long an upstream lets a line wait for its request: learnt from those that it closed.

use std::time::Duration;

/// Below what routers on the way forget, and short enough that an idle forwarder soon holds
/// nothing.
const LONGEST: Duration = Duration::from_secs(25);
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Keep {
    limit: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { limit: LONGEST }
    }
}

impl Keep {
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The upstream closed one of this age: the next ones are given up before.
    pub(super) fn died(&mut self, age: Duration) {
        self.limit = self.limit.min(age * 4 / 5).max(SHORTEST);
    }

    /// One grew as old as it may. The upstream that closed its lines early was perhaps only
    /// restarted, so a little longer is tried.
    pub(super) fn lasted(&mut self) {
        self.limit = (self.limit * 5 / 4).min(LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_given_up_before_its_upstream_would_close_it() {
        for closes_after in [2, 5, 10, 24] {
            let closes_after = Duration::from_secs(closes_after);
            let (mut keep, mut died) = (Keep::default(), 0);
            for _line in 0..100 {
                if keep.limit() < closes_after {
                    keep.lasted();
                } else {
                    keep.died(closes_after);
                    died += 1;
                }
                assert!((SHORTEST..=LONGEST).contains(&keep.limit()));
            }
            assert!(keep.limit() >= closes_after / 2, "{closes_after:?}: {keep:?}");
            assert!(died <= 51, "{closes_after:?}: {died} of a hundred");
        }
    }

    #[test]
    fn a_restart_of_the_upstream_is_not_held_against_it_for_ever() {
        let mut keep = Keep::default();
        for age_ms in [0, 100, 20_000] {
            keep.died(Duration::from_millis(age_ms));
        }
        assert_eq!(keep.limit(), SHORTEST);
        for _line in 0..16 {
            keep.lasted();
        }
        assert_eq!(keep.limit(), LONGEST);
    }
}
