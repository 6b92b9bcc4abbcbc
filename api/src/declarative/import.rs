//! Many proxies at once, as sellers hand them out: which of them are new, and what they are called.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::proxy::{Credentials, ProxyAddress};

use super::document::{Password, ProxyEntry};
use crate::store::NewProxy;

/// A line that could be read.
#[derive(Debug, Clone)]
pub struct Offered {
    /// None is called by host and port.
    pub name: Option<String>,
    pub address: ProxyAddress,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    New(NewProxy),
    /// The proxy of this name, maybe of a line before, is the same.
    Known(String),
    /// Another proxy has the name that was asked for.
    NameTaken(String),
}

/// Two proxies are the same if they are dialled in the same way. The password belongs to that:
/// some sellers say in it by which exit a connection is to go.
type Way = (String, Option<String>, Option<String>);

/// In the order of the lines: a line meets what those before it have made.
pub fn judge(offered: Vec<Offered>, known: &[ProxyEntry]) -> Vec<Outcome> {
    let mut register = Register::over(known);
    offered.into_iter().map(|offered| register.judge(offered)).collect()
}

/// What a proxy is called to which nobody gave a name: as it is, by host and port, or by a number
/// where another is called so. None: the one that is called so is the same, or another that is
/// called after it.
pub fn called(new: &NewProxy, known: &[ProxyEntry]) -> Option<String> {
    let mut register = Register::over(known);
    let is_there = register.names.contains(&new.name) && register.ways.contains_key(&way(new));
    (!is_there).then(|| register.free_name(new.name.clone()))
}

#[derive(Default)]
struct Register {
    names: BTreeSet<String>,
    ways: BTreeMap<Way, String>,
    /// How many were called by this host and port.
    numbers: BTreeMap<String, usize>,
}

impl Register {
    fn over(known: &[ProxyEntry]) -> Self {
        let mut register = Self::default();
        for entry in known {
            register.enter(way_of(entry), entry.name.clone());
        }
        register
    }

    /// None is a way that cannot be compared.
    fn enter(&mut self, way: Option<Way>, name: String) {
        if let Some(way) = way {
            self.ways.entry(way).or_insert_with(|| name.clone());
        }
        self.names.insert(name);
    }

    fn judge(&mut self, Offered { name, address }: Offered) -> Outcome {
        let new = |name| NewProxy::at(name, address.clone());
        let way = way(&new(String::new()));
        if let Some(name) = self.ways.get(&way) {
            return Outcome::Known(name.clone());
        }
        let name = match name {
            Some(name) if self.names.contains(&name) => return Outcome::NameTaken(name),
            Some(name) => name,
            None => self.free_name(address.host_and_port()),
        };
        self.enter(Some(way), name.clone());
        Outcome::New(new(name))
    }

    /// Sellers have one host and port for thousands of accounts: those are numbered.
    fn free_name(&mut self, base: String) -> String {
        let number = self.numbers.entry(base.clone()).or_insert(0);
        loop {
            *number += 1;
            let name = if *number == 1 { base.clone() } else { format!("{base} #{number}") };
            if !self.names.contains(&name) {
                return name;
            }
        }
    }
}

impl NewProxy {
    /// With nothing said of it but how it is dialled.
    pub fn at(name: String, address: ProxyAddress) -> Self {
        let ProxyAddress { scheme, host, port, credentials } = address;
        let (username, password) = match credentials {
            Some(Credentials { username, password }) => {
                (Some(username), Some(password).filter(|password| !password.expose().is_empty()))
            }
            None => (None, None),
        };
        let (note, labels) = (String::new(), BTreeMap::new());
        Self { name, scheme, host, port, username, password, enabled: true, note, labels }
    }
}

fn way(new: &NewProxy) -> Way {
    let password = new.password.as_ref().map(|password| password.expose().to_owned());
    (format!("{}://{}:{}", new.scheme, new.host, new.port), new.username.clone(), password)
}

fn way_of(entry: &ProxyEntry) -> Option<Way> {
    let password = match &entry.password {
        Password::Untold => return None,
        Password::None => None,
        Password::Is(secret) => Some(secret.expose().to_owned()),
    };
    Some((format!("{}://{}:{}", entry.scheme, entry.host, entry.port), entry.username.clone(), password))
}

#[cfg(test)]
mod tests {
    use pgw_core::proxy::Scheme;
    use pgw_core::redact::Secret;

    use super::*;

    fn offered(name: Option<&str>, address: &str) -> Offered {
        let address = ProxyAddress::parse(address, Scheme::Http).unwrap();
        Offered { name: name.map(str::to_owned), address }
    }

    fn entry(name: &str, address: &str) -> ProxyEntry {
        let new = NewProxy::at(name.to_owned(), offered(None, address).address);
        let password = new.password.map_or(Password::None, Password::Is);
        let NewProxy { name, scheme, host, port, username, enabled, note, labels, .. } = new;
        ProxyEntry { name, scheme, host, port, username, password, enabled, note, labels }
    }

    fn told(outcomes: &[Outcome]) -> Vec<String> {
        let words = |outcome: &Outcome| match outcome {
            Outcome::New(new) => format!("new {}", new.name),
            Outcome::Known(name) => format!("known {name}"),
            Outcome::NameTaken(name) => format!("taken {name}"),
        };
        outcomes.iter().map(words).collect()
    }

    #[test]
    fn a_proxy_is_known_by_the_way_it_is_dialled_and_not_by_its_name() {
        let known = [entry("exit", "gate.example:7777:bob:de"), entry("gate.example:80", "other.example:1")];
        let lines = [
            offered(None, "gate.example:7777:bob:de"),
            offered(Some("mine"), "gate.example:7777:bob:de"),
            offered(None, "gate.example:7777:bob:fr"),
            offered(None, "socks5://bob:de@gate.example:7777"),
            offered(None, "gate.example:7777:bob:fr"),
            offered(Some("exit"), "gate.example:7777"),
            offered(Some("exit two"), "gate.example:7777"),
            offered(None, "gate.example:80"),
        ];
        let want = [
            "known exit",
            "known exit",
            "new gate.example:7777",
            "new gate.example:7777 #2",
            "known gate.example:7777",
            "taken exit",
            "new exit two",
            "new gate.example:80 #2",
        ];
        assert_eq!(told(&judge(lines.to_vec(), &known)), want);
    }

    #[test]
    fn what_was_imported_once_is_known_from_then_on() {
        let lines: Vec<_> = (0..50).map(|n| offered(None, &format!("h.example:1:u{}:p", n % 40))).collect();
        let first = judge(lines.clone(), &[]);
        let made: Vec<ProxyEntry> = first
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::New(new) => {
                    let password = Password::Is(Secret::new("p"));
                    let username = new.username.clone();
                    Some(ProxyEntry { username, password, ..entry(&new.name, "h.example:1") })
                }
                _ => None,
            })
            .collect();
        assert_eq!(made.len(), 40);
        assert!(judge(lines, &made).iter().all(|outcome| matches!(outcome, Outcome::Known(_))));
    }

    #[test]
    fn a_password_that_cannot_be_opened_is_like_no_other() {
        let sealed = ProxyEntry { password: Password::Untold, ..entry("exit", "h.example:1:u") };
        assert_eq!(told(&judge(vec![offered(None, "h.example:1:u:")], &[sealed])), ["new h.example:1"]);
    }

    #[test]
    fn a_name_made_of_a_long_host_has_room_for_its_number() {
        let host = format!("{}.example", ["x".repeat(60), "y".repeat(60)].join("."));
        let lines: Vec<_> = (0..3).map(|n| offered(None, &format!("{host}:65535:u{n}:p"))).collect();
        for outcome in judge(lines, &[]) {
            assert!(matches!(outcome, Outcome::New(new) if new.name.len() <= 100));
        }
    }
}
