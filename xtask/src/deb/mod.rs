//! The Debian packages: what was built to ship and what lies in `packaging/` and `systemd/`, put where
//! it goes (`contents.rs`).

use std::fs;
use std::path::PathBuf;

use crate::install::{self, Package as Needed};
use crate::run::{Failed, cannot, foreground, step};
use crate::web;

mod clients;
mod contents;
mod copyright;
mod stage;
mod target;

use contents::{BUILT, CONNECT, GATEWAY, HANDED_OUT, Package};
use stage::Stage;
use target::Target;

const TOOLS: &[Needed] = &[
    Needed { name: "dpkg-dev", why: "the libraries that programs need" },
    Needed { name: "lintian", why: "packages as Debian expects them" },
];

/// How it is packed: what is shipped, and what is used here once.
const SMALL: &str = "-Zxz";
const QUICKLY: &str = "-Znone";

/// As `cargo xtask deb` is called: for this machine, or for another one.
pub(crate) fn run(rest: &[&str]) -> Result<(), Failed> {
    let target = match rest {
        [] => Target::here()?,
        ["--arch", name] => Target::named(name)?,
        other => return Err(Failed(format!("what is {:?}? see `cargo xtask help`", other.join(" ")))),
    };
    install::missing(TOOLS)?;
    let mut packages = build(&target)?;
    packages.push(hand_out(&target)?);
    lint(&packages)?;
    packages.iter().for_each(|package| eprintln!("{}", package.display()));
    Ok(())
}

/// This version, and one of the gateway's that is a little older: what an upgrade begins with.
pub(crate) fn for_tests() -> Result<(), Failed> {
    install::missing(TOOLS)?;
    let target = Target::here()?;
    lint(&build(&target)?)?;
    pack(&GATEWAY, &target, &format!("{}~before", version()?), QUICKLY, &[]).map(drop)
}

fn build(target: &Target) -> Result<Vec<PathBuf>, Failed> {
    let version = version()?;
    web::build()?;
    step("build what ships", || target.build(BUILT))?;
    [GATEWAY, CONNECT].iter().map(|package| pack(package, target, &version, SMALL, &[])).collect()
}

fn hand_out(target: &Target) -> Result<PathBuf, Failed> {
    let clients = clients::build(target)?;
    pack(&HANDED_OUT, target, &version()?, SMALL, &clients)
}

/// `clients`: which file is handed out under which name.
fn pack(
    package: &Package,
    target: &Target,
    version: &str,
    packed: &str,
    clients: &[(PathBuf, String)],
) -> Result<PathBuf, Failed> {
    let name = package.name;
    let file = PathBuf::from(format!("target/deb/{name}_{version}_{}.deb", target.architecture));
    step(&format!("package {name} {version}"), || {
        let stage = Stage::empty(target, package)?;
        stage.fill()?;
        clients::put(&stage, clients)?;
        stage.describe(version)?;
        // Whole or not at all: somebody may be installing the last one.
        let (from, to) = (stage.root().display().to_string(), format!("{}.new", file.display()));
        foreground("dpkg-deb".as_ref(), &["--root-owner-group", packed, "--build", &from, &to])?;
        fs::rename(&to, &file).map_err(cannot(&to))
    })?;
    Ok(file)
}

/// The workspace's, which the changelog must tell of.
fn version() -> Result<String, Failed> {
    let version = env!("CARGO_PKG_VERSION");
    let changelog =
        fs::read_to_string("packaging/debian/changelog").map_err(cannot("packaging/debian/changelog"))?;
    if changelog.starts_with(&format!("pgw ({version}) ")) {
        Ok(version.to_owned())
    } else {
        Err(Failed(format!("packaging/debian/changelog does not begin with version {version}")))
    }
}

fn lint(packages: &[PathBuf]) -> Result<(), Failed> {
    let files: Vec<String> = packages.iter().map(|package| package.display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    step("lintian", || {
        let call = ["--allow-root", "--no-cfg", "--fail-on", "error,warning"];
        foreground("lintian".as_ref(), &[&call, files.as_slice()].concat())
    })
}
