//! A program out of a Debian package of which nothing else is wanted: no user, no service that would
//! be started with the machine. It lies beside what cargo has built, and goes with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::run::{Failed, foreground, judge, step};

pub(crate) struct Tool {
    pub(crate) package: &'static str,
    pub(crate) file: &'static str,
}

/// Reads metrics as Prometheus will.
pub(crate) const PROMTOOL: Tool = Tool { package: "prometheus", file: "/usr/bin/promtool" };

impl Tool {
    pub(crate) fn fetch(&self) -> Result<(), Failed> {
        let own = std::env::current_exe().map_err(|error| Failed(format!("where am I? {error}")))?;
        let name = Path::new(self.file).file_name().unwrap_or_default();
        let to = own.with_file_name(name);
        if to.exists() {
            return Ok(());
        }
        if Path::new(self.file).exists() {
            return symlink(self.file, &to).map_err(|error| self.failed(&error.to_string()));
        }
        step(&format!("fetch {} out of Debian's {}", name.display(), self.package), || {
            let place = own.with_file_name(format!("{}.package", self.package));
            let fetched = self.unpack(&place, &to);
            // What is left of it is in nobody's way.
            let _cleared = fs::remove_dir_all(&place);
            fetched
        })
    }

    fn unpack(&self, place: &Path, to: &Path) -> Result<(), Failed> {
        let io = |error: std::io::Error| self.failed(&error.to_string());
        let unpacked = place.join("unpacked");
        fs::create_dir_all(&unpacked).map_err(io)?;
        let words = ["download", "-q", self.package];
        judge(Command::new("apt-get").args(words).current_dir(place), "apt-get", &words)
            .map_err(|Failed(why)| self.failed(&why))?;
        let packages = fs::read_dir(place).map_err(io)?.flatten().map(|entry| entry.path());
        let package = packages
            .filter(|path| path.extension().is_some_and(|kind| kind == "deb"))
            .find_map(|path| path.to_str().map(str::to_owned))
            .ok_or_else(|| self.failed("no package came"))?;
        foreground("dpkg-deb".as_ref(), &["-x", &package, &unpacked.to_string_lossy()])?;
        fs::rename(unpacked.join(self.file.trim_start_matches('/')), to).map_err(io)
    }

    fn failed(&self, why: &str) -> Failed {
        let Self { package, file } = self;
        Failed(format!(
            "{file} cannot be had: {why}; install Debian's {package}, or put it beside what cargo builds"
        ))
    }
}
