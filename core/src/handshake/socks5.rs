//! SOCKS5 (RFC 1928, with the user name and password of RFC 1929) as a client that does no
//! input or output of its own.

use std::net::IpAddr;

use super::{Destination, Refusal};
use crate::health::CheckFailure;
use crate::proxy::Credentials;

const VERSION: u8 = 5;
const NO_AUTH: u8 = 0;
const USER_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;

/// No message of the server is longer than this.
pub const MAX_MESSAGE: usize = 4 + 1 + 255 + 2;

/// What the login comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    NeedMore,
    /// Forget the first `consumed` bytes, and send these, if any.
    Send {
        consumed: usize,
        bytes: Vec<u8>,
    },
    /// The request is taken now. Bytes behind the first `consumed` ones belong to its answer.
    LoggedIn {
        consumed: usize,
    },
    Refused(Refusal),
}

/// What the request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    NeedMore,
    /// The tunnel stands. Bytes behind the first `consumed` ones are the tunnel's own.
    Established {
        consumed: usize,
    },
    Refused(Refusal),
}

/// What the client waits for.
#[derive(Clone, Copy)]
enum Waiting {
    Method,
    Login,
}

/// Everything before the request.
pub struct Login {
    waiting: Waiting,
    /// The login, as it is sent.
    login: Option<Vec<u8>>,
    /// It was sent together with the greeting.
    sent: bool,
}

impl Login {
    /// The login, and the greeting that begins it.
    pub fn new(credentials: Option<&Credentials>) -> Result<(Self, Vec<u8>), Refusal> {
        let login = credentials.map(login).transpose()?;
        let greeting = match login {
            Some(_) => vec![VERSION, 2, NO_AUTH, USER_PASSWORD],
            None => vec![VERSION, 1, NO_AUTH],
        };
        Ok((Self { waiting: Waiting::Method, login, sent: false }, greeting))
    }

    /// For a server that is known to read its messages one by one: all that is sent, at once. Only
    /// one method can be offered, so that what the server chooses is known.
    pub fn at_once(credentials: Option<&Credentials>) -> Result<(Self, Vec<u8>), Refusal> {
        let login = credentials.map(login).transpose()?;
        let mut bytes = vec![VERSION, 1];
        match &login {
            Some(login) => {
                bytes.push(USER_PASSWORD);
                bytes.extend_from_slice(login);
            }
            None => bytes.push(NO_AUTH),
        }
        Ok((Self { waiting: Waiting::Method, login, sent: true }, bytes))
    }

    /// Judges what has arrived and was not consumed yet.
    pub fn step(&mut self, arrived: &[u8]) -> Step {
        match (self.waiting, arrived) {
            (Waiting::Method, [version, ..]) if *version != VERSION => not_socks(),
            // Not offered: it would read the login as a request.
            (Waiting::Method, [_, NO_AUTH, ..]) if self.sent && self.login.is_some() => not_socks(),
            (Waiting::Method, [_, NO_AUTH, ..]) => Step::LoggedIn { consumed: 2 },
            (Waiting::Method, [_, USER_PASSWORD, ..]) => match &self.login {
                Some(login) => {
                    self.waiting = Waiting::Login;
                    let bytes = if self.sent { Vec::new() } else { login.clone() };
                    Step::Send { consumed: 2, bytes }
                }
                None => not_socks(),
            },
            (Waiting::Method, [_, NONE_ACCEPTABLE, ..]) => refuse(
                CheckFailure::Auth,
                match self.login {
                    Some(_) => "takes no login by user name and password",
                    None => "wants a user name and password",
                },
            ),
            (Waiting::Method, [_, _, ..]) => not_socks(),

            // The version of the login is 1; some servers repeat the 5.
            (Waiting::Login, [version, ..]) if *version != 1 && *version != VERSION => not_socks(),
            (Waiting::Login, [_, 0, ..]) => Step::LoggedIn { consumed: 2 },
            (Waiting::Login, [_, _, ..]) => {
                refuse(CheckFailure::Auth, "did not accept the user name and password")
            }

            (Waiting::Method | Waiting::Login, _) => Step::NeedMore,
        }
    }
}

/// Judges all that has arrived behind the login.
pub fn judge(arrived: &[u8]) -> Reply {
    match arrived {
        [version, ..] if *version != VERSION => Reply::Refused(no_socks()),
        [_, 0, _, kind, rest @ ..] => bound_address(*kind, rest),
        // A refusal is one as soon as it can be read: some servers send no more of it.
        [_, code, ..] if *code != 0 => Reply::Refused(refusal(*code)),
        _ => Reply::NeedMore,
    }
}

fn login(Credentials { username, password }: &Credentials) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![1];
    for (part, what) in [(username.as_str(), "user name"), (password.expose(), "password")] {
        let length = u8::try_from(part.len()).map_err(|_too_long| {
            Refusal::new(CheckFailure::Auth, format!("the {what} is longer than SOCKS5 can carry"))
        })?;
        bytes.push(length);
        bytes.extend_from_slice(part.as_bytes());
    }
    Ok(bytes)
}

pub fn request(dest: &Destination) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![VERSION, 1, 0];
    let port = match dest {
        Destination::Addr(addr) => {
            bytes.push(1);
            bytes.extend_from_slice(&addr.ip().octets());
            addr.port()
        }
        Destination::Name(host, port) => {
            match host.as_str().parse::<IpAddr>() {
                Ok(IpAddr::V4(ip)) => {
                    bytes.push(1);
                    bytes.extend_from_slice(&ip.octets());
                }
                Ok(IpAddr::V6(ip)) => {
                    bytes.push(4);
                    bytes.extend_from_slice(&ip.octets());
                }
                Err(_) => {
                    let name = host.as_str().as_bytes();
                    let length = u8::try_from(name.len()).map_err(|_too_long| {
                        Refusal::new(CheckFailure::Target, "the name is longer than SOCKS5 can carry")
                    })?;
                    bytes.extend_from_slice(&[3, length]);
                    bytes.extend_from_slice(name);
                }
            }
            *port
        }
    };
    bytes.extend_from_slice(&port.to_be_bytes());
    Ok(bytes)
}

/// The address from which the server dialled is of no use, but its length is.
fn bound_address(kind: u8, rest: &[u8]) -> Reply {
    let address = match (kind, rest) {
        (1, _) => 4,
        (4, _) => 16,
        (3, [length, ..]) => 1 + usize::from(*length),
        (3, []) => return Reply::NeedMore,
        _ => return Reply::Refused(no_socks()),
    };
    let consumed = 4 + address + 2;
    if 4 + rest.len() < consumed { Reply::NeedMore } else { Reply::Established { consumed } }
}

fn refusal(code: u8) -> Refusal {
    let (kind, words) = match code {
        1 => (CheckFailure::Target, "general failure of the proxy"),
        2 => (CheckFailure::Target, "not allowed by the proxy's rules"),
        3 => (CheckFailure::Target, "network unreachable from the proxy"),
        4 => (CheckFailure::Target, "host unreachable from the proxy"),
        5 => (CheckFailure::Target, "connection refused by the destination"),
        6 => (CheckFailure::Target, "the proxy's packets ran out of hops"),
        7 => (CheckFailure::BadAnswer, "the proxy does not know CONNECT"),
        8 => (CheckFailure::Target, "the proxy does not take this kind of address"),
        _ => (CheckFailure::BadAnswer, "a code that SOCKS5 does not have"),
    };
    Refusal::new(kind, format!("SOCKS5 reply {code}: {words}"))
}

fn refuse(kind: CheckFailure, detail: &str) -> Step {
    Step::Refused(Refusal::new(kind, format!("the proxy {detail}")))
}

fn not_socks() -> Step {
    Step::Refused(no_socks())
}

fn no_socks() -> Refusal {
    Refusal::new(CheckFailure::BadAnswer, "the answer is not SOCKS5")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came of a conversation: everything sent, and how it ended.
    #[derive(Debug, PartialEq)]
    struct Talk {
        sent: Vec<u8>,
        end: Reply,
        behind: Vec<u8>,
    }

    /// Feeds the pieces one after the other, as a dialler would.
    fn talk(dest: &Destination, credentials: Option<&Credentials>, pieces: &[&[u8]]) -> Talk {
        let (login, greeting) = Login::new(credentials).unwrap();
        feed(login, greeting, dest, pieces)
    }

    /// The same, with everything sent before anything is heard.
    fn talk_at_once(dest: &Destination, credentials: Option<&Credentials>, pieces: &[&[u8]]) -> Talk {
        let (login, all) = Login::at_once(credentials).unwrap();
        feed(login, all, dest, pieces)
    }

    fn feed(mut login: Login, mut sent: Vec<u8>, dest: &Destination, pieces: &[&[u8]]) -> Talk {
        let mut behind = Vec::new();
        let mut pieces = pieces.iter();
        let mut logged_in = false;
        loop {
            let end = if logged_in {
                judge(&behind)
            } else {
                match login.step(&behind) {
                    Step::NeedMore => Reply::NeedMore,
                    Step::Send { consumed, bytes } => {
                        behind.drain(..consumed);
                        sent.extend(bytes);
                        continue;
                    }
                    Step::LoggedIn { consumed } => {
                        behind.drain(..consumed);
                        sent.extend(request(dest).unwrap());
                        logged_in = true;
                        continue;
                    }
                    Step::Refused(refusal) => Reply::Refused(refusal),
                }
            };
            match end {
                Reply::NeedMore => match pieces.next() {
                    Some(piece) => behind.extend_from_slice(piece),
                    None => return Talk { sent, end, behind },
                },
                Reply::Established { consumed } => {
                    behind.drain(..consumed);
                    pieces.for_each(|piece| behind.extend_from_slice(piece));
                    return Talk { sent, end, behind };
                }
                Reply::Refused(_) => return Talk { sent, end, behind: Vec::new() },
            }
        }
    }

    fn name(host: &str) -> Destination {
        Destination::Name(host.parse().unwrap(), 443)
    }

    fn bob() -> Credentials {
        Credentials::new("bob", "p:a").unwrap()
    }

    const OK_V4: &[u8] = &[5, 0, 0, 1, 9, 9, 9, 9, 0, 80];

    #[test]
    fn every_split_of_the_answers_gives_the_same_tunnel() {
        for reply in
            [OK_V4.to_vec(), [&[5, 0, 0, 4][..], &[7; 18]].concat(), [&[5, 0, 0, 3, 2][..], &[7; 4]].concat()]
        {
            let answers = [&[5, 2, 1, 0][..], &reply, b"early"].concat();
            let want = Talk {
                sent: [
                    &[5, 2, 0, 2][..],
                    b"\x01\x03bob\x03p:a",
                    &[5, 1, 0, 3, 11],
                    b"example.com",
                    &[1, 187],
                ]
                .concat(),
                end: Reply::Established { consumed: reply.len() },
                behind: b"early".to_vec(),
            };
            for first in 0..=answers.len() {
                for second in first..=answers.len() {
                    let pieces = [&answers[..first], &answers[first..second], &answers[second..]];
                    assert_eq!(talk(&name("example.com"), Some(&bob()), &pieces), want);
                }
            }
            let single: Vec<&[u8]> = answers.chunks(1).collect();
            assert_eq!(talk(&name("example.com"), Some(&bob()), &single), want);
        }
    }

    #[test]
    fn every_kind_of_destination_is_written_as_its_own() {
        let addr = Destination::Addr("192.0.2.1:80".parse().unwrap());
        for (dest, want) in [
            (addr, vec![5, 1, 0, 1, 192, 0, 2, 1, 0, 80]),
            (name("192.0.2.1"), vec![5, 1, 0, 1, 192, 0, 2, 1, 1, 187]),
            (
                name("2001:db8::1"),
                vec![5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187],
            ),
        ] {
            let talk = talk(&dest, None, &[&[5, 0], OK_V4]);
            assert_eq!(talk.sent, [&[5, 1, 0][..], &want].concat(), "{dest}");
        }
    }

    #[test]
    fn a_server_that_wants_no_login_is_not_told_the_password() {
        let talk = talk(&name("a.example"), Some(&bob()), &[&[5, 0], OK_V4]);
        assert!(!talk.sent.windows(3).any(|w| w == b"bob"));
        assert_eq!(talk.end, Reply::Established { consumed: 10 });
    }

    #[test]
    fn refusals_and_garbage_are_told_apart() {
        use CheckFailure::{Auth, BadAnswer, Target};
        let bob = bob();
        for (what, credentials, answers, want) in [
            ("no method", None, &[5, 0xff][..], Auth),
            ("no method for the login", Some(&bob), &[5, 0xff], Auth),
            ("a login that was not offered", None, &[5, 2], BadAnswer),
            ("a method that nobody offered", Some(&bob), &[5, 1], BadAnswer),
            ("wrong password", Some(&bob), &[5, 2, 1, 1], Auth),
            ("a login answer of no version", Some(&bob), &[5, 2, 9, 0], BadAnswer),
            ("HTTP", None, b"HTTP/1.1 400", BadAnswer),
            ("SOCKS4", None, &[0, 90], BadAnswer),
            ("general failure", None, &[5, 0, 5, 1], Target),
            ("not allowed", None, &[5, 0, 5, 2], Target),
            ("network", None, &[5, 0, 5, 3], Target),
            ("host", None, &[5, 0, 5, 4], Target),
            ("refused", None, &[5, 0, 5, 5], Target),
            ("hops", None, &[5, 0, 5, 6], Target),
            ("no CONNECT", None, &[5, 0, 5, 7], BadAnswer),
            ("address kind", None, &[5, 0, 5, 8], Target),
            ("unknown code", None, &[5, 0, 5, 99], BadAnswer),
            ("unknown address kind", None, &[5, 0, 5, 0, 0, 2], BadAnswer),
            ("another version", None, &[5, 0, 4, 0], BadAnswer),
        ] {
            let end = talk(&name("a.example"), credentials, &[answers]).end;
            assert!(matches!(&end, Reply::Refused(refusal) if refusal.kind == want), "{what}: {end:?}");
        }
    }

    #[test]
    fn a_password_that_does_not_fit_is_never_sent_in_part() {
        let long =
            Credentials { username: "bob".into(), password: crate::redact::Secret::new("x".repeat(256)) };
        let refused = Login::new(Some(&long)).err().unwrap();
        assert_eq!(refused.kind, CheckFailure::Auth);
        assert!(Login::at_once(Some(&long)).is_err());
    }

    #[test]
    fn what_is_sent_at_once_is_answered_like_what_is_sent_step_by_step() {
        let bob = bob();
        let answers = [&[5, 2, 1, 0][..], OK_V4, b"early"].concat();
        for first in 0..=answers.len() {
            let talk = talk_at_once(&name("a.b"), Some(&bob), &[&answers[..first], &answers[first..]]);
            assert_eq!(talk.sent, b"\x05\x01\x02\x01\x03bob\x03p:a\x05\x01\x00\x03\x03a.b\x01\xbb");
            assert_eq!((talk.end, talk.behind), (Reply::Established { consumed: 10 }, b"early".to_vec()));
        }
        let open = talk_at_once(&name("a.b"), None, &[&[5, 0], OK_V4]);
        assert_eq!(open.sent, b"\x05\x01\x00\x05\x01\x00\x03\x03a.b\x01\xbb");
        let not_offered = talk_at_once(&name("a.b"), Some(&bob), &[&[5, 0], OK_V4]);
        assert!(
            matches!(not_offered.end, Reply::Refused(refusal) if refusal.kind == CheckFailure::BadAnswer)
        );
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_client_panic(pieces: Vec<Vec<u8>>, head in 0..3usize) {
            let head: &[u8] = [&[][..], &[5, 2], &[5, 2, 1, 0, 5, 0]].get(head).copied().unwrap_or_default();
            let pieces: Vec<&[u8]> = std::iter::once(head).chain(pieces.iter().map(Vec::as_slice)).collect();
            let _talk = talk(&name("a.example"), Some(&bob()), &pieces);
            let _talk = talk_at_once(&name("a.example"), Some(&bob()), &pieces);
        }
    }
}
