//! From which page a browser sends a request. It sends a cookie along by itself, also when
//! somebody else's page has it ask; what it says of the page, no page can forge.

use crate::hosts::Authority;

/// The one cookie: what a session is known by.
pub const SESSION_COOKIE: &str = "pgw_session";
/// 256 bits as base64.
const SESSION_LENGTH: usize = 43;

/// The session among the cookies of a request, whose `Cookie` headers these are.
pub fn session_of<'a>(lines: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    pairs
        .filter(|(name, _)| *name == SESSION_COOKIE)
        .map(|(_, value)| value)
        .find(|value| value.len() == SESSION_LENGTH && value.bytes().all(letter))
}

/// What a request says of where it comes from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// `Host`, as the browser sent it.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Sec-Fetch-Site`, which browsers send over TLS and on localhost only.
    pub fetch_site: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whence {
    /// A page of ours.
    Ours,
    /// Another page, of another port of this machine, too: SameSite cookies know no ports.
    Foreign,
    /// No browser, or a very old one.
    Unsaid,
}

impl<'a> Asked<'a> {
    /// By a request's headers. pgw-ui hands on as what it was asked; no page of somebody else can
    /// add that header to a request.
    pub fn of(header: impl Fn(&'static str) -> Option<&'a str>) -> Self {
        Self {
            host: header("x-forwarded-host").or_else(|| header("host")),
            origin: header("origin"),
            fetch_site: header("sec-fetch-site"),
        }
    }

    pub fn whence(&self) -> Whence {
        match (self.fetch_site, self.origin) {
            // It knows better than we do, who may stand behind somebody that changes Host.
            (Some("same-origin"), _) => Whence::Ours,
            // Typed by a person, says the browser; but nobody types a write.
            (Some(_), _) => Whence::Foreign,
            (None, Some(origin)) if self.host.is_some_and(|host| is_of(origin, host)) => Whence::Ours,
            (None, Some(_)) => Whence::Foreign,
            (None, None) => Whence::Unsaid,
        }
    }

    /// The page came over TLS, so a cookie for it need never go without.
    pub fn by_tls(&self) -> bool {
        self.origin.is_some_and(|origin| origin.starts_with("https://"))
    }
}

/// The same host and port, where a scheme's own port may be left out.
fn is_of(origin: &str, host: &str) -> bool {
    let (rest, usual) = match (origin.strip_prefix("http://"), origin.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (None, Some(rest)) => (rest, 443),
        (None, None) => return false,
    };
    let whole = |text: &str| Authority::parse(text).map(|it| (it.host, it.port.unwrap_or(usual)));
    whole(rest).is_some_and(|page| whole(host) == Some(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_is_found_among_other_cookies_and_nothing_else_is_taken_for_it() {
        let right = "a".repeat(SESSION_LENGTH);
        for (lines, want) in [
            (vec![format!("pgw_session={right}")], true),
            (vec![format!("theme=dark; pgw_session={right}; x=y")], true),
            (vec!["theme=dark".to_owned(), format!("pgw_session={right}")], true),
            (vec![format!("pgw_session=short; pgw_session={right}")], true),
            (vec![format!("other_pgw_session={right}")], false),
            (vec![format!("pgw_session={right}a")], false),
            (vec![format!("pgw_session={}%", &right[1..])], false),
            (vec!["pgw_session".to_owned()], false),
            (vec![], false),
        ] {
            let found = session_of(lines.iter().map(String::as_str));
            assert_eq!(found.is_some(), want, "{lines:?}");
        }
    }

    #[test]
    fn a_page_is_ours_if_it_came_from_the_same_host_and_port() {
        for (origin, host, want) in [
            ("http://192.168.2.1:8081", "192.168.2.1:8081", Whence::Ours),
            ("http://GW.lan", "gw.lan:80", Whence::Ours),
            ("https://gw.lan", "gw.lan", Whence::Ours),
            ("https://gw.lan:443", "gw.lan", Whence::Ours),
            ("http://[fd00::1]:8081", "[fd00:0::1]:8081", Whence::Ours),
            ("http://192.168.2.1:3000", "192.168.2.1:8081", Whence::Foreign),
            ("https://gw.lan", "gw.lan:8081", Whence::Foreign),
            ("http://evil.example", "gw.lan", Whence::Foreign),
            ("http://gw.lan.evil.example", "gw.lan", Whence::Foreign),
            ("http://gw.lan@evil.example", "gw.lan", Whence::Foreign),
            ("null", "gw.lan", Whence::Foreign),
            ("", "", Whence::Foreign),
            ("file://", "gw.lan", Whence::Foreign),
        ] {
            let asked = Asked { host: Some(host), origin: Some(origin), fetch_site: None };
            assert_eq!(asked.whence(), want, "{origin} on {host}");
        }
    }

    #[test]
    fn what_the_browser_says_itself_counts_most() {
        let host = Some("gw.lan");
        for (fetch_site, origin, want) in [
            (Some("same-origin"), None, Whence::Ours),
            (Some("same-origin"), Some("https://behind.a.proxy"), Whence::Ours),
            (Some("same-site"), Some("http://gw.lan"), Whence::Foreign),
            (Some("cross-site"), None, Whence::Foreign),
            (Some("none"), None, Whence::Foreign),
            (Some("x"), None, Whence::Foreign),
            (None, None, Whence::Unsaid),
        ] {
            assert_eq!(Asked { host, origin, fetch_site }.whence(), want, "{fetch_site:?} {origin:?}");
        }
        let alone = Asked { host: None, origin: Some("http://gw.lan"), fetch_site: None };
        assert_eq!(alone.whence(), Whence::Foreign);
    }
}
