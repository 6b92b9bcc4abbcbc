//! Whether an upstream takes words before it has answered the last ones. Some read a whole
//! packet for each message and lose what stands behind it, so each is tried once, with words
//! that may be lost.

use std::time::Duration;

use tokio::time::Instant;

/// After a trial that proved nothing. Each next one waits four times as long.
const REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(super) struct Manner {
    /// A server's hello has answered a client's that was sent with the request.
    carries: bool,
    /// A login that came together with the greeting was taken.
    reads_on: bool,
    trying: bool,
    doubts: u32,
    not_before: Option<Instant>,
}

impl Manner {
    pub(super) fn carries(&self) -> bool {
        self.carries
    }

    pub(super) fn reads_on(&self) -> bool {
        self.reads_on
    }

    /// One at a time tries; the others need not wait for what comes of it.
    pub(super) fn may_try(&mut self, now: Instant) -> bool {
        let may = !self.carries && !self.trying && self.not_before.is_none_or(|not_before| now >= not_before);
        self.trying |= may;
        may
    }

    /// The trial is over, and nothing was seen.
    pub(super) fn gave_up(&mut self, now: Instant) {
        self.trying = false;
        self.not_before = Some(now + REST);
    }

    pub(super) fn has_carried(&mut self) {
        *self = Self { carries: true, reads_on: true, ..Self::default() };
    }

    pub(super) fn has_read_on(&mut self) {
        *self = Self { reads_on: true, ..Self::default() };
    }

    /// Step by step something worked that did not work at once.
    pub(super) fn has_lost(&mut self, now: Instant) {
        let rest = 4_u32.checked_pow(self.doubts).and_then(|times| REST.checked_mul(times));
        let not_before = Some(now + rest.unwrap_or(LONGEST_REST).min(LONGEST_REST));
        *self = Self { doubts: self.doubts.saturating_add(1), not_before, ..Self::default() };
    }

    /// There was no answer, whoever is to blame: what was known is to be seen once more.
    pub(super) fn is_silent(&mut self) {
        self.carries = false;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_tries_and_what_he_finds_counts_for_all() {
        let mut manner = Manner::default();
        let now = Instant::now();
        assert!(!manner.carries());
        assert!(manner.may_try(now) && !manner.may_try(now), "one at a time");
        manner.gave_up(now);
        assert!(!manner.may_try(now), "not with the very next one");
        assert!(manner.may_try(now + REST), "nothing was learnt");
        manner.has_carried();
        assert!(manner.carries() && manner.reads_on());
        manner.is_silent();
        assert!(!manner.carries() && manner.may_try(now), "to be seen once more, at once");
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_loses_words_is_tried_less_and_less() {
        let mut manner = Manner::default();
        for rest_s in [10, 40, 160, 640, 2560, 3600, 3600] {
            assert!(manner.may_try(Instant::now()));
            manner.has_lost(Instant::now());
            advance(Duration::from_secs(rest_s) - Duration::from_millis(1)).await;
            assert!(!manner.may_try(Instant::now()), "{rest_s}");
            advance(Duration::from_millis(1)).await;
        }
        assert!(manner.may_try(Instant::now()));
        manner.has_carried();
        manner.has_lost(Instant::now());
        advance(REST).await;
        assert!(manner.may_try(Instant::now()), "what carried once is believed to do so again");
    }
}
