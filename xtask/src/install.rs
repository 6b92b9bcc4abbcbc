//! What is missing comes from Debian, or from cargo's registry, and only what is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::run::{Failed, cargo, output, step};

pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) why: &'static str,
}

/// A program that cargo builds from its registry.
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) program: &'static str,
}

impl Crate {
    /// Builds it once, into a folder of its own.
    pub(crate) fn fetch(&self, root: &str) -> Result<(), Failed> {
        let Self { name, version, program } = self;
        if Path::new(root).join("bin").join(program).exists() {
            return Ok(());
        }
        // What is optimised is compared with what is optimised.
        let words = ["install", "--quiet", "--root", root, "--version", version, name];
        step(&format!("build {name} {version}"), || cargo(&words))
    }
}

/// Debian asks this file before it starts a service that was just installed. The lab runs the
/// proxies itself, in namespaces, and tests their database; none of them is wanted as a service of
/// the machine.
const POLICY: &str = "/usr/sbin/policy-rc.d";

pub(crate) fn missing<'a>(wanted: impl IntoIterator<Item = &'a Package>) -> Result<(), Failed> {
    let missing: Vec<&Package> = wanted.into_iter().filter(|package| !installed(package.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Package { name, why } in &missing {
        eprintln!("== missing: {name} ({why})");
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("apt-get install --no-install-recommends {}", names.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failed(format!(
            "this is no Debian; install by hand what its packages hold: {}",
            names.join(" ")
        )));
    }
    let become_root: &[&str] = if is_root()? { &[] } else { &["sudo", "--non-interactive"] };
    let no_services = NoServices::ask(become_root.is_empty());
    let installed = step("install from Debian", || {
        apt(become_root, &["update", "-q"])?;
        apt(become_root, &[&["install", "-q", "-y", "--no-install-recommends"], names.as_slice()].concat())
    });
    drop(no_services);
    installed.map_err(|Failed(why)| Failed(format!("{why}; as root, run: {by_hand}")))
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> Result<bool, Failed> {
    Ok(output("id", &["-u"])?.trim() == "0")
}

fn apt(become_root: &[&str], arguments: &[&str]) -> Result<(), Failed> {
    let line = [become_root, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    let (program, arguments) = line.split_first().ok_or_else(|| Failed("an empty command".into()))?;
    crate::run::foreground(program.as_ref(), arguments)
}

/// While it lives, installing starts no service.
struct NoServices(bool);

impl NoServices {
    fn ask(root: bool) -> Self {
        if !root || Path::new(POLICY).exists() {
            return Self(false);
        }
        let written = fs::write(POLICY, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)));
        Self(written.is_ok())
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.0 && fs::remove_file(POLICY).is_err() {
            eprintln!("xtask: {POLICY} could not be removed; as long as it is there, no service starts");
        }
    }
}
