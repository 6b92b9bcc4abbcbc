//! Through an upstream to a destination, under one deadline. The health probe and the
//! forwarder both dial here, so "healthy" means "a forwarder could".

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::health::{Blame, CheckFailure};
use crate::proxy::{Scheme, Upstream};

mod greet;
mod stream;
mod tcp;
mod tls;

#[cfg(test)]
mod tests;

pub use crate::handshake::Destination;
pub use stream::{Stream, Tunnel};
pub use tcp::tune;

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

/// Dials; built once, for the certificates that it comes to hold.
#[derive(Default)]
pub struct Dialer {
    tls: tls::Tls,
}

impl Dialer {
    /// Trusts the certificates that the system trusts; they are read when first needed.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tunnel through `upstream` to `dest`, with `deadline` for everything from the first
    /// question to DNS on.
    pub async fn dial(
        &self,
        upstream: &Upstream,
        dest: &Destination,
        deadline: Duration,
    ) -> Result<Tunnel, DialError> {
        let whole = deadline.min(LONGEST);
        let deadline = Deadline { at: Instant::now() + whole, whole };
        let tcp = tcp::connect(upstream.host.as_str(), upstream.port, deadline).await?;
        let mut stream = match upstream.scheme {
            Scheme::Http | Scheme::Socks5 => Stream::Plain(tcp),
            Scheme::Https => {
                let tls = deadline.hold(
                    CheckFailure::Timeout,
                    || format!("during the TLS session with {}", upstream.host),
                    self.tls_over(&upstream.host, tcp),
                );
                Stream::Tls(Box::new(tls.await??))
            }
        };
        let credentials = upstream.credentials.as_ref();
        let early = deadline
            .hold(CheckFailure::Timeout, || "while asking for the tunnel".to_owned(), async {
                match upstream.scheme {
                    Scheme::Http | Scheme::Https => greet::http_connect(&mut stream, dest, credentials).await,
                    Scheme::Socks5 => greet::socks5(&mut stream, dest, credentials).await,
                }
            })
            .await
            .flatten()
            .map_err(|error| DialError { asked: true, ..error })?;
        Ok(Tunnel { stream, early })
    }
}

impl DialError {
    fn new(kind: CheckFailure, detail: impl Into<String>, source: Option<io::Error>) -> Self {
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
            CheckFailure::Target => Blame::Elsewhere,
        }
    }
}

/// One point in time for all the steps of an attempt.
#[derive(Clone, Copy)]
struct Deadline {
    at: Instant,
    whole: Duration,
}

impl Deadline {
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
