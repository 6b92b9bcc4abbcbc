use std::net::Ipv4Addr;

use pgw_lab::mmdb::countries;

use super::*;

const NL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 21);
const DE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 22);

fn told(geoip: &GeoIp, ip: Ipv4Addr) -> Option<String> {
    geoip.country(ip.into()).map(|country| country.to_string())
}

#[test]
fn a_file_tells_countries_and_says_nothing_of_addresses_that_it_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("country.mmdb");
    fs::write(&file, countries(&[(NL, "NL"), (DE, "DE")])).unwrap();
    let geoip = GeoIp::open(Some(file));
    assert_eq!((geoip.trouble(), geoip.warning()), (None, None));
    assert_eq!((told(&geoip, NL).as_deref(), told(&geoip, DE).as_deref()), (Some("NL"), Some("DE")));
    assert_eq!(told(&geoip, Ipv4Addr::new(203, 0, 113, 23)), None);
    assert_eq!(geoip.country("2001:db8::1".parse().unwrap()), None, "a file of IPv4 knows no other");
}

#[test]
fn a_file_that_is_missing_or_is_none_is_one_warning_and_no_country_is_known() {
    let unset = GeoIp::open(None);
    assert_eq!((unset.trouble().as_deref(), unset.warning()), (Some("PGW_GEOIP_FILE is not set"), None));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("country.mmdb");
    let whole = countries(&[(NL, "NL")]);
    for content in [None, Some(&b""[..]), Some(b"not a database"), Some(&whole[..whole.len() / 2])] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let geoip = GeoIp::open(Some(file.clone()));
        let why = geoip.warning().unwrap();
        assert!(why.contains("country.mmdb cannot be used") && !why.contains('\n'), "{why}");
        assert_eq!(told(&geoip, NL), None);
    }
    assert!(GeoIp::open(Some(dir.path().to_owned())).warning().unwrap().contains("no file"));
}

/// No byte of it, wherever it is wrong, ends the program or makes it say what is no country.
#[test]
fn a_file_that_is_wrong_anywhere_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("country.mmdb");
    let whole = countries(&[(NL, "NL"), (DE, "DE")]);
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut broken = whole.clone();
            broken[at] ^= flip;
            fs::write(&file, &broken).unwrap();
            let geoip = GeoIp { read: RwLock::new(read(&file)), file: Some(file.clone()) };
            let _whatever_it_says = (told(&geoip, NL), told(&geoip, DE));
        }
    }
}

#[test]
fn a_file_that_changes_is_read_once_it_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("country.mmdb");
    let geoip = GeoIp::open(Some(file.clone()));
    let mut seen = None;
    let mut look = || {
        let (now, changed) = geoip.look_again(seen);
        seen = Some(now);
        changed
    };
    assert!(!look() && !look(), "it is missing as before");
    fs::write(&file, countries(&[(NL, "NL")])).unwrap();
    assert!(!look(), "somebody may be writing it");
    assert!(look());
    assert_eq!(told(&geoip, NL).as_deref(), Some("NL"));
    assert!(!look());
    fs::write(&file, countries(&[(NL, "NL"), (DE, "DE")])).unwrap();
    assert!(!look() && look());
    assert_eq!(told(&geoip, DE).as_deref(), Some("DE"));
    fs::remove_file(&file).unwrap();
    assert!(!look() && look());
    assert_eq!(told(&geoip, DE), None);
}
