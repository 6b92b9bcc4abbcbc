//! What this machine says of itself: files, interfaces and programs, which a test brings along.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// Its words on standard output, if it ended well; the error is why it did not.
pub(super) type Run = dyn Fn(&[&str]) -> Result<String, String>;

pub(super) struct Machine {
    /// `/`, but for a test.
    pub(super) root: PathBuf,
    pub(super) interfaces: BTreeMap<String, Interface>,
    pub(super) run: Box<Run>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Interface {
    pub(super) addresses: BTreeSet<Ipv4Addr>,
    pub(super) is_up: bool,
}

/// A port on which somebody waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    /// Who it is, as far as whoever asks may know.
    pub(super) program: Option<String>,
    inode: String,
}

/// It is asked small things.
const PATIENCE: &str = "5";
const LISTENS: [(&str, &str, &str); 4] =
    [("tcp", "tcp", "0A"), ("tcp", "tcp6", "0A"), ("udp", "udp", "07"), ("udp", "udp6", "07")];

impl Machine {
    pub(super) fn this() -> Self {
        Self { root: PathBuf::from("/"), interfaces: interfaces().unwrap_or_default(), run: Box::new(run) }
    }

    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(path.trim_start_matches('/')))
    }

    /// A kernel setting, such as `net/ipv4/ip_forward`.
    pub(super) fn sysctl(&self, name: &str) -> Option<String> {
        Some(self.read(&format!("/proc/sys/{name}")).ok()?.trim().to_owned())
    }

    /// The interfaces that lead everywhere, the best first.
    pub(super) fn default_routes(&self) -> Vec<String> {
        let table = self.read("/proc/net/route").unwrap_or_default();
        let mut routes: Vec<(u64, String)> = table.lines().skip(1).filter_map(default_route).collect();
        routes.sort();
        let mut names: Vec<String> = routes.into_iter().map(|(_, name)| name).collect();
        names.dedup();
        names
    }

    pub(super) fn listeners(&self) -> Vec<Listener> {
        let mut found = Vec::new();
        for (protocol, file, state) in LISTENS {
            let table = self.read(&format!("/proc/net/{file}")).unwrap_or_default();
            found.extend(table.lines().skip(1).filter_map(|line| listener(line, protocol, state)));
        }
        let owners = self.owners();
        for one in &mut found {
            one.program = owners.get(&one.inode).cloned();
        }
        found
    }

    /// Programs by the sockets that they have, as far as they may be seen.
    fn owners(&self) -> BTreeMap<String, String> {
        let mut owners = BTreeMap::new();
        let processes = fs::read_dir(self.root.join("proc")).into_iter().flatten().flatten();
        for process in processes.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
                let Ok(target) = fs::read_link(file.path()) else { continue };
                let target = target.to_string_lossy();
                if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                    owners.insert(inode.to_owned(), name.trim().to_owned());
                }
            }
        }
        owners
    }
}

fn interfaces() -> io::Result<BTreeMap<String, Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in getifaddrs()? {
        // An address may carry a label, which is no interface: `eth0:1`.
        let name = entry.interface_name.split(':').next().unwrap_or_default().to_owned();
        let interface = found.entry(name).or_default();
        interface.is_up |= entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        interface.addresses.extend(entry.address.and_then(|found| found.as_sockaddr_in().map(|v4| v4.ip())));
    }
    Ok(found)
}

fn run(words: &[&str]) -> Result<String, String> {
    #[expect(clippy::disallowed_methods, reason = "it asks the programs that an administrator would ask")]
    let mut command = std::process::Command::new("timeout");
    command.arg(PATIENCE).args(words).env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
    Err(match output.status.code() {
        Some(127) => format!("{} is not installed", words.first().unwrap_or(&"it")),
        _ if said.is_empty() => output.status.to_string(),
        _ => said,
    })
}

fn default_route(line: &str) -> Option<(u64, String)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, "00000000", _gateway, flags, _, _, metric, "00000000", ..] = words.as_slice() else {
        return None;
    };
    let is_up = u32::from_str_radix(flags, 16).ok()? & 1 == 1;
    is_up.then_some((metric.parse().ok()?, (*name).to_owned()))
}

fn listener(line: &str, protocol: &'static str, state: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _remote, found, _, _, _, _, _, inode, ..] = words.as_slice() else { return None };
    let port = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
    (*found == state).then(|| Listener { protocol, port, program: None, inode: (*inode).to_owned() })
}
