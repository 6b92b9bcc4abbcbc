//! HTTP CONNECT (RFC 9110, 9.3.6): the request, and the judge of the answer.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Destination, Refusal};
use crate::health::CheckFailure;
use crate::proxy::Credentials;

/// An answer whose header is longer than this is no answer.
pub const MAX_HEADER: usize = 16 * 1024;
const MAX_FIELDS: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    NeedMore,
    /// The tunnel stands. Bytes behind the first `consumed` ones are the tunnel's own.
    Established {
        consumed: usize,
    },
    Refused(u16),
    NotHttp,
    TooLong,
}

pub fn request(dest: &Destination, credentials: Option<&Credentials>) -> Vec<u8> {
    let dest = dest.to_string();
    let mut text = ["CONNECT ", &dest, " HTTP/1.1\r\nHost: ", &dest, "\r\n"].concat();
    if let Some(Credentials { username, password }) = credentials {
        let pair = BASE64_STANDARD.encode(format!("{username}:{}", password.expose()));
        text.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Judges everything that has arrived so far.
pub fn judge(arrived: &[u8]) -> Answer {
    let mut from = 0;
    loop {
        let rest = arrived.get(from..).unwrap_or_default();
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let mut lenient = httparse::ParserConfig::default();
        // Only the status counts: an odd field of a proxy that works is no reason to refuse it.
        lenient.ignore_invalid_headers_in_responses(true);
        let parsed = lenient.parse_response(&mut response, rest);
        match (parsed, response.code) {
            (Ok(httparse::Status::Complete(length)), Some(status)) => {
                let consumed = from + length;
                if consumed > MAX_HEADER {
                    return Answer::TooLong;
                }
                match status {
                    // An interim answer; the final one follows.
                    100 | 102..=199 => from = consumed,
                    // A 2xx to CONNECT has no body, whatever its fields say.
                    200..=299 => return Answer::Established { consumed },
                    _ => return Answer::Refused(status),
                }
            }
            (Ok(httparse::Status::Partial), _) if arrived.len() >= MAX_HEADER => return Answer::TooLong,
            (Ok(httparse::Status::Partial), _) => return Answer::NeedMore,
            (Err(httparse::Error::TooManyHeaders), _) => return Answer::TooLong,
            (Err(_) | Ok(httparse::Status::Complete(_)), _) => return Answer::NotHttp,
        }
    }
}

/// What a status other than 2xx says about the upstream. Its own reason phrase is somebody else's
/// text, which may repeat a password or where a device goes: it is told in our words.
pub fn refusal(status: u16) -> Refusal {
    let kind = match status {
        401 | 407 => CheckFailure::Auth,
        // The proxy understood, and cannot or will not: forbidden, quota used up, no route.
        402 | 403 | 408 | 429 | 451 | 500..=599 => CheckFailure::Target,
        _ => CheckFailure::BadAnswer,
    };
    Refusal::new(kind, format!("{status} {}", phrase(status)).trim_end())
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        429 => "Too Many Requests",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dest(host: &str, port: u16) -> Destination {
        Destination::Name(host.parse().unwrap(), port)
    }

    #[test]
    fn a_request_names_the_destination_and_the_credentials() {
        assert_eq!(
            request(&dest("2001:db8::1", 443), None),
            b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n"
        );
        let credentials = Credentials::new("bob", "p:a@ss").unwrap();
        assert_eq!(
            request(&dest("example.com", 80), Some(&credentials)),
            b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\
              Proxy-Authorization: Basic Ym9iOnA6YUBzcw==\r\n\r\n"
        );
    }

    #[test]
    fn a_whole_answer_is_judged_by_its_status() {
        for (text, want) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Answer::Established { consumed: 19 }),
            ("HTTP/1.0 200\r\n\r\nhello", Answer::Established { consumed: 16 }),
            ("HTTP/1.1 204 Fine\r\nContent-Length: 5\r\n\r\nhello", Answer::Established { consumed: 40 }),
            ("HTTP/1.1 200 OK\r\nodd field\r\n\r\n", Answer::Established { consumed: 30 }),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx",
                Answer::Established { consumed: 25 + 19 },
            ),
            ("HTTP/1.1 407 Proxy Auth\r\n\r\n", Answer::Refused(407)),
            ("HTTP/1.1 502 Bad\tGateway\r\n\r\n", Answer::Refused(502)),
            ("HTTP/1.1 101 Switching\r\n\r\n", Answer::Refused(101)),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", Answer::Refused(302)),
            ("SSH-2.0-x\r\n", Answer::NotHttp),
            ("HTTP/2 200\r\n\r\n", Answer::NotHttp),
            ("\u{5}\u{0}", Answer::NotHttp),
        ] {
            assert_eq!(judge(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn every_beginning_of_an_answer_needs_more() {
        let text =
            b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 Connection established\r\nA: b\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(judge(&text[..end]), Answer::NeedMore, "{end}");
        }
        assert_eq!(judge(text), Answer::Established { consumed: text.len() });
    }

    #[test]
    fn a_header_without_an_end_is_too_long() {
        let mut endless = b"HTTP/1.1 200 OK\r\nA: ".to_vec();
        endless.resize(MAX_HEADER - 1, b'a');
        assert_eq!(judge(&endless), Answer::NeedMore);
        endless.push(b'a');
        assert_eq!(judge(&endless), Answer::TooLong);
        let many = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(judge(many.as_bytes()), Answer::TooLong);
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
        assert_eq!(judge(interim.as_bytes()), Answer::TooLong);
    }

    #[test]
    fn a_refusal_tells_the_operator_what_to_look_at() {
        for (status, want) in [
            (407, CheckFailure::Auth),
            (401, CheckFailure::Auth),
            (403, CheckFailure::Target),
            (502, CheckFailure::Target),
            (503, CheckFailure::Target),
            (504, CheckFailure::Target),
            (400, CheckFailure::BadAnswer),
            (404, CheckFailure::BadAnswer),
            (405, CheckFailure::BadAnswer),
            (302, CheckFailure::BadAnswer),
        ] {
            assert_eq!(refusal(status).kind, want, "{status}");
        }
        assert_eq!(refusal(407).detail, "407 Proxy Authentication Required");
        assert_eq!(refusal(599).detail, "599");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_judge_panic(start in "(HTTP/1.1 200 )?", bytes: Vec<u8>) {
            let _answer = judge(&[start.as_bytes(), &bytes].concat());
        }
    }
}
