//! The one cookie: what a session is known by.

use axum::http::{HeaderMap, HeaderValue, header};
use pgw_core::browser::{SESSION_COOKIE, session_of};
use pgw_core::redact::Secret;

use super::sessions::LONGEST;

pub(super) fn read(headers: &HeaderMap) -> Option<Secret> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    session_of(lines).map(Secret::new)
}

/// No script can read it, no page of somebody else can use it, and where the page came over TLS it
/// goes nowhere without.
pub(super) fn set(value: &Secret, by_tls: bool) -> Option<HeaderValue> {
    with(value.expose(), LONGEST.as_secs(), by_tls)
}

pub(super) fn clear(by_tls: bool) -> Option<HeaderValue> {
    with("", 0, by_tls)
}

fn with(value: &str, seconds: i64, by_tls: bool) -> Option<HeaderValue> {
    let secure = if by_tls { "; Secure" } else { "" };
    let text =
        format!("{SESSION_COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut line = HeaderValue::try_from(text).ok()?;
    line.set_sensitive(true);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_script_and_no_other_site_gets_it_and_tls_is_kept_to() {
        let line = set(&Secret::new("x"), true).unwrap();
        let text = line.to_str().unwrap();
        assert_eq!(text, "pgw_session=x; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure");
        assert!(line.is_sensitive());
        assert!(clear(false).unwrap().to_str().unwrap().starts_with("pgw_session=; Path=/; Max-Age=0; "));
    }
}
