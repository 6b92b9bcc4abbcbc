//! Somebody else changes our tables: when it is made right, and how often. The first times at
//! once. Who does it again and again is another program that wants it otherwise: then each
//! repair waits longer, so that two programs do not wear the machine out, and never for ever,
//! because a device would be open.

mod episode;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

pub(crate) use episode::Episode;

/// Somebody else's change, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// When the first and the last of them were heard of.
    pub since: Instant,
    pub heard_at: Instant,
    pub by: Option<String>,
    /// Not seen: notices were lost, and nobody knows whether anything was changed.
    pub seen: bool,
}

/// Where changes are told.
pub struct News {
    waiting: Arc<Waiting>,
    deaf: watch::Sender<Option<String>>,
}

/// Why changes are not heard of at present, if they are not.
pub type Deaf = watch::Receiver<Option<String>>;

/// When to make it right.
pub struct Drifts {
    waiting: Arc<Waiting>,
    not_before: Instant,
}

/// What waits to be made right. One repair is for all that was heard before it.
#[derive(Default)]
struct Waiting {
    foreign: Mutex<Option<Foreign>>,
    told: Notify,
}

/// How a repair went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Healing {
    pub done: bool,
    /// The next one begins then at the earliest.
    pub rest_until: Instant,
}

pub fn channel() -> (News, Drifts, Deaf) {
    let (deaf, hearing) = watch::channel(None);
    let waiting = Arc::<Waiting>::default();
    let drifts = Drifts { waiting: waiting.clone(), not_before: Instant::now() };
    (News { waiting, deaf }, drifts, hearing)
}

impl Foreign {
    pub fn seen(by: Option<String>) -> Self {
        let now = Instant::now();
        Self { since: now, heard_at: now, by, seen: true }
    }

    pub fn perhaps() -> Self {
        Self { seen: false, ..Self::seen(None) }
    }

    fn and(self, later: Self) -> Self {
        Self {
            since: self.since,
            heard_at: later.heard_at,
            by: later.by.or(self.by),
            seen: self.seen || later.seen,
        }
    }
}

impl Waiting {
    fn foreign(&self) -> MutexGuard<'_, Option<Foreign>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, later: Foreign) {
        let mut waiting = self.foreign();
        *waiting = Some(match waiting.take() {
            Some(earlier) => earlier.and(later),
            None => later,
        });
        self.told.notify_one();
    }
}

impl News {
    pub fn heard(&self, foreign: Foreign) {
        self.waiting.add(foreign);
    }

    pub fn deaf(&self, why: &str) {
        let news = self.deaf.send_if_modified(|deaf| deaf.replace(why.to_owned()).as_deref() != Some(why));
        if news {
            tracing::warn!(why, "changes by others are not heard of; only the interval finds them");
        }
    }

    pub fn listening(&self) {
        self.deaf.send_if_modified(|deaf| deaf.take().is_some());
    }
}

impl Drifts {
    /// When something is to be made right. Whoever stops waiting loses nothing.
    pub async fn due(&mut self) -> Foreign {
        loop {
            if self.waiting.foreign().is_some() {
                sleep_until(self.not_before).await;
                if let Some(foreign) = self.waiting.foreign().take() {
                    return foreign;
                }
            }
            self.waiting.told.notified().await;
        }
    }

    pub fn after(&mut self, foreign: Foreign, healing: Healing) {
        self.not_before = healing.rest_until;
        if !healing.done {
            // What was seen since then has not made it right.
            self.waiting.add(Foreign { heard_at: Instant::now(), ..foreign });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_heard_while_a_repair_must_wait_becomes_one_repair() {
        let (news, mut drifts, _deaf) = channel();
        let begin = Instant::now();
        let rest_until = begin + Duration::from_secs(2);
        drifts.after(Foreign::perhaps(), Healing { done: true, rest_until });
        for by in [Some("first"), Some("second"), None] {
            news.heard(Foreign::seen(by.map(str::to_owned)));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        for _ in 0..100 {
            news.heard(Foreign::perhaps());
        }
        let foreign = drifts.due().await;
        assert_eq!(Instant::now(), rest_until);
        assert_eq!((foreign.since, foreign.by.as_deref(), foreign.seen), (begin, Some("second"), true));
        assert!(foreign.heard_at > begin);
        let more = tokio::time::timeout(Duration::from_secs(60), drifts.due()).await;
        assert!(more.is_err(), "one repair stands for all: {more:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_repair_that_failed_is_tried_again_and_nobody_has_to_say_so() {
        let (news, mut drifts, _deaf) = channel();
        news.heard(Foreign::seen(None));
        let foreign = drifts.due().await;
        let rest_until = Instant::now() + Duration::from_secs(1);
        drifts.after(foreign.clone(), Healing { done: false, rest_until });
        assert_eq!(drifts.due().await.since, foreign.since);
        assert_eq!(Instant::now(), rest_until);
    }

    #[tokio::test(start_paused = true)]
    async fn who_stops_waiting_loses_nothing() {
        let (news, mut drifts, _deaf) = channel();
        drifts.not_before = Instant::now() + Duration::from_secs(1);
        news.heard(Foreign::seen(None));
        assert!(tokio::time::timeout(Duration::from_millis(10), drifts.due()).await.is_err());
        assert!(drifts.due().await.seen);
    }
}
