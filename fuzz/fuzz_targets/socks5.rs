//! A SOCKS5 server's side of the handshake.
#![no_main]

use pgw_core::handshake::Destination;
use pgw_core::handshake::socks5::{Handshake, MAX_MESSAGE, Step};
use pgw_core::proxy::Credentials;

const PASSWORD: &str = "long-and-secret";

/// What came of it: what was sent, how it ended, and how many bytes the tunnel was left.
type Talk = (Vec<u8>, Step, usize);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((how, said)) = bytes.split_first() else { return };
    let login = how & 1 == 1;
    let whole = talk(login, said, said.len().max(1));
    for piece in [1, 2, 3] {
        let pieces = talk(login, said, piece);
        assert_eq!(pieces, whole, "in pieces of {piece}");
    }
    let (sent, end, left) = whole;
    let asked_for_it = login && said.get(1) == Some(&2);
    let told = sent.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
    assert!(asked_for_it || !told, "the password was sent unasked");
    match end {
        Step::NeedMore => assert!(left < MAX_MESSAGE, "waits for more than any server says"),
        Step::Established { .. } => assert!(said.len() - left >= 2 + 4 + 1 + 2),
        Step::Refused(refusal) => pgw_fuzz::is_fit_for_a_log(&refusal.detail),
        Step::Send { .. } => unreachable!("no end"),
    }
});

fn talk(login: bool, said: &[u8], piece: usize) -> Talk {
    let credentials = login.then(|| Credentials::new("bob", PASSWORD).expect("credentials"));
    let destination = Destination::Name("a.example".parse().expect("a name"), 443);
    let (mut handshake, greeting) =
        Handshake::new(&destination, credentials.as_ref()).unwrap_or_else(|_| panic!("no handshake"));
    let mut sent = greeting.to_vec();
    let mut arrived = Vec::new();
    let mut consumed = 0;
    let mut pieces = said.chunks(piece);
    for _turn in 0..said.len() + 4 {
        match handshake.step(&arrived) {
            Step::NeedMore => match pieces.next() {
                Some(piece) => arrived.extend_from_slice(piece),
                None => return (sent, Step::NeedMore, arrived.len()),
            },
            Step::Send { consumed: taken, bytes } => {
                arrived.drain(..taken);
                consumed += taken;
                sent.extend(bytes);
            }
            end @ Step::Established { consumed: taken } => {
                assert!(taken <= arrived.len());
                return (sent, end, said.len() - consumed - taken);
            }
            end @ Step::Refused(_) => return (sent, end, 0),
        }
    }
    panic!("a handshake without end");
}
