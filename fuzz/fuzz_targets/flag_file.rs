//! The flag file, a forwarder's whole configuration.
#![no_main]

use pgw_core::flag::{FLAG_VERSION, FlagFile};
use pgw_core::ids::ClientIp;
use pgw_core::proxy::Host;

const PORT: u16 = 15001;
/// The password of the seeds.
const PASSWORD: &str = "p:a@ss";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let flag = match FlagFile::read(bytes, PORT) {
        Ok(flag) => flag,
        Err(error) => return assert!(!format!("{error} {error:?}").contains(PASSWORD)),
    };
    assert_eq!((flag.version, flag.port), (FLAG_VERSION, PORT));
    assert!(FlagFile::read(bytes, PORT + 1).is_err(), "another port's");
    assert!(!format!("{:?}", flag.upstreams).contains(PASSWORD) || twice(bytes));
    let half = bytes.trim_ascii_end();
    assert!(FlagFile::read(&half[..half.len() - 1], PORT).is_err(), "written in part");
    let written = serde_json::to_vec(&flag).expect("what is read can be written");
    assert_eq!(FlagFile::read(&written, PORT).expect("and read again"), flag);
    assert_eq!(ClientIp::new(flag.client.ip_cidr.addr()), Ok(flag.client.ip_cidr));
    for upstream in &flag.upstreams {
        let host: Host = upstream.upstream.host.as_str().parse().expect("a host that can be dialled");
        assert_eq!(host, upstream.upstream.host);
    }
    for resolver in flag.dns.iter().flat_map(|dns| &dns.resolvers) {
        assert_eq!(resolver.to_string().parse().as_ref(), Ok(resolver));
    }
});

/// The password may stand in a name as well, where it is none.
fn twice(bytes: &[u8]) -> bool {
    bytes.windows(PASSWORD.len()).filter(|window| *window == PASSWORD.as_bytes()).count() != 1
}
