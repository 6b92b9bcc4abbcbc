//! The SNI of a ClientHello.
#![no_main]

use pgw_core::sni::{MAX_SNIFF, sniff};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _found = pgw_fuzz::sniffed(bytes);
    // The same handshake in other records says the same.
    let Some((&[.., size], message)) = bytes.split_first_chunk::<5>() else { return };
    let (one, many) = (records(message, 16 * 1024), records(message, size.max(1).into()));
    if many.len() < MAX_SNIFF {
        assert_eq!(sniff(&one), sniff(&many), "in records of {size}");
    }
});

fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in message.chunks(size) {
        let length = u16::try_from(part.len()).expect("a record's length");
        bytes.extend_from_slice(&[22, 3, 1]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}
