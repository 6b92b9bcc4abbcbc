//! What the other end of a reverse tunnel sends: frames, openings and first words. However they are
//! cut, they mean the same, and nothing is read as more than was sent.
#![no_main]

use pgw_tunnel::wire::frame::{Decoder, Frame, Step};
use pgw_tunnel::wire::hello::{First, Reply};
use pgw_tunnel::wire::open::Open;
use pgw_tunnel::wire::word::{ClientWord, GatewayWord};

/// What came of it: the stream's bytes, the frames, and whether it was refused.
type Read = (Vec<u8>, Vec<String>, bool);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for whole in [false, true] {
        let at_once = read(whole, bytes, bytes.len().max(1));
        for piece in [1, 3, 5] {
            assert_eq!(read(whole, bytes, piece), at_once, "in pieces of {piece}");
        }
        assert!(at_once.0.len() <= bytes.len());
    }
    if let Ok(open) = Open::decode(bytes) {
        assert_eq!(Open::decode(&open.encode()), Ok(open.clone()));
        pgw_fuzz::is_fit_for_a_log(&open.target.host.chars().take(200).collect::<String>());
    }
    let _words: (Option<First>, Option<Reply>) = (parsed(bytes), parsed(bytes));
    let _words: (Option<ClientWord>, Option<GatewayWord>) = (parsed(bytes), parsed(bytes));
});

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

fn read(whole: bool, bytes: &[u8], piece: usize) -> Read {
    let mut decoder = if whole { Decoder::of_datagrams() } else { Decoder::of_bytes() };
    let (mut data, mut frames, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        left.extend_from_slice(piece);
        loop {
            let Ok((step, taken)) = decoder.step(&left) else { return (data, frames, true) };
            let (taken, more) = match step {
                Step::NeedMore => (taken, taken > 0),
                Step::Data(piece) => {
                    data.extend_from_slice(piece);
                    let count = piece.len();
                    decoder.took(count);
                    (taken + count, true)
                }
                Step::Frame(frame) => {
                    if let Frame::Datagram(datagram) = frame {
                        data.extend_from_slice(datagram);
                    }
                    frames.push(format!("{frame:?}"));
                    (taken, true)
                }
            };
            assert!(taken <= left.len());
            left.drain(..taken);
            if !more {
                break;
            }
        }
    }
    (data, frames, false)
}
