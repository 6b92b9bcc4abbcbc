//! What this forwarder has seen of its upstreams lately: it decides who is tried last, and the
//! API hears of it as evidence.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgw_core::control::{Seen, Trouble};
use pgw_core::dial::DialError;
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::health::{Blame, CheckFailure};
use tokio::sync::watch;
use tokio::time::Instant;

/// How long an upstream in trouble is tried after the others.
const AVOIDED: Duration = Duration::from_secs(10);
/// An upstream is silent when it takes this many times as long as it usually does …
const USUAL_TIMES: u32 = 3;
/// … but nobody is rushed, and nobody is waited for long.
const LEAST_PATIENCE: Duration = Duration::from_millis(300);
const MOST_PATIENCE: Duration = Duration::from_secs(2);
/// Of upstreams that come and go, so many are remembered.
const MOST_KNOWN: usize = 32;
/// How much of an upstream's failure is told.
const MAX_WORDS: usize = 200;

#[derive(Default)]
pub(crate) struct Experience {
    /// Who was dialled last stands last.
    known: Mutex<Vec<Known>>,
    troubles: watch::Sender<u64>,
}

struct Known {
    /// With its credentials: a new password is a new chance.
    upstream: FlagUpstream,
    ok: u64,
    failed: u64,
    unclear: u64,
    trouble: Option<(Instant, CheckFailure, String)>,
    avoided_until: Option<Instant>,
    /// From the first packet to the tunnel.
    usual: Option<Duration>,
}

/// An attempt that is under way. Dropped, it was given up: the client left, or another
/// upstream was quicker.
struct Dialling<'a> {
    experience: &'a Experience,
    upstream: &'a FlagUpstream,
    begun: Instant,
    ended: bool,
}

impl Experience {
    /// By priority; but who is in trouble comes after those who are not.
    pub(crate) fn order<'a>(&self, flag: &'a FlagFile) -> Vec<&'a FlagUpstream> {
        let known = self.known();
        let now = Instant::now();
        let avoided = |upstream: &FlagUpstream| {
            let it = known.iter().find(|known| known.upstream == *upstream);
            it.is_some_and(|it| it.avoided_until.is_some_and(|until| now < until))
        };
        let (last, first): (Vec<_>, Vec<_>) = flag.upstreams.iter().partition(|upstream| avoided(upstream));
        [first, last].concat()
    }

    /// How long this upstream may be silent before another one is asked as well.
    pub(crate) fn patience(&self, upstream: &FlagUpstream) -> Duration {
        let known = self.known();
        let it = known.iter().find(|known| known.upstream == *upstream);
        it.map_or(LEAST_PATIENCE, Known::patience)
    }

    /// Dials, and remembers what came of it.
    pub(crate) async fn of<T>(
        &self,
        upstream: &FlagUpstream,
        dialling: impl Future<Output = Result<T, DialError>>,
    ) -> Result<T, DialError> {
        let mut attempt = Dialling { experience: self, upstream, begun: Instant::now(), ended: false };
        let outcome = dialling.await;
        attempt.ended = true;
        match &outcome {
            Ok(_) => self.answered(upstream, attempt.begun.elapsed()),
            Err(error) => self.failed(upstream, error),
        }
        outcome
    }

    /// Another upstream carried what this one could not.
    pub(crate) fn avoid(&self, upstream: &FlagUpstream) {
        self.note(upstream, |known| known.avoided_until = Some(Instant::now() + AVOIDED));
    }

    /// Another upstream was quicker, though this one had its time. Next time it is given more:
    /// who is slow and not silent then keeps his place.
    pub(crate) fn outdone(&self, upstream: &FlagUpstream) {
        self.avoid(upstream);
        self.note(upstream, |known| known.usual = Some(known.patience()));
    }

    /// Of the upstreams that are in use, those with the latest trouble first.
    pub(crate) fn seen(&self, flag: &FlagFile) -> Vec<Seen> {
        let known = self.known();
        let mut used: Vec<&Known> =
            known.iter().filter(|known| flag.upstreams.contains(&known.upstream)).collect();
        used.sort_by_key(|known| std::cmp::Reverse(known.trouble.as_ref().map(|(at, ..)| *at)));
        used.into_iter().map(Known::told).collect()
    }

    /// Changes with every trouble.
    pub(crate) fn troubles(&self) -> watch::Receiver<u64> {
        self.troubles.subscribe()
    }

    fn answered(&self, upstream: &FlagUpstream, took: Duration) {
        self.note(upstream, |known| {
            known.ok += 1;
            known.avoided_until = None;
            known.usual = Some(known.usual.map_or(took, |usual| (usual * 7 + took) / 8));
        });
    }

    fn failed(&self, upstream: &FlagUpstream, error: &DialError) {
        let blame = error.blame();
        if blame == Blame::Elsewhere {
            return;
        }
        self.note(upstream, |known| {
            match blame {
                Blame::Upstream => {
                    known.failed += 1;
                    known.avoided_until = Some(Instant::now() + AVOIDED);
                }
                Blame::Unclear | Blame::Elsewhere => known.unclear += 1,
            }
            known.trouble = Some((Instant::now(), error.kind, in_short(&error.detail)));
        });
        self.troubles.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn given_up(&self, upstream: &FlagUpstream, after: Duration) {
        if after < self.patience(upstream) {
            return;
        }
        self.note(upstream, |known| {
            known.unclear += 1;
            let words = format!("no answer within {} ms", after.as_millis());
            known.trouble = Some((Instant::now(), CheckFailure::Timeout, words));
        });
        self.troubles.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn note(&self, upstream: &FlagUpstream, change: impl FnOnce(&mut Known)) {
        let mut known = self.known();
        let at = known.iter().position(|known| known.upstream == *upstream);
        let mut one = at.map_or_else(|| Known::new(upstream), |at| known.remove(at));
        change(&mut one);
        if known.len() >= MOST_KNOWN {
            known.remove(0);
        }
        known.push(one);
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(upstream: &FlagUpstream) -> Self {
        let upstream = upstream.clone();
        Self { upstream, ok: 0, failed: 0, unclear: 0, trouble: None, avoided_until: None, usual: None }
    }

    fn patience(&self) -> Duration {
        (self.usual.unwrap_or_default() * USUAL_TIMES).clamp(LEAST_PATIENCE, MOST_PATIENCE)
    }

    fn told(&self) -> Seen {
        let trouble = self.trouble.as_ref().map(|(at, kind, words)| Trouble {
            kind: *kind,
            words: words.clone(),
            ago_ms: u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
        let Self { ok, failed, unclear, .. } = *self;
        Seen { mapping_id: self.upstream.mapping_id, ok, failed, unclear, trouble }
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.experience.given_up(self.upstream, self.begun.elapsed());
        }
    }
}

/// An upstream's failure as it is told.
pub(crate) fn in_short(detail: &str) -> String {
    detail.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests;
