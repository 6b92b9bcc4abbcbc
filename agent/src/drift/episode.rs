//! How much others have been repaired after of late, and so how long the next repair waits.

use std::time::Duration;

use tokio::time::Instant;

/// Every repair costs this much patience, and time gives it back.
const COST: Duration = Duration::from_secs(1);
/// So much is spent without waiting.
const FREE: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// The repairs of late, as patience that is spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Episode {
    spent: Duration,
    at: Instant,
    /// Since it began; 0 once its end has been told.
    repairs: u64,
}

impl Default for Episode {
    fn default() -> Self {
        Self { spent: Duration::ZERO, at: Instant::now(), repairs: 0 }
    }
}

impl Episode {
    /// Answers whether it is the first one in a while.
    pub(crate) fn repaired(&mut self, now: Instant) -> bool {
        let first = self.is_over(now);
        self.repairs = if first { 1 } else { self.repairs.saturating_add(1) };
        self.spent = self.spent(now) + COST;
        self.at = now;
        first
    }

    /// Once, when nobody has done anything for a while: how often it had to be made right.
    pub(crate) fn ended(&mut self, now: Instant) -> Option<u64> {
        let over = self.repairs > 0 && self.is_over(now);
        over.then(|| std::mem::take(&mut self.repairs))
    }

    pub(crate) fn repairs(&self) -> u64 {
        self.repairs
    }

    fn is_over(&self, now: Instant) -> bool {
        self.spent(now) == Duration::ZERO
    }

    pub(crate) fn is_fight(&self, now: Instant) -> bool {
        self.spent(now) > FREE
    }

    pub(crate) fn rest_until(&self) -> Instant {
        let beyond = self.spent.saturating_sub(FREE);
        let doubled = u32::try_from(beyond.as_millis().div_ceil(COST.as_millis())).unwrap_or(u32::MAX);
        match doubled.checked_sub(1) {
            None => self.at,
            Some(times) => self.at + SHORTEST.saturating_mul(2_u32.saturating_pow(times)).min(LONGEST),
        }
    }

    fn spent(&self, now: Instant) -> Duration {
        self.spent.saturating_sub(now.saturating_duration_since(self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repairs as soon as they are allowed, for so long.
    fn fight(length: Duration) -> (u32, Episode) {
        let (begin, mut episode) = (Instant::now(), Episode::default());
        let (mut now, mut repairs) = (begin, 0);
        while now < begin + length {
            episode.repaired(now);
            repairs += 1;
            now = episode.rest_until().max(now);
        }
        (repairs, episode)
    }

    #[test]
    fn the_first_repairs_wait_for_nothing() {
        let (now, mut episode) = (Instant::now(), Episode::default());
        assert!(episode.repaired(now), "it is the first in a while");
        for _ in 1..5 {
            assert!(!episode.repaired(now));
            assert_eq!((episode.rest_until(), episode.is_fight(now)), (now, false));
        }
        episode.repaired(now);
        assert_eq!((episode.rest_until(), episode.is_fight(now)), (now + SHORTEST, true));
    }

    #[test]
    fn in_a_fight_of_an_hour_there_is_about_one_repair_a_second_and_never_none() {
        let (repairs, episode) = fight(Duration::from_secs(3_600));
        assert!((1_800..3_700).contains(&repairs), "{repairs}");
        assert!(episode.rest_until() - episode.at <= LONGEST);
    }

    #[test]
    fn when_it_is_calm_for_a_while_all_is_forgiven() {
        let (repairs, mut episode) = fight(Duration::from_secs(60));
        assert_eq!(episode.ended(episode.at), None);
        let later = episode.at + Duration::from_secs(15);
        assert!(episode.is_over(later) && !episode.is_fight(later));
        assert_eq!((episode.ended(later), episode.ended(later)), (Some(repairs.into()), None));
        assert!(episode.repaired(later));
        assert_eq!((episode.rest_until(), episode.repairs()), (later, 1));
    }
}
