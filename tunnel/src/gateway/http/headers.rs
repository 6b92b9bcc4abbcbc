//! What a request says about its way, and what it may not say for itself.

use std::net::SocketAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, Response};

/// Of one connection only (RFC 9110, 7.6.1), or about the visitor, which the gateway says.
const DROPPED: [HeaderName; 9] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
];

/// In lower case, without a port.
pub(super) fn host<B>(request: &Request<B>) -> Option<String> {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = request.uri().authority().map(|authority| authority.as_str()).or(named)?;
    let name = match host.strip_prefix('[') {
        Some(_) => return None,
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    (1..=253).contains(&name.len()).then_some(name)
}

/// As the target shall see it. True: the visitor wants another protocol.
pub(super) fn prepare<B>(request: &mut Request<B>, visitor: SocketAddr, tls: bool, asks_auth: bool) -> bool {
    let upgrade = is_upgrade(request.headers());
    let host = request.headers().get(header::HOST).cloned();
    let wanted = request.headers().get(header::UPGRADE).cloned();
    strip(request.headers_mut());
    let fields = request.headers_mut();
    if asks_auth {
        // It was for the gateway.
        fields.remove(header::AUTHORIZATION);
    }
    let mut set = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            fields.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-for", HeaderValue::from_str(&visitor.ip().to_canonical().to_string()).ok());
    set("x-forwarded-proto", Some(HeaderValue::from_static(if tls { "https" } else { "http" })));
    set("x-forwarded-host", host);
    if upgrade {
        set("connection", Some(HeaderValue::from_static("upgrade")));
        set("upgrade", wanted);
    }
    upgrade
}

/// As the visitor shall see it.
pub(super) fn prepare_answer<B>(answer: &mut Response<B>, upgraded: bool) {
    let wanted = answer.headers().get(header::UPGRADE).cloned();
    strip(answer.headers_mut());
    if let (true, Some(wanted)) = (upgraded, wanted) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(header::UPGRADE, wanted);
    }
}

fn is_upgrade(fields: &HeaderMap) -> bool {
    let said = fields.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let asks =
        said.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    asks && fields.contains_key(header::UPGRADE)
}

/// Also what `Connection` names.
fn strip(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let kept = [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    for name in named.iter().filter(|name| !kept.contains(name)).chain(&DROPPED) {
        fields.remove(name);
    }
    fields.remove(header::CONNECTION);
    fields.remove(header::UPGRADE);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn what_a_visitor_says_about_itself_is_not_passed_on() {
        let mut asked = request(&[
            ("host", "demo.example.com:8443"),
            ("x-forwarded-for", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("authorization", "Basic x"),
            ("accept", "*/*"),
        ]);
        assert!(!prepare(&mut asked, "203.0.113.9:5".parse().unwrap(), true, true));
        let mut got: Vec<_> =
            asked.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        got.sort();
        assert_eq!(
            got,
            [
                "accept: */*",
                "host: demo.example.com:8443",
                "x-forwarded-for: 203.0.113.9",
                "x-forwarded-host: demo.example.com:8443",
                "x-forwarded-proto: https",
            ]
        );
    }

    #[test]
    fn a_websocket_is_still_asked_for() {
        let mut asked =
            request(&[("host", "d"), ("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(prepare(&mut asked, "203.0.113.9:5".parse().unwrap(), false, false));
        assert_eq!(asked.headers()["connection"], "upgrade");
        assert_eq!(asked.headers()["upgrade"], "websocket");
    }

    #[test]
    fn a_host_is_a_name_without_its_port() {
        for (said, want) in [
            ("Demo.example.com:8443", Some("demo.example.com")),
            ("demo.", Some("demo")),
            ("", None),
            ("[::1]:80", None),
        ] {
            assert_eq!(host(&request(&[("host", said)])).as_deref(), want, "{said}");
        }
    }
}
