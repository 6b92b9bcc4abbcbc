//! When a receiver that did not take an event is tried again, and when it is not.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// What nobody took for so long is told to nobody: who was to be woken by it is awake.
const GIVEN_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Doubles from a second to a quarter of an hour, minus up to a quarter of itself, so that receivers
/// that come back are not met by everybody at once: `spread` in 0..1. Who asks for more time gets it.
pub(super) fn pause(failures: u32, asked: Option<Duration>, spread: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    let spaced = doubled.min(LONGEST).mul_f64(1.0 - spread.clamp(0.0, 1.0) / 4.0);
    spaced.max(asked.unwrap_or_default().min(LONGEST))
}

pub(super) fn is_given_up(happened: Timestamp, now: Timestamp) -> bool {
    now.duration_since(happened) >= GIVEN_UP_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour_and_are_never_in_step() {
        for (failures, seconds) in [(1, 1), (2, 2), (5, 16), (10, 512), (11, 900), (u32::MAX, 900)] {
            assert_eq!(pause(failures, None, 0.0).as_secs(), seconds, "after {failures}");
            assert!(pause(failures, None, 1.0) < pause(failures, None, 0.0));
        }
    }

    #[test]
    fn who_asks_for_time_gets_it_within_reason() {
        assert_eq!(pause(1, Some(Duration::from_secs(120)), 0.5).as_secs(), 120);
        assert_eq!(pause(1, Some(Duration::from_secs(86_400)), 0.5), LONGEST);
        assert!(pause(10, Some(Duration::from_secs(1)), 0.5).as_secs() > 300);
    }

    #[test]
    fn an_event_is_given_up_when_it_is_a_day_old() {
        let happened = Timestamp::from_second(1_000_000).unwrap();
        let after = |hours| happened + SignedDuration::from_hours(hours);
        assert!(!is_given_up(happened, after(23)) && is_given_up(happened, after(24)));
        assert!(!is_given_up(after(1), happened), "the clock was set back");
    }
}
