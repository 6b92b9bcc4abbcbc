//! How fast something may go: a bucket that may be overdrawn, and is waited for afterwards. What was
//! read cannot be unread.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may be taken at once after a rest.
const BURST: Duration = Duration::from_millis(250);
const SCALE: u128 = 1_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Bucket {
    /// How long one takes, in billionths of a nanosecond: bytes are many, and time is short.
    each: u128,
    burst: Duration,
    /// When everything that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    /// Of bytes: a quarter of a second at once.
    pub fn per_second(rate: u64) -> Self {
        Self { each: SCALE * 1_000_000_000 / u128::from(rate.max(1)), burst: BURST, paid: Mutex::default() }
    }

    /// Of requests: a whole minute's at once.
    pub fn per_minute(rate: u32) -> Self {
        Self {
            each: SCALE * MINUTE.as_nanos() / u128::from(rate.max(1)),
            burst: MINUTE,
            paid: Mutex::default(),
        }
    }

    pub fn has_one(&self, now: Instant) -> bool {
        let paid = *self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        self.from(paid, now) + self.cost(1) <= now
    }

    /// Takes one if it is there.
    pub fn try_one(&self, now: Instant) -> bool {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = self.from(*paid, now) + self.cost(1);
        let fits = until <= now;
        if fits {
            *paid = Some(until);
        }
        fits
    }

    /// Takes `count`, and says how long to wait before taking more.
    pub fn take(&self, count: usize, now: Instant) -> Option<Duration> {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let until = self.from(*paid, now) + self.cost(count);
        *paid = Some(until);
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn from(&self, paid: Option<Instant>, now: Instant) -> Instant {
        let oldest = now.checked_sub(self.burst).unwrap_or(now);
        paid.map_or(oldest, |paid| paid.max(oldest))
    }

    fn cost(&self, count: usize) -> Duration {
        let nanos = u128::try_from(count).unwrap_or(0) * self.each / SCALE;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_no_faster_than_its_rate_once_the_burst_is_used_up() {
        let bucket = Bucket::per_second(1_000_000);
        let start = Instant::now();
        let (mut now, mut passed) = (start, 0_u64);
        while now < start + Duration::from_secs(10) {
            passed += 50_000;
            now += bucket.take(50_000, now).unwrap_or_default();
        }
        assert!((9_900_000..=10_400_000).contains(&passed), "{passed}");
    }

    #[test]
    fn so_many_a_minute_and_then_one_at_a_time() {
        let bucket = Bucket::per_minute(60);
        let start = Instant::now();
        assert!(bucket.has_one(start) && bucket.has_one(start), "looking takes nothing");
        assert_eq!((0..100).filter(|_| bucket.try_one(start)).count(), 60);
        assert!(!bucket.has_one(start) && bucket.has_one(start + Duration::from_millis(1100)));
        assert!(!bucket.try_one(start + Duration::from_millis(900)));
        assert!(bucket.try_one(start + Duration::from_millis(1100)));
        assert!(!bucket.try_one(start + Duration::from_millis(1200)));
    }

    #[test]
    fn a_rest_is_not_saved_up() {
        let bucket = Bucket::per_second(1000);
        let start = Instant::now();
        assert_eq!(bucket.take(250, start), None);
        assert_eq!(bucket.take(1000, start), Some(Duration::from_secs(1)));
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(250, later), None);
        assert!(bucket.take(250, later).is_some());
    }
}
