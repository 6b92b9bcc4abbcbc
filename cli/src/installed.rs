//! The settings of the gateway on this machine: as systemd gives them to one of its programs, and
//! what the environment says otherwise.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pgw_core::settings::Source;

/// For all programs; then each has one of its own, which counts more.
const SHARED: [&str; 2] = ["interfaces.env", "pgw.env"];
pub(crate) const FOLDER: &str = "/etc/pgw";
const STATE_DIR: &str = "/var/lib/pgw";

pub(crate) struct Installed<'a> {
    values: BTreeMap<String, String>,
    environment: &'a dyn Source,
    /// Files that are there and cannot be read, with the reason.
    pub(crate) unread: Vec<String>,
}

impl<'a> Installed<'a> {
    /// As the unit of `program` reads them.
    pub(crate) fn read(folder: &Path, program: &str, environment: &'a dyn Source) -> Self {
        let (mut values, mut unread) = (BTreeMap::new(), Vec::new());
        let own = format!("{program}.env");
        for name in SHARED.into_iter().chain([own.as_str()]) {
            let file = folder.join(name);
            match fs::read_to_string(&file) {
                Ok(text) => values.extend(text.lines().filter_map(setting)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unread.push(format!("{}: {error}", file.display())),
            }
        }
        Self { values, environment, unread }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        let set = self.get("PGW_STATE_DIR").filter(|value| !value.trim().is_empty());
        PathBuf::from(set.unwrap_or_else(|| STATE_DIR.to_owned()))
    }

    /// For a program that is started: all that the files say.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&String, String)> {
        self.values.keys().filter_map(|name| Some((name, self.get(name)?)))
    }
}

impl Source for Installed<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.environment.get(name).or_else(|| self.values.get(name).cloned())
    }
}

/// A line of an EnvironmentFile, without its rarer quotings.
fn setting(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.starts_with(['#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    let value = value.trim();
    let quoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some((name.trim().to_owned(), quoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_own_file_and_the_environment_count_more_and_comments_and_others_files_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("interfaces.env", "PGW_LAN_IF=ens1\nPGW_WAN_IF=eth1\n");
        write("pgw-ui.env", "PGW_UI_LISTEN=0.0.0.0:80\n");
        write("pgw-agent.env", "PGW_WAN_IF=eth9\n");
        write("pgw.env", "# PGW_WAN_IF=no\n;x\n PGW_LAN_IF = \"ens2\" \nPGW_DNS='gateway'\nodd\n");
        let environment = BTreeMap::from([("PGW_DNS", "upstream")]);
        let installed = Installed::read(folder.path(), "pgw-ui", &environment);
        for (name, want) in [
            ("PGW_LAN_IF", Some("ens2")),
            ("PGW_WAN_IF", Some("eth1")),
            ("PGW_DNS", Some("upstream")),
            ("PGW_UI_LISTEN", Some("0.0.0.0:80")),
            ("x", None),
        ] {
            assert_eq!(installed.get(name).as_deref(), want, "{name}");
        }
        assert_eq!(installed.state_dir(), Path::new("/var/lib/pgw"));
        assert!(installed.unread.is_empty());
    }
}
