//! Which headers cross, and what every answer says to browsers.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

/// They speak of one connection, and end with it (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What only this program may say. `Expect` is answered here: the body is asked for as soon as
/// the other end takes it.
const NOT_FROM_OUTSIDE: [&str; 4] = ["expect", "forwarded", "host", "x-real-ip"];

const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// For what the services answer: it is data. A page among it would run beside the token.
const DATA_POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// The services are told for whom it is asked, and as what this program was: by that they know
/// from which page a browser asks.
pub(crate) fn for_upstream(mut headers: HeaderMap, peer: IpAddr) -> HeaderMap {
    remove_hop_by_hop(&mut headers);
    let asked_as = headers.get(header::HOST).cloned();
    let theirs: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")).cloned().collect();
    for name in theirs {
        headers.remove(name);
    }
    for name in NOT_FROM_OUTSIDE {
        headers.remove(name);
    }
    if let Ok(peer) = HeaderValue::try_from(peer.to_canonical().to_string()) {
        headers.insert("x-forwarded-for", peer);
    }
    if let Some(host) = asked_as {
        headers.insert("x-forwarded-host", host);
    }
    headers
}

/// `mount` is the prefix that the services do not know of; where an answer points to a place of
/// its own, it is put back in front.
pub(crate) fn for_browser(mut headers: HeaderMap, mount: &str) -> HeaderMap {
    remove_hop_by_hop(&mut headers);
    let moved = headers
        .get(header::LOCATION)
        .and_then(|place| place.to_str().ok())
        .filter(|place| place.starts_with('/') && !place.starts_with("//"))
        .and_then(|place| HeaderValue::try_from(format!("{mount}{place}")).ok());
    if let Some(place) = moved {
        headers.insert(header::LOCATION, place);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY));
    headers
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// On every answer, whoever made it.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [(header::CONTENT_SECURITY_POLICY, PAGE_POLICY), (header::CACHE_CONTROL, "no-store")]
    {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_a_connection_says_of_itself_ends_with_it() {
        let incoming = map(&[
            ("connection", "close, X-Private"),
            ("connection", "x-other"),
            ("x-private", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("host", "gw.lan:8081"),
            ("expect", "100-continue"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("x-forwarded-host", "evil.example"),
            ("x-real-ip", "1.2.3.4"),
            ("authorization", "Bearer t"),
            ("if-match", "\"1\""),
            ("content-length", "3"),
        ]);
        let want = map(&[
            ("authorization", "Bearer t"),
            ("if-match", "\"1\""),
            ("content-length", "3"),
            ("x-forwarded-for", "192.168.2.3"),
            ("x-forwarded-host", "gw.lan:8081"),
        ]);
        assert_eq!(for_upstream(incoming, "::ffff:192.168.2.3".parse().unwrap()), want);
    }

    #[test]
    fn a_place_of_the_service_is_told_as_the_browser_reaches_it() {
        for (mount, place, want) in [
            ("/api", "/v1/clients/7", "/api/v1/clients/7"),
            ("", "/agent/status", "/agent/status"),
            ("/api", "//elsewhere.example/", "//elsewhere.example/"),
            ("/api", "https://elsewhere.example/", "https://elsewhere.example/"),
        ] {
            let answer = for_browser(map(&[("location", place)]), mount);
            assert_eq!(answer.get("location").unwrap(), want);
        }
    }
}
