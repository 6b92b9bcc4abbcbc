//! How long to wait before the next attempt: longer each time, and never as long as the others.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// A session that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Full jitter: anything from a second up to twice what was possible the last time, so that a
    /// thousand clients of a gateway that has come back do not all come at once. `chance` is from 0
    /// up to 1.
    pub fn next(&mut self, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1).min(16);
        let ceiling = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        FIRST + (ceiling - FIRST).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// After a session of this length.
    pub fn lasted(&mut self, session: Duration) {
        if session >= GOOD {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_from_one_second_to_sixty(chances in prop::collection::vec(0.0..1.0, 1..40)) {
            let mut backoff = Backoff::default();
            for chance in chances {
                let wait = backoff.next(chance);
                prop_assert!((FIRST..=LONGEST).contains(&wait), "{wait:?}");
            }
        }
    }

    #[test]
    fn waits_grow_and_a_good_session_ends_that() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.lasted(GOOD / 2);
        assert_eq!(backoff.next(1.0), LONGEST);
        backoff.lasted(GOOD);
        assert_eq!(backoff.next(1.0), 2 * FIRST);
    }
}
