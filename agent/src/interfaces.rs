//! The network interfaces of this machine: is the LAN's there, and which addresses are our own?

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use nix::ifaddrs::getifaddrs;

/// More are not helpful in a message.
const MOST_NAMED: usize = 12;

pub trait Interfaces: Send + Sync {
    fn list(&self) -> io::Result<Present>;
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    pub names: BTreeSet<String>,
    /// What is sent there ends here: our own, and everybody's on a link.
    pub addresses: BTreeSet<Ipv4Addr>,
}

/// Of this network namespace.
pub struct Kernel;

impl Interfaces for Kernel {
    fn list(&self) -> io::Result<Present> {
        let mut present = Present::default();
        for entry in getifaddrs()? {
            let found = [entry.address, entry.broadcast].into_iter().flatten();
            present.addresses.extend(found.filter_map(|found| found.as_sockaddr_in().map(|v4| v4.ip())));
            // An address may carry a label, which is no interface: `eth0:1`.
            let name = entry.interface_name.split(':').next().unwrap_or_default();
            present.names.insert(name.to_owned());
        }
        Ok(present)
    }
}

impl Present {
    /// Rules are by name: they hold whether the interface is there or not.
    pub fn lacks_lan(&self, lan_if: &str) -> Option<String> {
        if self.names.contains(lan_if) {
            return None;
        }
        let names: Vec<&str> = self.names.iter().map(String::as_str).take(MOST_NAMED).collect();
        Some(format!(
            "PGW_LAN_IF={lan_if} does not exist (there is {}); its rules are in place for when it appears",
            names.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_missing_is_told_with_those_that_are_there() {
        let names = ["eth0", "lo"].map(str::to_owned).into();
        let present = Present { names, ..Present::default() };
        assert_eq!(present.lacks_lan("eth0"), None);
        let told = present.lacks_lan("ens19").unwrap();
        assert!(told.starts_with("PGW_LAN_IF=ens19 does not exist (there is eth0, lo)"), "{told}");
    }

    #[test]
    fn this_machine_has_a_loopback_interface_and_its_address() {
        let present = Kernel.list().unwrap();
        assert!(
            present.names.contains("lo") && present.addresses.contains(&Ipv4Addr::LOCALHOST),
            "{present:?}"
        );
    }
}
