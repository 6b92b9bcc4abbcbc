//! Through an upstream to a destination, under one deadline. The health probe and the
//! forwarder both dial here, so "healthy" means "a forwarder could".
//!
//! A way leads over three stages: connected (with TLS where the scheme wants it), greeted and
//! logged in, asked for a tunnel. Who has a line that is greeted saves the way to there.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::health::{Blame, CheckFailure};
use crate::proxy::{Scheme, Upstream};
use crate::resources::is_exhausted;

mod line;
mod names;
mod roots;
mod stream;
mod talk;
mod tcp;
mod tls;

#[cfg(test)]
mod tests;

pub use crate::handshake::Destination;
pub use line::{Line, Said, Words};
pub use stream::{Stream, Tunnel};
pub use tcp::{Syn, keep_alive};

/// Nobody waits longer for a tunnel, whatever a document says.
const LONGEST: Duration = Duration::from_secs(3600);

/// Why there is no tunnel, in the words that operators act on.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct DialError {
    pub kind: CheckFailure,
    /// One line without secrets: "407 Proxy Authentication Required", "connection refused".
    pub detail: String,
    /// It had been asked for a tunnel, and so knew where to.
    pub asked: bool,
    #[source]
    pub source: Option<std::io::Error>,
}

/// Dials; built once, for the certificates and the names that it comes to know.
#[derive(Default)]
pub struct Dialer {
    tls: tls::Tls,
    names: names::Names,
}

impl Dialer {
    /// Trusts the certificates that the system trusts; they are read when first needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tunnel through `upstream` to `dest`, step by step, as every upstream takes it, with
    /// `limit` for everything from the first question to DNS on.
    pub async fn dial(
        &self,
        upstream: &Upstream,
        dest: &Destination,
        limit: Duration,
    ) -> Result<Tunnel, DialError> {
        self.step_by_step(upstream, dest, Deadline::within(limit)).await
    }

    /// As [`Self::dial`], within a time that is running already.
    pub async fn step_by_step(
        &self,
        upstream: &Upstream,
        dest: &Destination,
        deadline: Deadline,
    ) -> Result<Tunnel, DialError> {
        let mut line = self.open(upstream, Syn::Full, deadline).await?;
        line.greet(upstream, Words::OneByOne, deadline).await?;
        line.ask(upstream, dest, None, deadline).await
    }

    /// A connection to the upstream, with TLS where its scheme wants it.
    pub async fn open(&self, upstream: &Upstream, syn: Syn, deadline: Deadline) -> Result<Line, DialError> {
        let tcp = tcp::connect(&self.names, upstream.host.as_str(), upstream.port, syn, deadline).await?;
        let stream = match upstream.scheme {
            Scheme::Http | Scheme::Socks5 => Stream::Plain(tcp),
            Scheme::Https => {
                let tls = deadline.hold(
                    CheckFailure::Timeout,
                    || format!("during the TLS session with {}", upstream.host),
                    // Boxed: whoever dials without TLS is not to carry room for it about.
                    Box::pin(self.tls_over(&upstream.host, tcp)),
                );
                Stream::Tls(Box::new(tls.await??))
            }
        };
        Ok(Line::new(stream, upstream.scheme))
    }
}

impl DialError {
    /// What this machine has run out of is nobody else's failure, in whatever step it is met.
    fn new(kind: CheckFailure, detail: impl Into<String>, source: Option<io::Error>) -> Self {
        let ours = source.as_ref().is_some_and(is_exhausted);
        let kind = if ours { CheckFailure::Gateway } else { kind };
        Self { kind, detail: detail.into(), asked: false, source }
    }

    /// A client chooses its destinations, and so can choose failures: those that may be a
    /// destination's are never called the upstream's.
    pub fn blame(&self) -> Blame {
        match self.kind {
            CheckFailure::Timeout | CheckFailure::BadAnswer if self.asked => Blame::Unclear,
            CheckFailure::Dns
            | CheckFailure::Refused
            | CheckFailure::Unreachable
            | CheckFailure::Timeout
            | CheckFailure::Auth
            | CheckFailure::Tls
            | CheckFailure::BadAnswer => Blame::Upstream,
            CheckFailure::Target | CheckFailure::Gateway => Blame::Elsewhere,
        }
    }
}

/// One point in time for all the steps of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
    pub fn within(limit: Duration) -> Self {
        let whole = limit.min(LONGEST);
        Self { at: Instant::now() + whole, whole }
    }

    pub fn left(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// `doing` says what was waited for, should the time run out.
    async fn hold<T>(
        self,
        kind: CheckFailure,
        doing: impl FnOnce() -> String,
        work: impl Future<Output = T>,
    ) -> Result<T, DialError> {
        tokio::time::timeout_at(self.at, work).await.map_err(|_elapsed| self.missed(kind, &doing()))
    }

    fn missed(self, kind: CheckFailure, doing: &str) -> DialError {
        DialError::new(kind, format!("no answer within {:?} {doing}", self.whole), None)
    }
}
