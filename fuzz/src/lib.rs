//! What several targets assert. A failed assertion is what a fuzzer looks for.

use std::net::IpAddr;

use pgw_core::proxy::Host;
use pgw_core::sni::{MAX_SNIFF, Sniff, Sniffer, sniff};

/// Lengths at which `bytes` are cut: everywhere when they are few, and here and there otherwise.
pub fn cuts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let step = 1 + bytes.len() / 256;
    (0..=bytes.len()).step_by(step)
}

/// What the first bytes say, which must not depend on how they arrive or on what follows.
pub fn sniffed(bytes: &[u8]) -> Sniff {
    let found = sniff(bytes);
    for piece in [1 + bytes.len() / 256, 7 + bytes.len() / 64, 1 + bytes.len() / 2] {
        let mut sniffer = Sniffer::new();
        for piece in bytes.chunks(piece) {
            sniffer.see(piece);
        }
        assert_eq!(*sniffer.found(), found, "in pieces of {piece}");
    }
    for filler in [0, b'a', b'\n'] {
        let mut more = bytes.to_vec();
        more.resize(bytes.len().max(MAX_SNIFF) + 9, filler);
        let later = sniff(&more);
        assert_ne!(later, Sniff::NeedMore, "{MAX_SNIFF} bytes are enough");
        assert!(found == Sniff::NeedMore || later == found, "what follows changed it to {later:?}");
    }
    if let Sniff::Name(name) = &found {
        is_a_name(name);
    }
    found
}

/// Nothing but a name may be asked of an upstream as one.
fn is_a_name(name: &str) {
    let host: Host = name.parse().expect("an upstream can be asked for it");
    assert_eq!(host.as_str(), name, "it is written in one way only");
    assert!(name.parse::<IpAddr>().is_err(), "an address");
    assert!((1..=253).contains(&name.len()));
    assert!(name.split('.').all(|label| (1..=63).contains(&label.len())));
    assert!(name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')));
    let last = name.rsplit('.').next().expect("a last label");
    assert!(last != "localhost" && last.bytes().any(|b| !b.is_ascii_digit()));
}

/// Fit for a log line: short, one line, nothing that a terminal would act on.
pub fn is_fit_for_a_log(words: &str) {
    assert!(words.len() <= 200 && words.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{words:?}");
}
