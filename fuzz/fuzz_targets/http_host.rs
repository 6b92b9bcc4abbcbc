//! The Host of a request, compared with a reader that is too simple to be wrong.
#![no_main]

use pgw_core::sni::Sniff;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Sniff::Name(name) = pgw_fuzz::sniffed(bytes) else { return };
    // A hello's name is the other target's business.
    let Some(text) = bytes.first().filter(|first| first.is_ascii_alphabetic()).map(|_| bytes) else { return };
    let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let head: Vec<String> = lines
        .take_while(|line| !line.is_empty())
        .map(|line| String::from_utf8_lossy(line).to_ascii_lowercase())
        .collect();
    let hosts: Vec<&str> = head.iter().filter_map(|line| line.strip_prefix("host:")).collect();
    let [host] = hosts.as_slice() else { panic!("{name} of {hosts:?}") };
    let host = host.trim_matches([' ', '\t']);
    let host = host.rsplit_once(':').map_or(host, |(host, _port)| host);
    assert_eq!(host.strip_suffix('.').unwrap_or(host), name);
    let target = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    assert!(target == "*" || target.starts_with('/'), "said to a proxy: {target}");
});
