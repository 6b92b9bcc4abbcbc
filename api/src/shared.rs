//! One look at something costly for everybody who asks at about the same time.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long what was seen serves everybody.
const FRESH: Duration = Duration::from_secs(1);

/// What was seen last. There is one look at a time, and whoever comes meanwhile waits for it.
pub struct Shared<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Shared<T> {
    pub async fn get(&self, look: impl Future<Output = T>) -> T {
        let mut last = self.0.lock().await;
        if let Some((_, seen)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return seen.clone();
        }
        let seen = look.await;
        *last = Some((Instant::now(), seen.clone()));
        seen
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_there_is_one_look_a_second() {
        let (shared, looks) = (Shared::default(), Cell::new(0));
        let look = async || {
            let slow = async {
                looks.set(looks.get() + 1);
                tokio::time::sleep(Duration::from_millis(300)).await;
                looks.get()
            };
            shared.get(slow).await
        };
        assert_eq!(join_all((0..50).map(|_| look())).await, [1; 50]);
        tokio::time::advance(FRESH / 2).await;
        assert_eq!(look().await, 1);
        tokio::time::advance(FRESH / 2).await;
        assert_eq!(look().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_in_the_middle_of_a_look_leaves_it_to_the_next() {
        let shared = Shared::default();
        let gone = shared.get(std::future::pending());
        assert!(tokio::time::timeout(FRESH, gone).await.is_err());
        assert_eq!(shared.get(async { 7 }).await, 7);
    }
}
