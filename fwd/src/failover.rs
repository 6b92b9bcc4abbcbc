//! The client's upstreams in their order, within one attempt: the first that gives a tunnel
//! carries the connection. One that hangs is given a moment, then the next is asked as well.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use pgw_core::dial::{Destination, DialError};
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::health::Blame;
use pgw_core::mapping::Target;
use pgw_core::sni::Sniff;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::experience::{Experience, in_short};
use crate::race::race;

/// One attempt to reach one destination.
pub(crate) struct Attempt<'a> {
    pub(crate) flag: &'a FlagFile,
    pub(crate) experience: &'a Experience,
    pub(crate) original: SocketAddrV4,
    pub(crate) found: watch::Receiver<Sniff>,
    pub(crate) started: Instant,
}

impl<'a> Attempt<'a> {
    /// Fills `failures` with a line for each upstream that gave no tunnel. What is no longer
    /// `allowed` when its turn comes is left out.
    ///
    /// `dial` is told whether the upstream is alone in this attempt: an experiment that takes its time
    /// is for one that is. More than a hello of the client's must not travel with a request, or two
    /// upstreams might come to see it.
    pub(crate) async fn reach<T, Dial>(
        &self,
        allowed: impl Fn(&FlagUpstream) -> bool,
        dial: impl Fn(&'a FlagUpstream, Destination, bool) -> Dial,
        failures: &mut Vec<String>,
    ) -> Option<(&'a FlagUpstream, T)>
    where
        Dial: Future<Output = Result<T, DialError>>,
    {
        let order = self.experience.order(self.flag);
        let mut failed = HashMap::new();
        let attempt = async |candidate: &'a FlagUpstream, alone: bool| {
            let destination = self.destination(candidate.target).await;
            if !allowed(candidate) {
                return Err(None);
            }
            self.experience.of(candidate, dial(candidate, destination, alone)).await.map_err(Some)
        };
        // A name that is waited for is not the upstream's silence.
        let patience = async |candidate: &'a FlagUpstream| {
            self.destination(candidate.target).await;
            sleep(self.experience.patience(candidate)).await;
        };
        let won = race(&order, attempt, patience, |candidate: &'a FlagUpstream, error: Option<DialError>| {
            // Whatever it was, another exit may do better: also when this one cannot reach the
            // destination.
            if let Some(error) = &error {
                failures.push(format!("{}: {}", candidate.upstream.name, in_short(&error.detail)));
            }
            failed.insert(candidate.mapping_id, error.map_or(Blame::Elsewhere, |error| error.blame()));
        });
        let (place, tunnel) = won.await?;
        for behind in order.iter().take(place) {
            match failed.get(&behind.mapping_id) {
                None => self.experience.outdone(behind),
                Some(Blame::Upstream | Blame::Unclear) => self.experience.avoid(behind),
                // It might carry everything else.
                Some(Blame::Elsewhere) => {}
            }
        }
        order.get(place).map(|winner| (*winner, tunnel))
    }

    async fn destination(&self, target: Target) -> Destination {
        match target {
            Target::Original => Destination::Addr(self.original),
            Target::Hostname => match self.name().await {
                Some(host) => Destination::Name(host, self.original.port()),
                None => Destination::Addr(self.original),
            },
        }
    }

    /// The name that the client asks for, if it says it in time.
    async fn name(&self) -> Option<pgw_core::proxy::Host> {
        let until = self.started + Duration::from_millis(self.flag.limits.peek_ms);
        let mut found = self.found.clone();
        let found = timeout_at(until, found.wait_for(|found| *found != Sniff::NeedMore)).await;
        match found.ok()?.ok().as_deref() {
            Some(Sniff::Name(name)) => name.parse().ok(),
            Some(Sniff::NeedMore | Sniff::NoName) | None => None,
        }
    }
}

#[cfg(test)]
mod tests;
