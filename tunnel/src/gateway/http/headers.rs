//! What a request says about its way, and what it may not say for itself.

use std::net::SocketAddr;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};

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

/// Behind another protocol there could be requests of which nobody here knows.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// In lower case, without a port. None: it names none, or nobody can tell which of them it means.
pub(super) fn host<B>(request: &Request<B>) -> Option<String> {
    let mut named = request.headers().get_all(header::HOST).iter();
    let (first, another) = (named.next(), named.next());
    if another.is_some() || *request.method() == Method::CONNECT {
        return None;
    }
    let host = in_target(request).or(first.and_then(|host| host.to_str().ok()))?;
    let name = match host.strip_prefix('[') {
        Some(_) => return None,
        None => host.rsplit_once(':').map_or(host, |(name, _port)| name),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    (1..=253).contains(&name.len()).then_some(name)
}

/// What is asked for counts, whatever `Host` says beside it (RFC 9112, 3.2.2).
fn in_target<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority()?.as_str();
    Some(authority.rsplit_once('@').map_or(authority, |(_user, host)| host))
}

/// As the target shall see it. True: the visitor wants a WebSocket.
pub(super) fn prepare<B>(request: &mut Request<B>, visitor: SocketAddr, tls: bool, asks_auth: bool) -> bool {
    let upgrade = is_upgrade(request.headers());
    let host = match in_target(request) {
        Some(host) => HeaderValue::from_str(host).ok(),
        None => request.headers().get(header::HOST).cloned(),
    };
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
    set("host", host.clone());
    set("x-forwarded-host", host);
    if upgrade {
        set("connection", Some(HeaderValue::from_static("upgrade")));
        set("upgrade", Some(WEBSOCKET));
    }
    upgrade
}

/// As the visitor shall see it.
pub(super) fn prepare_answer<B>(answer: &mut Response<B>, upgraded: bool) {
    strip(answer.headers_mut());
    if upgraded {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.headers_mut().insert(header::UPGRADE, WEBSOCKET);
    }
}

fn is_upgrade(fields: &HeaderMap) -> bool {
    let says = |name: HeaderName, wanted: &str| {
        let said = fields.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        said.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    says(header::CONNECTION, "upgrade") && says(header::UPGRADE, "websocket")
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
    fn no_other_protocol_is_asked_for() {
        for (wanted, left) in [("h2c", None), ("h2c, WebSocket", Some("websocket"))] {
            let fields = [("host", "d"), ("connection", "Upgrade, HTTP2-Settings"), ("http2-settings", "AA")];
            let mut asked = request(&[fields.as_slice(), &[("upgrade", wanted)]].concat());
            prepare(&mut asked, "203.0.113.9:5".parse().unwrap(), false, false);
            assert_eq!(asked.headers().get("upgrade").map(|value| value.to_str().unwrap()), left);
            assert!(!asked.headers().contains_key("http2-settings"));
        }
    }

    #[test]
    fn what_is_asked_for_is_the_host_whatever_else_is_said() {
        let mut asked = request(&[("host", "inside.example.com")]);
        *asked.uri_mut() = "http://u:p@Demo.example.com:8443/x".parse().unwrap();
        assert_eq!(host(&asked).as_deref(), Some("demo.example.com"));
        prepare(&mut asked, "203.0.113.9:5".parse().unwrap(), false, false);
        assert_eq!(asked.headers()["host"], "Demo.example.com:8443");
        assert_eq!(asked.headers()["x-forwarded-host"], "Demo.example.com:8443");
        assert_eq!(host(&request(&[("host", "a"), ("host", "a")])), None);
        *asked.method_mut() = Method::CONNECT;
        assert_eq!(host(&asked), None);
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
