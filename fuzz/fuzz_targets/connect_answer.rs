//! An upstream's answer to CONNECT.
#![no_main]

use pgw_core::handshake::http_connect::{Answer, MAX_HEADER, judge, refusal};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // Nobody reads further.
    let bytes = bytes.get(..MAX_HEADER).unwrap_or(bytes);
    let answer = judge(bytes);
    if let Some(early) =
        pgw_fuzz::cuts(bytes).map(|end| judge(&bytes[..end])).find(|a| *a != Answer::NeedMore)
    {
        assert_eq!(early, answer, "in pieces it is another answer");
    }
    match answer {
        Answer::NeedMore => {
            let mut more = bytes.to_vec();
            more.resize(MAX_HEADER, b'a');
            assert_ne!(judge(&more), Answer::NeedMore, "{MAX_HEADER} bytes are enough");
        }
        Answer::Established { consumed } => {
            // Not a byte of the tunnel's own is taken, and none of the header is left.
            assert!(bytes[..consumed].ends_with(b"\n"));
            assert_eq!(judge(&bytes[..consumed]), answer);
            assert_eq!(judge(&bytes[..consumed - 1]), Answer::NeedMore);
        }
        Answer::Refused(status) => {
            assert!(!(200..300).contains(&status));
            pgw_fuzz::is_fit_for_a_log(&refusal(status).detail);
        }
        Answer::NotHttp | Answer::TooLong => {}
    }
});
