//! Where a TLS ClientHello ends, and whether a ServerHello answered it. Of all that a client
//! may say first, a hello alone can be sent twice without anything being done twice.

/// The first byte of a record that carries a handshake.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const MAX_RECORD: usize = 16 * 1024;

/// How many of these bytes are a ClientHello, once it is there from its first byte to its last.
/// What follows it, such as early data, is not part of it.
pub fn client_hello(said: &[u8]) -> Option<usize> {
    let mut message = Vec::new();
    let mut rest = said;
    loop {
        let [HANDSHAKE, 3, _, high, low, behind @ ..] = rest else { return None };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if !(1..=MAX_RECORD).contains(&length) {
            return None;
        }
        let (record, behind) = behind.split_at_checked(length)?;
        message.extend_from_slice(record);
        rest = behind;
        if message.first() != Some(&CLIENT_HELLO) {
            return None;
        }
        if let [_, a, b, c, body @ ..] = message.as_slice() {
            let wanted = u32::from_be_bytes([0, *a, *b, *c]);
            match usize::try_from(wanted).ok()?.cmp(&body.len()) {
                std::cmp::Ordering::Equal => return Some(said.len() - rest.len()),
                // Something else shares its last record.
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Greater => {}
            }
        }
    }
}

/// Whether this is a server's answer to a hello; not known before six bytes of it are there.
pub fn is_server_hello(heard: &[u8]) -> Option<bool> {
    match heard {
        [HANDSHAKE, 3, _, _, _, kind, ..] => Some(*kind == SERVER_HELLO),
        [] | [HANDSHAKE] | [HANDSHAKE, 3] | [HANDSHAKE, 3, _, ..] => None,
        [..] => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(length: usize) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &size[1..], &vec![7; length]].concat()
    }

    /// The message in records of so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[HANDSHAKE, 3, 1][..], &length, part].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn a_hello_ends_where_its_last_record_does_however_it_is_cut() {
        for size in [1, 3, 4, 5, 100, 16_384] {
            let bytes = records(&hello(300), size);
            for end in 0..bytes.len() {
                assert_eq!(client_hello(&bytes[..end]), None, "{end} bytes, records of {size}");
            }
            assert_eq!(client_hello(&bytes), Some(bytes.len()), "records of {size}");
            let early_data = [&bytes[..], &[23, 3, 3, 0, 1, 9]].concat();
            assert_eq!(client_hello(&early_data), Some(bytes.len()), "early data is no hello");
        }
    }

    #[test]
    fn nothing_else_is_a_hello() {
        let hello = hello(40);
        for (what, bytes) in [
            ("nothing", vec![]),
            ("a request", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            ("a server's hello", records(&[&[SERVER_HELLO], &hello[1..]].concat(), 1000)),
            ("early data alone", vec![23, 3, 3, 0, 1, 9]),
            ("an empty record", vec![HANDSHAKE, 3, 1, 0, 0]),
            ("another message in its record", records(&[&hello[..], b"GET /"].concat(), 1000)),
            ("a record too long", [&[HANDSHAKE, 3, 1, 0xff, 0xff][..], &vec![1; 0xffff]].concat()),
            ("no TLS", [&[HANDSHAKE, 2][..], &records(&hello, 1000)[2..]].concat()),
        ] {
            assert_eq!(client_hello(&bytes), None, "{what}");
        }
    }

    #[test]
    fn an_answer_is_a_servers_hello_or_it_is_not() {
        let answer = [HANDSHAKE, 3, 3, 0, 90, SERVER_HELLO, 0, 0, 86];
        for end in 0..6 {
            assert_eq!(is_server_hello(&answer[..end]), None, "{end}");
        }
        assert_eq!(is_server_hello(&answer), Some(true));
        for other in [&b"HTTP/1.1 400"[..], &[21, 3, 3, 0, 2, 2, 40], &[HANDSHAKE, 3, 3, 0, 9, 1], b"2"] {
            assert_eq!(is_server_hello(other), Some(false), "{other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _end = client_hello(&bytes);
            let _end = client_hello(&[&[HANDSHAKE, 3, 1][..], &bytes].concat());
            let _answer = is_server_hello(&bytes);
        }
    }
}
