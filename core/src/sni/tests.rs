use super::*;

fn field(width: usize, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[4 - width..], content].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &field(2, content)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &field(2, &[&[0][..], &field(2, name)].concat()))
}

/// A hello's handshake message, as a browser would fill it.
fn hello(extensions: &[Vec<u8>]) -> Vec<u8> {
    hello_of([3, 3], &[0x0a, 0x0a, 0x13, 0x01], &extensions.concat())
}

fn hello_of(version: [u8; 2], ciphers: &[u8], extensions: &[u8]) -> Vec<u8> {
    let head = [&version[..], &[0xab; 32], &field(1, &[7; 32]), &field(2, ciphers), &field(1, &[0])].concat();
    [&[1][..], &field(3, &[&head[..], &field(2, extensions)].concat())].concat()
}

/// The message in records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &field(2, part)].concat()).collect()
}

fn grease() -> Vec<u8> {
    extension(0x1a1a, &[])
}

/// An encrypted hello, which to the eye may hold another name in the clear.
fn ech() -> Vec<u8> {
    extension(0xfe0d, &sni(b"inner.example"))
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
fn the_hello_of_every_tls_and_of_every_browser_is_read() {
    let versions = |list: &[u8]| extension(0x2b, &field(1, list));
    let sni = || sni(b"a.example");
    let key_share = extension(0x33, &field(2, &[&[0x11, 0xec][..], &field(2, &[5; 1216])].concat()));
    for (what, message) in [
        ("TLS 1.0", hello_of([3, 1], &[0, 0x2f], &sni())),
        ("TLS 1.1", hello_of([3, 2], &[0, 0x2f], &sni())),
        ("TLS 1.2", hello_of([3, 3], &[0xc0, 0x2f], &sni())),
        ("TLS 1.3", hello(&[sni(), versions(&[3, 4])])),
        ("a version and ciphers of nobody", hello_of([3, 0x7a], &[0xfa, 0xfa], &sni())),
        ("GREASE around the name", hello(&[grease(), sni(), versions(&[0x2a, 0x2a, 3, 4]), grease()])),
        ("GREASE with content", hello(&[extension(0xdada, &[0]), sni()])),
        ("a key share that takes two segments", hello(&[key_share, sni()])),
        ("ECH behind the outer name", hello(&[sni(), ech()])),
        ("ECH before the outer name", hello(&[ech(), sni()])),
        ("a second name, which no server takes", hello(&[sni(), super::tests::sni(b"b.example")])),
        ("another kind of name before it", {
            hello(&[extension(0, &field(2, b"\x09\x00\x01x\x00\x00\x09a.example"))])
        }),
        ("a dot at the end", hello(&[super::tests::sni(b"a.example.")])),
    ] {
        for size in [7, 1000] {
            assert_eq!(sniff(&records(&message, size)), name("a.example"), "{what}");
        }
    }
}

#[test]
fn a_hello_without_a_usable_name_is_known_at_once() {
    for (what, extensions) in [
        ("no extensions", vec![]),
        ("no name", vec![grease()]),
        ("an encrypted hello without an outer name", vec![ech()]),
        ("an address", vec![sni(b"192.0.2.1")]),
        ("an empty name", vec![sni(b"")]),
        ("a name with a space", vec![sni(b"a b.example")]),
        ("a name with a line break", vec![sni(b"a.example\r\nX: y")]),
        ("a name with a port", vec![sni(b"a.example:443")]),
        ("a name that is not UTF-8", vec![sni(b"\xff.example")]),
        ("an empty list", vec![extension(0, &[])]),
        ("another kind of name", vec![extension(0, &[0, 4, 9, 0, 1, b'a'])]),
        ("a list that ends early", vec![extension(0, &[0, 9, 0, 0, 5, b'a'])]),
    ] {
        assert_eq!(sniff(&records(&hello(&extensions), 16_384)), Sniff::NoName, "{what}");
    }
    let no_extensions_at_all =
        [&[1][..], &field(3, &[&[3, 1][..], &[7; 32], &[0, 0, 2, 0, 47, 1, 0]].concat())];
    assert_eq!(sniff(&records(&no_extensions_at_all.concat(), 16_384)), Sniff::NoName);
}

#[test]
fn what_is_no_hello_is_known_at_its_first_odd_byte() {
    let too_long = [&[1, 0xff, 0xff, 0xff][..], &[0; 40]].concat();
    let whole = records(&hello(&[]), 9);
    for (what, bytes) in [
        ("an alert", vec![21]),
        ("a version of no TLS", vec![22, 2]),
        ("a server's hello", vec![22, 3, 1, 0, 9, 2]),
        ("an empty record", vec![22, 3, 1, 0, 0]),
        ("a record too long", vec![22, 3, 1, 0xff, 0xff]),
        ("a hello too long", records(&too_long, 16_384)),
        ("another record inside the hello", [&whole[..14], &[23]].concat()),
        ("SSLv2 in two bytes of length", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10".to_vec()),
        ("SSLv2 in three bytes of length", b"\x00\x2e\x00\x01\x03\x01".to_vec()),
        ("binary", vec![0]),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("SIP", b"OPTIONS sip:a.example SIP/2.0\r\n".to_vec()),
        ("RTSP", b"OPTIONS * RTSP/1.0\r\n".to_vec()),
        ("a blank before the request", b" GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec()),
        ("an empty line before the request", b"\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec()),
    ] {
        assert_eq!(sniff(&bytes), Sniff::NoName, "{what}");
    }
}

#[test]
fn http_2_is_known_by_its_preface_before_it_has_arrived() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let known = "PRI * HTTP/2".len();
    for end in 0..=preface.len() {
        let want = if end < known { Sniff::NeedMore } else { Sniff::NoName };
        assert_eq!(sniff(&preface[..end]), want, "{end}");
    }
}

#[test]
fn the_host_of_a_request_is_found() {
    for (head, want) in [
        ("GET / HTTP/1.1\r\nHost: Example.com", "example.com"),
        ("GET / HTTP/1.1\r\nA: b\r\nhOST:  example.com:8080 ", "example.com"),
        ("GET / HTTP/1.1\r\nHOST:example.com", "example.com"),
        ("GET / HTTP/1.1\r\nHost:\t example.com\t", "example.com"),
        ("GET / HTTP/1.1\r\nHost: example.com.", "example.com"),
        ("GET / HTTP/1.1\r\nHost: example.com.:80", "example.com"),
        ("GET / HTTP/1.1\r\nHost: example.com:", "example.com"),
        ("GET / HTTP/1.0\r\nHost: example.com", "example.com"),
        ("GET //b.example/ HTTP/1.1\r\nHost: a.example", "a.example"),
        ("GET /http://b.example/ HTTP/1.1\r\nHost: a.example", "a.example"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example", "a.example"),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk", "a.example"),
        ("M-SEARCH / HTTP/1.1\nHost: a.example", "a.example"),
    ] {
        for (end, wanted) in [("\r\n\r\n", name(want)), ("\r\n\r\nbody", name(want)), ("", Sniff::NeedMore)] {
            let text = format!("{head}{end}");
            assert_eq!(sniff(text.as_bytes()), wanted, "{text:?}");
        }
    }
}

#[test]
fn a_request_that_does_not_name_its_server_has_no_name() {
    for text in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 192.0.2.1:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: 2001:db8::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example:x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example:1:2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nhost: a.example\r\n\r\n",
        // Folded, or with a blank where none may be: who reads it otherwise is tricked.
        "GET / HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n Host: a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a.example\r\n\r\n",
        // Said to a proxy; known with the first line.
        "GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET http://a.example/ HTTP/1.1\r\n",
        "CONNECT a.example:443 HTTP/1.1\r\n",
    ] {
        assert_eq!(sniff(text.as_bytes()), Sniff::NoName, "{text:?}");
    }
}

#[test]
fn only_what_dns_can_be_asked_for_is_a_name() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    for good in [
        "a.example",
        "intranet",
        "xn--mnchen-3ya.example",
        "a.xn--p1ai",
        "my_bucket.s3.example",
        "1.example",
        "0x7f.example",
        "a--b.example",
        "localhost.example",
        &longest,
    ] {
        assert_eq!(sniff(&records(&hello(&[sni(good.as_bytes())]), 16_384)), name(good));
    }
    let (long_label, too_long) = (format!("a{label}.example"), format!("{longest}a"));
    for bad in [
        ".",
        "..",
        ".example",
        "a..example",
        "a.example..",
        "-a.example",
        "a-.example",
        "*.example",
        "münchen.example",
        // What a resolver would take for an address.
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0X7F.0x1",
        "127.0.0.0x1",
        "0x",
        "::1",
        // What every resolver takes for itself.
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        &long_label,
        &too_long,
    ] {
        assert_eq!(sniff(&records(&hello(&[sni(bad.as_bytes())]), 16_384)), Sniff::NoName, "{bad:?}");
        let request = format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n");
        assert_eq!(sniff(request.as_bytes()), Sniff::NoName, "{bad:?}");
    }
}

#[test]
fn nothing_is_waited_for_longer_than_the_bound() {
    let mut endless = b"GET / HTTP/1.1\r\nA: ".to_vec();
    endless.resize(MAX_SNIFF - 1, b'a');
    assert_eq!(sniff(&endless), Sniff::NeedMore);
    endless.push(b'a');
    assert_eq!(sniff(&endless), Sniff::NoName);
    let padding = extension(21, &vec![0; 17_000]);
    let hidden = records(&hello(&[padding.clone(), sni(b"a.example")]), 16_384);
    assert_eq!(sniff(&hidden[..MAX_SNIFF - 1]), Sniff::NeedMore);
    assert_eq!(sniff(&hidden), Sniff::NoName, "a name behind the bound");
    let long = records(&hello(&[sni(b"a.example"), padding]), 16_384);
    assert_eq!(sniff(&long), name("a.example"), "a hello that is longer than the bound");
    assert_eq!(sniff(&long[..200]), name("a.example"), "the rest of it is not waited for");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _found = sniff(&bytes);
        let _found = sniff(&[&[22, 3, 1][..], &field(2, &bytes)].concat());
        let _found = sniff(&records(&[&[1][..], &field(3, &bytes)].concat(), 64));
    }

    #[test]
    fn a_hello_with_one_byte_changed_says_the_same_in_pieces_and_whole(at in 0..150usize, byte: u8) {
        let mut bytes = records(&hello(&[grease(), sni(b"www.example.com")]), 50);
        if let Some(changed) = bytes.get_mut(at) {
            *changed = byte;
        }
        let mut sniffer = Sniffer::new();
        for byte in &bytes {
            sniffer.see(&[*byte]);
        }
        proptest::prop_assert_eq!(sniffer.found(), &sniff(&bytes));
    }
}
