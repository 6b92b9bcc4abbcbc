//! Connections to resolvers that wait for the next question: without them each name would
//! cost a tunnel and a TLS handshake.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgw_core::dns::Resolver;
use pgw_core::flag::{FlagFile, FlagUpstream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::wire::Wire;
use crate::serve::same_exit;

/// For the next burst of names. Others close when they were used.
const MAX_IDLE: usize = 4;
const LONGEST_IDLE: Duration = Duration::from_secs(30);

struct Idle {
    wire: Wire,
    upstream: FlagUpstream,
    resolver: Resolver,
    until: Instant,
}

#[derive(Default)]
pub(super) struct IdleWires {
    waiting: Mutex<Vec<Idle>>,
    /// Something waits that will be too old one day.
    came: Notify,
}

impl IdleWires {
    fn waiting(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, upstream: &FlagUpstream, resolver: &Resolver) -> Option<Wire> {
        let mut waiting = self.waiting();
        waiting.retain(|idle| !idle.wire.is_closed());
        let at = waiting
            .iter()
            .rposition(|idle| idle.resolver == *resolver && same_exit(&idle.upstream, upstream));
        at.map(|at| waiting.swap_remove(at).wire)
    }

    /// Keeps a connection that just answered.
    pub(super) fn put(&self, wire: Wire, upstream: &FlagUpstream, resolver: &Resolver) {
        let mut waiting = self.waiting();
        if waiting.len() < MAX_IDLE && !wire.is_closed() {
            let (upstream, resolver) = (upstream.clone(), resolver.clone());
            waiting.push(Idle { wire, upstream, resolver, until: Instant::now() + LONGEST_IDLE });
            self.came.notify_one();
        }
    }

    /// Closes what is too old, and what this flag file no longer names.
    pub(super) fn close_unwanted(&self, flag: &FlagFile) {
        let now = Instant::now();
        let resolvers = flag.dns.as_ref().map_or(&[][..], |dns| &dns.resolvers);
        self.waiting().retain(|idle| {
            now < idle.until
                && !idle.wire.is_closed()
                && resolvers.contains(&idle.resolver)
                && flag.upstreams.iter().any(|known| same_exit(known, &idle.upstream))
        });
    }

    /// Until something is too old; while nothing waits, nothing wakes an idle forwarder.
    pub(super) async fn until_old(&self) {
        loop {
            let next = self.waiting().iter().map(|idle| idle.until).min();
            match next {
                Some(until) => return tokio::time::sleep_until(until).await,
                None => self.came.notified().await,
            }
        }
    }
}
