//! How fast something may go: a bucket that may be overdrawn, and is waited for afterwards. What was
//! read cannot be unread.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What may be taken at once after a rest.
const BURST: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Bucket {
    per_second: u64,
    burst: Duration,
    /// When everything that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    /// Of bytes: a quarter of a second at once.
    pub fn per_second(rate: u64) -> Self {
        Self { per_second: rate.max(1), burst: BURST, paid: Mutex::default() }
    }

    /// Takes `count`, and says how long to wait before taking more.
    pub fn take(&self, count: usize, now: Instant) -> Option<Duration> {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = now.checked_sub(self.burst).unwrap_or(now);
        let from = paid.map_or(oldest, |paid| paid.max(oldest));
        let until = from + self.cost(count);
        *paid = Some(until);
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn cost(&self, count: usize) -> Duration {
        let nanos = u128::try_from(count).unwrap_or(0) * 1_000_000_000 / u128::from(self.per_second);
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
