//! A name and a password, for tunnels that ask for them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use pgw_core::tunnel::BasicAuth;
use subtle::ConstantTimeEq as _;

pub(super) fn is_allowed(known: &[BasicAuth], headers: &HeaderMap) -> bool {
    if known.is_empty() {
        return true;
    }
    let said = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let pair =
        said.and_then(|said| said.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let Some(pair) = pair.and_then(|(_, pair)| BASE64_STANDARD.decode(pair.trim()).ok()) else {
        return false;
    };
    let is = |one: &BasicAuth| {
        let right = format!("{}:{}", one.username, one.password.expose());
        bool::from(pair.ct_eq(right.as_bytes()))
    };
    // All of them, so that the time says nothing of which.
    known.iter().fold(false, |found, one| found | is(one))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use pgw_core::redact::Secret;

    use super::*;

    #[test]
    fn one_of_the_known_pairs_has_to_be_said() {
        let known = [("bob", "p:w"), ("eve", "x")]
            .map(|(name, password)| BasicAuth { username: name.to_owned(), password: Secret::new(password) });
        let said = |text: &str| HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(text).unwrap())]);
        let basic = |pair: &str| said(&format!("Basic {}", BASE64_STANDARD.encode(pair)));
        assert!(is_allowed(&known, &basic("bob:p:w")) && is_allowed(&known, &basic("eve:x")));
        for wrong in [basic("bob:x"), basic(""), said("Basic !"), said("Bearer x"), HeaderMap::new()] {
            assert!(!is_allowed(&known, &wrong));
        }
        assert!(is_allowed(&[], &HeaderMap::new()));
    }
}
