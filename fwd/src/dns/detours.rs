//! Ways to an answer that were silent while another one answered: for a while they are tried last,
//! or each name would wait for them anew.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgw_core::dns::Resolver;
use pgw_core::flag::FlagUpstream;
use pgw_core::ids::MappingId;
use tokio::time::Instant;

/// As an upstream that is in trouble.
const AVOIDED: Duration = Duration::from_secs(10);

/// One upstream and one resolver.
pub(super) type Way<'a> = (&'a FlagUpstream, &'a Resolver);

#[derive(Default)]
pub(super) struct Detours(Mutex<Vec<Avoided>>);

struct Avoided {
    mapping: MappingId,
    resolver: Resolver,
    until: Instant,
}

impl Avoided {
    fn is(&self, (upstream, resolver): Way<'_>) -> bool {
        self.mapping == upstream.mapping_id && self.resolver == *resolver
    }
}

impl Detours {
    /// As they came; but who was silent comes after those who were not.
    pub(super) fn order<'a>(&self, ways: Vec<Way<'a>>) -> Vec<Way<'a>> {
        let avoided = self.avoided();
        let (last, first): (Vec<_>, Vec<_>) =
            ways.into_iter().partition(|way| avoided.iter().any(|avoided| avoided.is(*way)));
        [first, last].concat()
    }

    pub(super) fn avoid<'a>(&self, silent: impl Iterator<Item = &'a Way<'a>>) {
        let mut avoided = self.avoided();
        let until = Instant::now() + AVOIDED;
        for way in silent {
            avoided.retain(|avoided| !avoided.is(*way));
            let (upstream, resolver) = *way;
            avoided.push(Avoided { mapping: upstream.mapping_id, resolver: resolver.clone(), until });
        }
    }

    /// Those that still are.
    fn avoided(&self) -> MutexGuard<'_, Vec<Avoided>> {
        let mut avoided = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        avoided.retain(|avoided| now < avoided.until);
        avoided
    }
}
