//! Under which names a service may be asked (`PGW_ALLOWED_HOSTS`). A page of somebody else can have
//! a name of its own lead to the gateway's address, and a browser then takes the two for one. Such
//! a name is not among these; and an address is no name that anybody could have led elsewhere.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub const HOSTS_ALLOWED: &str = "names of this machine such as gw.example.org, with commas between them";
const MOST_HOSTS: usize = 64;
/// Of which a name of this machine is made in a LAN without a domain of its own.
const LOCAL_DOMAINS: [&str; 4] = ["local", "lan", "home.arpa", "internal"];

/// Addresses and localhost are allowed beside them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHosts(BTreeSet<String>);

/// What a `Host` header holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// In lower case, without a dot at its end and without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl AllowedHosts {
    /// What can be meant where nothing is set.
    pub fn of_machine(name: &str) -> Self {
        let name = plain(name);
        let short = name.split('.').next().unwrap_or_default().to_owned();
        let mut names: BTreeSet<String> =
            LOCAL_DOMAINS.iter().map(|domain| format!("{short}.{domain}")).collect();
        names.extend([name, short]);
        names.retain(|name| is_name(name));
        Self(names)
    }

    pub fn parse_list(text: &str) -> Option<Self> {
        let names: BTreeSet<String> = text.split(',').map(|name| plain(name.trim())).collect();
        let fits = (1..=MOST_HOSTS).contains(&names.len()) && names.iter().all(|name| is_name(name));
        fits.then_some(Self(names))
    }

    /// Asked of a `Host` header.
    pub fn allow(&self, host: &str) -> bool {
        Authority::parse(host).is_some_and(|Authority { host, .. }| {
            host.parse::<IpAddr>().is_ok() || host == "localhost" || self.0.contains(&host)
        })
    }
}

impl Authority {
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (address.parse::<Ipv6Addr>().ok()?.to_string(), port)
            }
            None => {
                let end = text.find(':').unwrap_or(text.len());
                let (host, port) = text.split_at_checked(end)?;
                let host = plain(host);
                if !is_name(&host) && host.parse::<Ipv4Addr>().is_err() {
                    return None;
                }
                (host, port)
            }
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            Some(_) | None => return None,
        };
        Some(Self { host, port })
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// As the DNS and /etc/hosts know names, and with the underscore that some have all the same.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_the_machines_own_names_are_allowed_and_others_are_not() {
        let hosts = AllowedHosts::of_machine("GW");
        for (host, want) in [
            ("192.168.2.1", true),
            ("192.168.2.1:8080", true),
            ("[fd00::1]:8080", true),
            ("[::1]", true),
            ("localhost:8081", true),
            ("gw", true),
            ("Gw.LAN:8081", true),
            ("gw.local.", true),
            ("gw.home.arpa:80", true),
            ("gw.internal", true),
            ("gw.evil.example", false),
            ("evil.example:8080", false),
            ("192.168.2.1.evil.example", false),
            ("gw.lan.evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
            (":8080", false),
            ("gw:80:80", false),
            ("gw:x", false),
            ("gw:99999", false),
            ("[::1", false),
            ("[gw]", false),
            ("::1", false),
            ("me@gw", false),
            ("gw/x", false),
            ("gw gw", false),
        ] {
            assert_eq!(hosts.allow(host), want, "{host:?}");
        }
    }

    #[test]
    fn a_machine_with_a_domain_has_its_short_name_too() {
        let hosts = AllowedHosts::of_machine("gw.example.org");
        for (host, want) in
            [("gw.example.org", true), ("gw", true), ("gw.lan", true), ("gw.example.com", false)]
        {
            assert_eq!(hosts.allow(host), want, "{host}");
        }
        assert!(!AllowedHosts::of_machine("").allow("lan"));
    }

    #[test]
    fn names_that_are_given_take_the_place_of_those_that_are_guessed() {
        let hosts = AllowedHosts::parse_list("proxy.example.org, Other").unwrap();
        for (host, want) in
            [("proxy.example.org:443", true), ("other", true), ("gw", false), ("10.0.0.1", true)]
        {
            assert_eq!(hosts.allow(host), want, "{host}");
        }
        for refused in ["", ",", "a,,b", "*", "*.example.org", "http://gw", "gw:8080", "a b"] {
            assert_eq!(AllowedHosts::parse_list(refused), None, "{refused:?}");
        }
    }
}
