//! How often somebody may try to log in: a number of times at once, and then one every few
//! seconds, counted for the address that tries and for the name that it tries.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

const AT_ONCE: u32 = 10;
/// After so long one more.
const ONE_MORE: Duration = Duration::from_secs(6);
/// Whoever has more addresses, or tries more names, than these in a minute, is waited for least.
const MOST: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Counted {
    /// None: not by the network.
    Address(Option<IpAddr>),
    /// Hashed, so that each takes the same memory, whatever was typed.
    Name([u8; 32]),
}

/// For each, when all of its attempts will be there again.
#[derive(Default)]
pub struct Attempts(Mutex<HashMap<Counted, Instant>>);

impl Attempts {
    /// Counts an attempt, also against those that are under way at the same time. An error says
    /// how long to wait.
    pub(super) fn begin(&self, address: Option<IpAddr>, name: &str) -> Result<(), Duration> {
        let now = Instant::now();
        let both = counted(address, name);
        let mut whole_at = self.whole_at();
        let wait = both.iter().map(|one| wait(whole_at.get(one).copied(), now)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(wait);
        }
        if whole_at.len() + both.len() > MOST {
            make_room(&mut whole_at, now);
        }
        for one in both {
            let at = whole_at.entry(one).or_insert(now);
            *at = (*at).max(now) + ONE_MORE;
        }
        Ok(())
    }

    /// It was the right password: that attempt does not count.
    pub(super) fn succeeded(&self, address: Option<IpAddr>, name: &str) {
        let mut whole_at = self.whole_at();
        for one in counted(address, name) {
            if let Some(at) = whole_at.get_mut(&one) {
                *at = at.checked_sub(ONE_MORE).unwrap_or(*at);
            }
        }
    }

    /// Each change is one insert or assignment, so a panic elsewhere leaves it whole.
    fn whole_at(&self) -> MutexGuard<'_, HashMap<Counted, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted(address: Option<IpAddr>, name: &str) -> [Counted; 2] {
    [Counted::Address(address.map(network)), Counted::Name(Sha256::digest(name).into())]
}

/// A host has a whole /64 of IPv6 to come from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & !u128::from(u64::MAX)).into()),
        four @ IpAddr::V4(_) => four,
    }
}

fn wait(whole_at: Option<Instant>, now: Instant) -> Duration {
    let spent = whole_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
    (spent + ONE_MORE).saturating_sub(ONE_MORE * AT_ONCE)
}

/// What is whole again is forgotten; and if all of them still count, the half that counts least.
fn make_room(whole_at: &mut HashMap<Counted, Instant>, now: Instant) {
    whole_at.retain(|_, at| *at > now);
    if whole_at.len() * 2 > MOST {
        let mut all: Vec<Instant> = whole_at.values().copied().collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable(middle);
        let median = *median;
        whole_at.retain(|_, at| *at > median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(last: u8) -> Option<IpAddr> {
        Some([192, 168, 2, last].into())
    }

    #[tokio::test(start_paused = true)]
    async fn ten_at_once_and_then_one_every_six_seconds() {
        let attempts = Attempts::default();
        for _ in 0..AT_ONCE {
            attempts.begin(host(3), "alice").unwrap();
        }
        let wait = attempts.begin(host(3), "alice").unwrap_err();
        assert_eq!(wait, ONE_MORE);
        tokio::time::advance(wait).await;
        attempts.begin(host(3), "alice").unwrap();
        assert!(attempts.begin(host(3), "alice").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_counted_over_all_names_and_a_name_over_all_addresses() {
        let attempts = Attempts::default();
        for n in 0..AT_ONCE {
            attempts.begin(host(3), &format!("name {n}")).unwrap();
        }
        assert!(attempts.begin(host(3), "another").is_err());
        attempts.begin(host(4), "another").unwrap();
        let attempts = Attempts::default();
        for n in 0..10 {
            attempts.begin(host(n), "alice").unwrap();
        }
        assert!(attempts.begin(host(99), "alice").is_err());
        let (one, two) = ("2001:db8::1".parse().ok(), "2001:db8::ffff:1".parse().ok());
        let attempts = Attempts::default();
        for n in 0..AT_ONCE {
            attempts.begin(one, &format!("name {n}")).unwrap();
        }
        assert!(attempts.begin(two, "another").is_err(), "one host, whatever its last 64 bits");
    }

    #[tokio::test(start_paused = true)]
    async fn the_right_password_costs_nothing() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            attempts.begin(host(3), "alice").unwrap();
            attempts.succeeded(host(3), "alice");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_names_take_bounded_memory_and_do_not_free_who_tried_most() {
        let attempts = Attempts::default();
        for _ in 0..AT_ONCE {
            attempts.begin(host(3), "alice").unwrap();
        }
        for n in 0..100_000_u32 {
            let address = Some(std::net::Ipv4Addr::from(0x0a00_0000 + n).into());
            let _counted = attempts.begin(address, &n.to_string());
        }
        assert!(attempts.whole_at().len() <= MOST);
        assert!(attempts.begin(host(3), "alice").is_err());
    }
}
