//! Names of upstreams, as the system's resolver last told them. It opens its files and asks the network
//! for each question anew, on a thread of its own: too much to be done for every connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The resolver does not say for how long its answer holds. So long goes on to the old place who
/// follows an upstream that moves, unless the old place refuses.
const FRESH: Duration = Duration::from_secs(10);

/// More than a client ever has upstreams.
const MOST: usize = 64;

#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<String, Known>>);

struct Known {
    addresses: Vec<IpAddr>,
    since: Instant,
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < FRESH
    }
}

impl Names {
    pub(super) fn fresh(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.known().get(name).filter(|known| known.is_fresh()).map(|known| known.addresses.clone())
    }

    pub(super) fn keep(&self, name: &str, addresses: &[IpAddr]) {
        let mut all = self.known();
        if all.len() >= MOST {
            all.retain(|_name, known| known.is_fresh());
        }
        // Whoever has so many asks for some of them each time.
        if all.len() < MOST || all.contains_key(name) {
            let known = Known { addresses: addresses.to_vec(), since: Instant::now() };
            all.insert(name.to_owned(), known);
        }
    }

    /// It was of no use: the next one asks anew.
    pub(super) fn forget(&self, name: &str) {
        self.known().remove(name);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Nothing in there can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::LOCALHOST)];

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_a_moment_and_not_longer() {
        let names = Names::default();
        names.keep("de1.example", &HERE);
        tokio::time::advance(FRESH - Duration::from_millis(1)).await;
        assert_eq!(names.fresh("de1.example").as_deref(), Some(&HERE[..]));
        assert_eq!(names.fresh("de2.example"), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(names.fresh("de1.example"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_never_more_than_so_many_and_the_old_make_room() {
        let names = Names::default();
        for number in 0..3 * MOST {
            names.keep(&format!("de{number}.example"), &HERE);
        }
        assert_eq!(names.known().len(), MOST);
        tokio::time::advance(FRESH).await;
        names.keep("late.example", &HERE);
        assert!(names.fresh("late.example").is_some());
        assert_eq!(names.known().len(), 1);
    }
}
