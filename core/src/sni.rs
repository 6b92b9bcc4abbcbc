//! The name that a client asks for, from the first bytes it sends: the SNI of a TLS
//! ClientHello (of the outer one where the hello is encrypted), or the Host of an HTTP/1
//! request. The bytes are looked at, never taken.

use crate::proxy::is_dns_name;

/// A name that does not show up in so many bytes does not show up.
pub const MAX_SNIFF: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sniff {
    NeedMore,
    /// Lower case, without a dot at the end; a name that can be asked of DNS.
    Name(String),
    NoName,
}

/// Why there is no name.
enum Missing {
    /// It may yet come.
    Bytes,
    /// It will not come.
    Name,
}

/// Looks at everything that has arrived so far.
pub fn sniff(arrived: &[u8]) -> Sniff {
    let found = match arrived {
        [] => Err(Missing::Bytes),
        [HANDSHAKE, ..] => client_hello(Bytes(arrived))
            .and_then(|hello| server_name(Bytes(&hello)).and_then(checked).ok_or(Missing::Name)),
        [first, ..] if first.is_ascii_alphabetic() => host_of_request(arrived),
        [..] => Err(Missing::Name),
    };
    match found {
        Ok(name) => Sniff::Name(name),
        Err(Missing::Bytes) if arrived.len() < MAX_SNIFF => Sniff::NeedMore,
        Err(Missing::Bytes | Missing::Name) => Sniff::NoName,
    }
}

fn checked(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    is_dns_name(name).then(|| name.to_ascii_lowercase())
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;
/// What TLS allows in a record that is not encrypted.
const MAX_RECORD: usize = 16 * 1024;

/// A slice that is read from the front; nothing is taken when it is too short.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of `width` bytes.
    fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A field that begins with its own length, written in `width` bytes.
    fn field(&mut self, width: usize) -> Option<Bytes<'a>> {
        let mut ahead = *self;
        let length = ahead.number(width)?;
        let taken = ahead.take(length)?;
        *self = ahead;
        Some(Bytes(taken))
    }
}

/// The body of the hello, without the records around it. It mostly comes in one, but some
/// clients cut it up, so that nobody on the way finds the name.
fn client_hello(mut records: Bytes<'_>) -> Result<Vec<u8>, Missing> {
    let mut message = Vec::new();
    loop {
        let Some(header) = records.take(5) else {
            // Even from a part of a header it may be seen that this is no TLS.
            return Err(match records.0 {
                [] | [HANDSHAKE] | [HANDSHAKE, 3, ..] => Missing::Bytes,
                [..] => Missing::Name,
            });
        };
        let mut header = Bytes(header);
        let (kind, version, length) = (header.number(1), header.number(2), header.number(2).unwrap_or(0));
        let is_tls = kind == Some(HANDSHAKE.into()) && version.is_some_and(|v| v >> 8 == 3);
        if !is_tls || length == 0 || length > MAX_RECORD {
            return Err(Missing::Name);
        }
        // Of a record in part, what is there: the hello may end in it.
        let available = length.min(records.0.len());
        message.extend_from_slice(records.take(available).unwrap_or_default());

        let mut hello = Bytes(&message);
        if hello.number(1) != Some(CLIENT_HELLO.into()) {
            return if message.is_empty() { Err(Missing::Bytes) } else { Err(Missing::Name) };
        }
        if let Some(body) = hello.field(3) {
            return Ok(body.0.to_vec());
        }
        if hello.number(3).is_some_and(|length| length > MAX_SNIFF) {
            return Err(Missing::Name);
        }
    }
}

fn server_name(mut hello: Bytes<'_>) -> Option<&[u8]> {
    let _version_and_random = hello.take(2 + 32)?;
    let _session = hello.field(1)?;
    let _ciphers = hello.field(2)?;
    let _compressions = hello.field(1)?;
    let mut extensions = hello.field(2)?;
    while let Some(kind) = extensions.number(2) {
        let mut extension = extensions.field(2)?;
        if kind == usize::from(SERVER_NAME) {
            let mut names = extension.field(2)?;
            while let Some(kind) = names.number(1) {
                let name = names.field(2)?;
                if kind == usize::from(HOST_NAME) {
                    return Some(name.0);
                }
            }
        }
    }
    None
}

fn host_of_request(arrived: &[u8]) -> Result<String, Missing> {
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(arrived) {
        Ok(httparse::Status::Partial) => return Err(Missing::Bytes),
        Ok(httparse::Status::Complete(_)) => {}
        // Also HTTP/2 with prior knowledge, whose first line has another version.
        Err(_) => return Err(Missing::Name),
    }
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => checked(without_port(host.value)).ok_or(Missing::Name),
        // Two hosts are a riddle, and whoever answers it otherwise is tricked.
        (None | Some(_), _) => Err(Missing::Name),
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    match host.iter().rposition(|byte| *byte == b':').and_then(|at| host.split_at_checked(at)) {
        Some((name, port)) if port.iter().skip(1).all(u8::is_ascii_digit) => name,
        Some(_) | None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(width: usize, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&length[4 - width..], content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &field(2, content)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(SERVER_NAME, &field(2, &[&[HOST_NAME][..], &field(2, name)].concat()))
    }

    /// A hello's handshake message.
    fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
        let body = [
            &[3, 3][..],
            &[0xab; 32],
            &field(1, &[7; 32]),
            &field(2, &[0x0a, 0x0a, 0x13, 0x01]),
            &field(1, &[0]),
            &field(2, &extensions.concat()),
        ]
        .concat();
        [&[CLIENT_HELLO][..], &field(3, &body)].concat()
    }

    /// The message in records of so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [&[HANDSHAKE, 3, 1][..], &field(2, part)].concat()).collect()
    }

    fn grease() -> Vec<u8> {
        extension(0x1a1a, &[])
    }

    fn name(name: &str) -> Sniff {
        Sniff::Name(name.to_owned())
    }

    #[test]
    fn the_name_of_a_hello_is_found_however_it_is_cut() {
        let message = hello(&[grease(), extension(0x2b, &[2, 3, 4]), sni(b"WWW.Example.com")]);
        for size in [1, 2, 3, 5, 40, 100, 16_384] {
            let bytes = records(&message, size);
            for end in 0..bytes.len() {
                assert_eq!(sniff(&bytes[..end]), Sniff::NeedMore, "{end} bytes, records of {size}");
            }
            assert_eq!(sniff(&bytes), name("www.example.com"), "records of {size}");
        }
    }

    #[test]
    fn a_hello_without_a_usable_name_is_known_at_once() {
        for (what, extensions) in [
            ("no extensions", vec![]),
            ("no name", vec![grease()]),
            ("an address", vec![sni(b"192.0.2.1")]),
            ("an empty name", vec![sni(b"")]),
            ("a name with a space", vec![sni(b"a b.example")]),
            ("a name with a line break", vec![sni(b"a.example\r\nX: y")]),
            ("a name that is not UTF-8", vec![sni(b"\xff.example")]),
            ("an empty list", vec![extension(SERVER_NAME, &[])]),
            ("another kind of name", vec![extension(SERVER_NAME, &[0, 4, 9, 0, 1, b'a'])]),
            ("a list that ends early", vec![extension(SERVER_NAME, &[0, 9, 0, 0, 5, b'a'])]),
        ] {
            assert_eq!(sniff(&records(&hello(&extensions), 16_384)), Sniff::NoName, "{what}");
        }
    }

    #[test]
    fn what_is_no_hello_is_known_at_its_first_odd_byte() {
        let too_long = [&[CLIENT_HELLO, 0xff, 0xff, 0xff][..], &[0; 40]].concat();
        for (what, bytes) in [
            ("an alert", vec![21]),
            ("a version of no TLS", vec![HANDSHAKE, 2]),
            ("a server's hello", vec![HANDSHAKE, 3, 1, 0, 9, 2]),
            ("an empty record", vec![HANDSHAKE, 3, 1, 0, 0]),
            ("a record too long", vec![HANDSHAKE, 3, 1, 0xff, 0xff]),
            ("a hello too long", records(&too_long, 16_384)),
            ("another record inside the hello", [&records(&hello(&[]), 9)[..14], &[23]].concat()),
            ("binary", vec![0]),
            ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ] {
            assert_eq!(sniff(&bytes), Sniff::NoName, "{what}");
        }
    }

    #[test]
    fn the_host_of_a_request_is_found() {
        for (text, want) in [
            ("GET / HTTP/1.1\r\nHost: Example.com\r\n\r\n", name("example.com")),
            ("GET / HTTP/1.1\r\nA: b\r\nhOST:  example.com:8080 \r\n\r\nbody", name("example.com")),
            ("GET / HTTP/1.1\r\nHost: example.com.\r\n\r\n", name("example.com")),
            ("GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n", Sniff::NoName),
            ("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", Sniff::NoName),
            ("GET / HTTP/1.1\r\nHost: a.example:x\r\n\r\n", Sniff::NoName),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Sniff::NoName),
            ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", Sniff::NoName),
            ("GET / HTTP/1.0\r\n\r\n", Sniff::NoName),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sniff::NoName),
            ("GET / HTTP/1.1\r\nHost: example.com\r\n", Sniff::NeedMore),
            ("GE", Sniff::NeedMore),
            ("", Sniff::NeedMore),
        ] {
            assert_eq!(sniff(text.as_bytes()), want, "{text:?}");
        }
    }

    #[test]
    fn nothing_is_waited_for_longer_than_the_bound() {
        let mut endless = b"GET / HTTP/1.1\r\nA: ".to_vec();
        endless.resize(MAX_SNIFF - 1, b'a');
        assert_eq!(sniff(&endless), Sniff::NeedMore);
        endless.push(b'a');
        assert_eq!(sniff(&endless), Sniff::NoName);
        let padded = hello(&[extension(21, &vec![0; 15_000]), sni(b"a.example")]);
        assert_eq!(sniff(&records(&padded, 16_384)), name("a.example"), "a long hello within the bound");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _found = sniff(&bytes);
            let _found = sniff(&[&[HANDSHAKE, 3, 1][..], &field(2, &bytes)].concat());
            let _found = sniff(&records(&[&[CLIENT_HELLO][..], &field(3, &bytes)].concat(), 64));
        }

        #[test]
        fn a_hello_with_one_byte_changed_does_not_make_it_panic(at in 0..150usize, byte: u8) {
            let mut bytes = records(&hello(&[grease(), sni(b"www.example.com")]), 50);
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
            let _found = sniff(&bytes);
        }
    }
}
