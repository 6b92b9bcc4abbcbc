//! What is looked at before anybody is let in: under which name and from which page the API is
//! asked, how often, and whether the first admin may still be made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use pgw_core::browser::{Asked, Whence};
use pgw_core::hosts::AllowedHosts;
use pgw_core::settings::IfMatch;
use tokio::time::Instant;

use super::attempts::Attempts;
use super::error::Error;
use super::{Api, access, auth};
use crate::passwords::Passwords;

/// Long enough to walk back to the desk; a gateway that nobody sets up is nobody else's after it.
const SETUP_OPEN: Duration = Duration::from_mins(30);

pub struct Doors {
    pub hosts: AllowedHosts,
    pub if_match: IfMatch,
    pub passwords: Passwords,
    pub attempts: Attempts,
    pub setup: SetupTime,
}

/// Once in a database's life, and not at every start: a gateway whose operator uses tokens only has
/// no users for good.
pub struct SetupTime {
    ends: Instant,
    until: Timestamp,
}

impl SetupTime {
    /// `made_at`: of the database; none is long ago.
    pub fn of(made_at: Option<Timestamp>) -> Self {
        let now = Timestamp::now();
        // A clock that was set back opens nothing for longer than it would be open at all.
        let made_at = made_at.filter(|made_at| *made_at <= now);
        let until = made_at.and_then(|made_at| made_at.checked_add(SETUP_OPEN).ok()).unwrap_or(now);
        let left = Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO);
        Self { ends: Instant::now() + left.min(SETUP_OPEN), until }
    }

    /// Until when it is open, if it is.
    pub(super) fn open_until(&self) -> Option<Timestamp> {
        (Instant::now() < self.ends).then_some(self.until)
    }
}

/// What anybody is told anyway: whoever watches the service has a name of his own for it.
const OPEN_TO_WATCHERS: [&str; 3] = ["/healthz", "/readyz", "/version"];

/// A name that nobody gave this machine may be led here by somebody else's page, which then is, to
/// a browser, a page of this machine. It has no token, though: what only a token opens is closed to
/// it under any name.
pub(super) async fn known_host(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let in_target = request.uri().authority().map(|authority| authority.as_str());
    let in_headers = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or(""));
    // Whoever gives none is no browser.
    let known = in_target.into_iter().chain(in_headers).all(|host| api.doors.hosts.allow(host));
    if known || minds_no_name(&request) { Ok(next.run(request).await) } else { Err(Error::HostNotAllowed) }
}

fn minds_no_name(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    OPEN_TO_WATCHERS.contains(&path)
        || auth::brings_token(request.headers()) && access::is_guarded(request.method(), path)
}

/// Where the browser, if it is one, got the page from which it asks.
pub(super) fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked::of(|name| headers.get(name).and_then(|value| value.to_str().ok()))
}

/// Nobody's page but ours may log somebody in, and be it as himself; programs may.
pub(super) fn not_foreign(headers: &HeaderMap) -> Result<(), Error> {
    if asked(headers).whence() == Whence::Foreign { Err(Error::ForeignOrigin) } else { Ok(()) }
}

/// Who is at the other end. pgw-ui, on this machine, says for whom it asks.
pub(super) fn address(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    let behind = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    peer.map(|peer| behind.filter(|_| peer.is_loopback()).unwrap_or(peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_says_for_whom_it_asks() {
        for (peer, behind, want) in [
            ("192.168.2.9", None, "192.168.2.9"),
            ("192.168.2.9", Some("10.0.0.1"), "192.168.2.9"),
            ("127.0.0.1", Some("10.0.0.1"), "10.0.0.1"),
            ("::ffff:127.0.0.1", Some("10.0.0.1"), "10.0.0.1"),
            ("127.0.0.1", Some("10.0.0.1, 10.0.0.2"), "127.0.0.1"),
            ("127.0.0.1", None, "127.0.0.1"),
        ] {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 5)));
            let mut headers = HeaderMap::new();
            if let Some(behind) = behind {
                headers.insert("x-forwarded-for", behind.parse().unwrap());
            }
            assert_eq!(address(&extensions, &headers), want.parse().ok(), "{peer} {behind:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_admin_is_made_soon_after_the_database_or_with_a_token() {
        let now = Timestamp::now();
        let setup = SetupTime::of(Some(now));
        assert!(setup.open_until().is_some());
        tokio::time::advance(SETUP_OPEN).await;
        assert_eq!(setup.open_until(), None);
        let made = |minutes| Some(now - Duration::from_mins(minutes));
        assert!(SetupTime::of(made(29)).open_until().is_some());
        for made_at in [made(30), made(60 * 24), Some(now + Duration::from_mins(60)), None] {
            assert_eq!(SetupTime::of(made_at).open_until(), None, "{made_at:?}");
        }
    }
}
