//! What happened here of late, for whoever waits for it: others who changed the tables, and drills.
//! It is kept in memory and bounded; the API writes it down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use pgw_core::news::{Item, News, What};
use tokio::sync::watch;
use uuid::Uuid;

/// While the API is away: drills of days, and episodes enough to see that something is wrong.
const MOST: usize = 256;

#[derive(Debug, Clone)]
pub struct Chronicle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    run: Uuid,
    kept: Mutex<Kept>,
    /// The last number, for those who wait; nothing more comes once it is closed.
    last: watch::Sender<Told>,
}

#[derive(Debug, Default)]
struct Kept {
    last: u64,
    items: VecDeque<Item>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Told {
    last: u64,
    closed: bool,
}

impl Default for Chronicle {
    fn default() -> Self {
        let inner = Inner { run: Uuid::new_v4(), kept: Mutex::default(), last: watch::Sender::default() };
        Self(Arc::new(inner))
    }
}

impl Chronicle {
    pub(crate) fn tell(&self, what: What) {
        let last = {
            let mut kept = self.kept();
            kept.last += 1;
            let item = Item { number: kept.last, at: Timestamp::now(), what };
            kept.items.push_back(item);
            if kept.items.len() > MOST {
                kept.items.pop_front();
            }
            kept.last
        };
        self.0.last.send_modify(|told| told.last = told.last.max(last));
    }

    /// Nobody is kept waiting from now on.
    pub fn close(&self) {
        self.0.last.send_modify(|told| told.closed = true);
    }

    /// What came after `known` of this run, as soon as there is something or it took long enough.
    /// Whoever knows another run, or none, is told at once, from the beginning.
    pub(crate) async fn after(&self, run: Option<Uuid>, known: u64, wait: Duration) -> News {
        let known = if run == Some(self.0.run) {
            let mut last = self.0.last.subscribe();
            let more = last.wait_for(|told| told.closed || told.last > known);
            // Whether something came or not: what there is, is told.
            let _in_time = tokio::time::timeout(wait, more).await.map(|waited| waited.map(drop));
            known
        } else {
            0
        };
        let kept = self.kept();
        let items = kept.items.iter().filter(|item| item.number > known).cloned().collect();
        News { run: self.0.run, last: kept.last, items }
    }

    /// A panic elsewhere leaves it whole but for a number that is skipped.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use pgw_core::drill::Drill;
    use tokio::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(25);

    fn numbers(news: &News) -> Vec<u64> {
        news.items.iter().map(|item| item.number).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_at_once_and_whoever_knows_another_run_is_told_all() {
        let (chronicle, begun) = (Chronicle::default(), Instant::now());
        let run = chronicle.after(None, 9, LONG).await.run;
        assert_eq!(begun.elapsed(), Duration::ZERO, "a stranger is told whom he talks to");
        let waits = tokio::spawn({
            let chronicle = chronicle.clone();
            async move { chronicle.after(Some(run), 0, LONG).await }
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        chronicle.tell(What::Drill(Drill::default()));
        assert_eq!(numbers(&waits.await.unwrap()), [1]);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        let none = chronicle.after(Some(run), 1, LONG).await;
        assert_eq!((numbers(&none), none.last, begun.elapsed().as_secs()), (vec![], 1, 28));
        let another = chronicle.after(Some(Uuid::nil()), 77, LONG).await;
        assert_eq!((numbers(&another), another.run), (vec![1], run));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_and_the_numbers_tell_what_was_forgotten() {
        let chronicle = Chronicle::default();
        for _ in 0..MOST + 10 {
            chronicle.tell(What::Drill(Drill::default()));
        }
        let news = chronicle.after(None, 0, LONG).await;
        let (first, last) = (news.items[0].number, news.last);
        assert_eq!((news.items.len(), first, last), (MOST, 11, u64::try_from(MOST).unwrap() + 10));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_kept_waiting_when_the_agent_stops() {
        let (chronicle, begun) = (Chronicle::default(), Instant::now());
        let run = chronicle.after(None, 0, LONG).await.run;
        let waits = tokio::spawn({
            let chronicle = chronicle.clone();
            async move { chronicle.after(Some(run), 0, LONG).await }
        });
        tokio::task::yield_now().await;
        chronicle.close();
        waits.await.unwrap();
        chronicle.after(Some(run), 0, LONG).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
