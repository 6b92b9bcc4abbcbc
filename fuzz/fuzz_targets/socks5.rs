//! A SOCKS5 server's side of the handshake: the login, step by step or all at once, and the
//! answer to the request.
#![no_main]

use pgw_core::handshake::socks5::{Login, MAX_MESSAGE, Reply, Step, judge};
use pgw_core::proxy::Credentials;

const PASSWORD: &str = "long-and-secret";

/// What came of it: what was sent, how it ended, and how many bytes are left for what follows.
type Talk = (Vec<u8>, End, usize);

#[derive(Debug, PartialEq)]
enum End {
    InTheLogin(Step),
    InTheReply(Reply),
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((how, said)) = bytes.split_first() else { return };
    let (login, at_once) = (how & 1 == 1, how & 2 == 2);
    let whole = talk(login, at_once, said, said.len().max(1));
    for piece in [1, 2, 3] {
        let pieces = talk(login, at_once, said, piece);
        assert_eq!(pieces, whole, "in pieces of {piece}");
    }
    let (sent, end, left) = whole;
    let asked_for_it = login && (at_once || said.get(1) == Some(&2));
    let told = sent.windows(PASSWORD.len()).filter(|window| *window == PASSWORD.as_bytes()).count();
    assert!(told <= usize::from(asked_for_it), "the password was sent unasked, or twice");
    match end {
        End::InTheLogin(Step::NeedMore) | End::InTheReply(Reply::NeedMore) => {
            assert!(left < MAX_MESSAGE, "waits for more than any server says");
        }
        End::InTheReply(Reply::Established { .. }) => assert!(said.len() - left >= 2 + 4 + 1 + 2),
        End::InTheLogin(Step::Refused(refusal)) | End::InTheReply(Reply::Refused(refusal)) => {
            pgw_fuzz::is_fit_for_a_log(&refusal.detail);
        }
        End::InTheLogin(Step::Send { .. } | Step::LoggedIn { .. }) => unreachable!("no end"),
    }
});

fn talk(login: bool, at_once: bool, said: &[u8], piece: usize) -> Talk {
    let credentials = login.then(|| Credentials::new("bob", PASSWORD).expect("credentials"));
    let new = if at_once { Login::at_once } else { Login::new };
    let (mut login, mut sent) = new(credentials.as_ref()).unwrap_or_else(|_| panic!("no login"));
    let (mut arrived, mut consumed, mut logged_in) = (Vec::new(), 0, false);
    let mut pieces = said.chunks(piece);
    for _turn in 0..said.len() + 4 {
        let waits = if logged_in {
            match judge(&arrived) {
                Reply::NeedMore => End::InTheReply(Reply::NeedMore),
                end @ Reply::Established { consumed: taken } => {
                    assert!(taken <= arrived.len());
                    return (sent, End::InTheReply(end), said.len() - consumed - taken);
                }
                end @ Reply::Refused(_) => return (sent, End::InTheReply(end), 0),
            }
        } else {
            match login.step(&arrived) {
                Step::NeedMore => End::InTheLogin(Step::NeedMore),
                Step::Send { consumed: taken, bytes } => {
                    arrived.drain(..taken);
                    consumed += taken;
                    sent.extend(bytes);
                    continue;
                }
                Step::LoggedIn { consumed: taken } => {
                    arrived.drain(..taken);
                    consumed += taken;
                    logged_in = true;
                    continue;
                }
                end @ Step::Refused(_) => return (sent, End::InTheLogin(end), 0),
            }
        };
        match pieces.next() {
            Some(piece) => arrived.extend_from_slice(piece),
            None => return (sent, waits, arrived.len()),
        }
    }
    panic!("a handshake without end");
}
