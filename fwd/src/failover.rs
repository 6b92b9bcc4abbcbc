//! The client's upstreams in their order, within one attempt: the first that gives a tunnel
//! carries the connection.

use std::net::SocketAddrV4;
use std::time::Duration;

use pgw_core::dial::{Destination, Dialer, Tunnel};
use pgw_core::flag::{FlagFile, FlagUpstream};
use pgw_core::mapping::Target;
use pgw_core::sni::Sniff;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// How much of an upstream's failure goes to the log line.
const MAX_WORDS: usize = 200;

/// One attempt to reach one destination.
pub(crate) struct Attempt<'a> {
    pub(crate) dialer: &'a Dialer,
    pub(crate) flag: &'a FlagFile,
    pub(crate) original: SocketAddrV4,
    pub(crate) found: watch::Receiver<Sniff>,
    pub(crate) started: Instant,
}

impl<'a> Attempt<'a> {
    /// Fills `failures` with a line for each upstream that gave no tunnel. What is no longer
    /// `allowed` when its turn comes is left out.
    pub(crate) async fn reach(
        mut self,
        allowed: impl Fn(&FlagUpstream) -> bool,
        failures: &mut Vec<String>,
    ) -> Option<(&'a FlagUpstream, Tunnel)> {
        let limit = Duration::from_millis(self.flag.limits.connect_timeout_ms);
        for candidate in &self.flag.upstreams {
            let destination = self.destination(candidate.target).await;
            if !allowed(candidate) {
                continue;
            }
            let upstream = &candidate.upstream;
            match self.dialer.dial(upstream, &destination, limit).await {
                Ok(tunnel) => return Some((candidate, tunnel)),
                // Whatever it was, another exit may do better: also when this one cannot
                // reach the destination.
                Err(error) => {
                    let words: String = error.detail.chars().take(MAX_WORDS).collect();
                    failures.push(format!("{}: {words}", upstream.name));
                }
            }
        }
        None
    }

    async fn destination(&mut self, target: Target) -> Destination {
        match target {
            Target::Original => Destination::Addr(self.original),
            Target::Hostname => match self.name().await {
                Some(host) => Destination::Name(host, self.original.port()),
                None => Destination::Addr(self.original),
            },
        }
    }

    /// The name that the client asks for, if it says it in time.
    async fn name(&mut self) -> Option<pgw_core::proxy::Host> {
        let until = self.started + Duration::from_millis(self.flag.limits.peek_ms);
        let found = timeout_at(until, self.found.wait_for(|found| *found != Sniff::NeedMore)).await;
        match found.ok()?.ok().as_deref() {
            Some(Sniff::Name(name)) => name.parse().ok(),
            Some(Sniff::NeedMore | Sniff::NoName) | None => None,
        }
    }
}
