//! For a line in the log that could come a thousand times a second, and then says nothing more.

use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

/// Once a minute, and how often it was kept back in between.
#[derive(Debug, Default)]
pub struct Seldom {
    said: Option<Instant>,
    kept_back: u64,
}

impl Seldom {
    /// None: not now. Otherwise, how many were kept back since the last.
    pub fn due(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < EVERY) {
            self.kept_back = self.kept_back.saturating_add(1);
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_are_counted() {
        let (mut seldom, start) = (Seldom::default(), Instant::now());
        assert_eq!(seldom.due(start), Some(0));
        assert_eq!(seldom.due(start), None);
        assert_eq!(seldom.due(start + EVERY / 2), None);
        assert_eq!(seldom.due(start + EVERY), Some(2));
        assert_eq!(seldom.due(start + EVERY), None);
    }
}
