//! A name and a password, for tunnels that ask for them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use pgw_core::tunnel::BasicAuth;
use subtle::ConstantTimeEq as _;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Nothing,
    Wrong,
    Right,
}

pub(super) fn judge(known: &[BasicAuth], headers: &HeaderMap) -> Said {
    let Some(said) = headers.get(AUTHORIZATION) else { return Said::Nothing };
    let pair = said.to_str().ok().and_then(|said| said.split_once(' '));
    let pair = pair.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let Some(pair) = pair.and_then(|(_, pair)| BASE64_STANDARD.decode(pair.trim()).ok()) else {
        return Said::Wrong;
    };
    let is = |one: &BasicAuth| {
        let right = format!("{}:{}", one.username, one.password.expose());
        bool::from(pair.ct_eq(right.as_bytes()))
    };
    // All of them, so that the time says nothing of which.
    let found = known.iter().fold(false, |found, one| found | is(one));
    if found { Said::Right } else { Said::Wrong }
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
        for right in [basic("bob:p:w"), basic("eve:x")] {
            assert_eq!(judge(&known, &right), Said::Right);
        }
        for wrong in [basic("bob:x"), basic(""), said("Basic !"), said("Bearer x")] {
            assert_eq!(judge(&known, &wrong), Said::Wrong, "{wrong:?}");
        }
        assert_eq!(judge(&known, &HeaderMap::new()), Said::Nothing);
    }
}
