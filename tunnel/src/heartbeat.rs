//! When to speak, and when the other end counts as gone. It knows no clock but the one it is told.

use std::time::Duration;

use tokio::time::Instant;

pub const EVERY: Duration = Duration::from_secs(15);
pub const DEAD: Duration = Duration::from_secs(45);

#[derive(Debug)]
pub struct Heartbeat {
    heard: Instant,
    said: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing to do before.
    Wait(Instant),
    Speak,
    /// Nothing was heard for too long.
    Dead,
}

impl Heartbeat {
    pub fn new(now: Instant) -> Self {
        Self { heard: now, said: now }
    }

    pub fn hears(&mut self, now: Instant) {
        self.heard = now;
    }

    pub fn speaks(&mut self, now: Instant) {
        self.said = now;
    }

    pub fn heard(&self) -> Instant {
        self.heard
    }

    /// A machine that slept finds itself far behind: it is dead, and begins anew at once.
    pub fn due(&self, now: Instant) -> Beat {
        if now.saturating_duration_since(self.heard) >= DEAD {
            Beat::Dead
        } else if now.saturating_duration_since(self.said) >= EVERY {
            Beat::Speak
        } else {
            Beat::Wait((self.said + EVERY).min(self.heard + DEAD))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_every_fifteen_seconds_and_is_dead_after_forty_five_of_silence() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut heart = Heartbeat::new(start);
        assert_eq!(heart.due(start), Beat::Wait(at(15)));
        assert_eq!(heart.due(at(15)), Beat::Speak);
        heart.speaks(at(15));
        heart.hears(at(16));
        heart.speaks(at(30));
        heart.speaks(at(45));
        heart.speaks(at(60));
        assert_eq!(heart.due(at(60)), Beat::Wait(at(61)));
        assert_eq!(heart.due(at(61)), Beat::Dead);
        heart.hears(at(61));
        assert_eq!(heart.due(at(75)), Beat::Speak);
        assert_eq!(heart.due(at(7200)), Beat::Dead, "after a sleep");
    }
}
