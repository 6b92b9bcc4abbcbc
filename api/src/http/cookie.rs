//! The one cookie: what a session is known by.

use axum::http::{HeaderMap, HeaderValue, header};
use pgw_core::redact::Secret;

use super::sessions::LONGEST;

const NAME: &str = "pgw_session";
/// 256 bits as base64.
const LENGTH: usize = 43;

pub(super) fn read(headers: &HeaderMap) -> Option<Secret> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let fits = |value: &&str| {
        value.len() == LENGTH && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    pairs.filter(|(name, _)| *name == NAME).map(|(_, value)| value).find(fits).map(Secret::new)
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
    let text = format!("{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    let mut line = HeaderValue::try_from(text).ok()?;
    line.set_sensitive(true);
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_nothing_else_is_taken_for_it() {
        let right = "a".repeat(LENGTH);
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
            let headers: HeaderMap =
                lines.iter().map(|line| (header::COOKIE, HeaderValue::try_from(line).unwrap())).collect();
            assert_eq!(read(&headers).is_some(), want, "{lines:?}");
        }
    }

    #[test]
    fn no_script_and_no_other_site_gets_it_and_tls_is_kept_to() {
        let line = set(&Secret::new("x"), true).unwrap();
        let text = line.to_str().unwrap();
        assert_eq!(text, "pgw_session=x; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure");
        assert!(line.is_sensitive());
        assert!(clear(false).unwrap().to_str().unwrap().starts_with("pgw_session=; Path=/; Max-Age=0; "));
    }
}
