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
            sent: [&[5, 2, 0, 2][..], b"\x01\x03bob\x03p:a", &[5, 1, 0, 3, 11], b"example.com", &[1, 187]]
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
    let long = Credentials { username: "bob".into(), password: crate::redact::Secret::new("x".repeat(256)) };
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
    assert!(matches!(not_offered.end, Reply::Refused(refusal) if refusal.kind == CheckFailure::BadAnswer));
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
