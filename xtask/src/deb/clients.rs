//! The tunnels' client for machines that get it from the gateway: as little as can be is expected of them.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::contents;
use super::stage::Stage;
use super::target::Target;
use crate::install::{self, Package as Needed};
use crate::run::{Failed, cannot, foreground, output, step, with_env};

/// Where the files are, and where the gateway looks for them: what a processor runs does not belong
/// below `share`, says Debian.
const PLACE: &str = "usr/lib/pgw/connect";
const KNOWN_AS: &str = "usr/share/pgw/connect";

struct Client {
    triple: &'static str,
    file: &'static str,
    built: &'static str,
    compiler: Needed,
    /// Which one it is, for what is built of C.
    env: (&'static str, &'static str),
    strip: &'static str,
}

const LINUX: Client = Client {
    triple: contents::LINUX,
    file: "pgw-connect-linux-x86_64",
    built: "pgw-connect",
    compiler: Needed { name: "musl-tools", why: "a client that runs on any Linux" },
    env: ("CC_x86_64_unknown_linux_musl", "musl-gcc"),
    strip: "strip",
};

const WINDOWS: Client = Client {
    triple: contents::WINDOWS,
    file: "pgw-connect-windows-x86_64.exe",
    built: "pgw-connect.exe",
    compiler: Needed { name: "gcc-mingw-w64-x86-64", why: "a client for Windows" },
    env: ("CC_x86_64_pc_windows_gnu", "x86_64-w64-mingw32-gcc"),
    strip: "x86_64-w64-mingw32-strip",
};

/// Which file is handed out under which name: processors are called as `uname` calls them, which is what
/// a machine that asks knows of itself.
pub(super) fn build(target: &Target) -> Result<Vec<(PathBuf, String)>, Failed> {
    let mut clients = Vec::new();
    // Debian has the C library for the machine's own processor only.
    let linux = if target.architecture == "amd64" {
        LINUX.build()
    } else {
        Err(Failed("no static C library for it".into()))
    };
    let named = |why: Failed| {
        let file = format!("pgw-connect-linux-{}", target.processor());
        eprintln!("xtask: {file} needs the C library of its machine: {}", why.0);
        let own = PathBuf::from(format!("target/deb/{file}"));
        std::fs::copy(target.built("pgw-connect"), &own).map_err(cannot("target/deb"))?;
        target.strip(&own)?;
        Ok((own, file))
    };
    clients.push(linux.or_else(named)?);
    match WINDOWS.build() {
        Ok(client) => clients.push(client),
        Err(Failed(why)) => eprintln!("xtask: there is no client for Windows: {why}"),
    }
    Ok(clients)
}

pub(super) fn put(stage: &Stage<'_>, clients: &[(PathBuf, String)]) -> Result<(), Failed> {
    for (from, name) in clients {
        stage.put(from, &format!("{PLACE}/{name}"), 0o755)?;
    }
    if clients.is_empty() {
        return Ok(());
    }
    symlink("../../lib/pgw/connect", stage.place(KNOWN_AS)?).map_err(cannot(KNOWN_AS))
}

impl Client {
    /// Fails with what is missing.
    fn build(&self) -> Result<(PathBuf, String), Failed> {
        self.standard_library()?;
        install::missing([&self.compiler])?;
        step(&format!("build {}", self.file), || {
            let words =
                ["build", "--release", "-p", "pgw-tunnel", "--no-default-features", "--bin", "pgw-connect"];
            with_env(&[&words[..], &["--target", self.triple]].concat(), &[self.env])
        })?;
        let to = PathBuf::from("target/deb").join(self.file);
        let built = PathBuf::from("target").join(self.triple).join("release").join(self.built);
        std::fs::copy(&built, &to).map_err(cannot(self.file))?;
        foreground(
            self.strip.as_ref(),
            &["--strip-unneeded", "--remove-section=.comment", &to.display().to_string()],
        )?;
        Ok((to, self.file.to_owned()))
    }

    fn standard_library(&self) -> Result<(), Failed> {
        let sysroot = output("rustc", &["--print", "sysroot"])?;
        if PathBuf::from(sysroot.trim()).join("lib/rustlib").join(self.triple).exists() {
            return Ok(());
        }
        foreground("rustup".as_ref(), &["target", "add", self.triple])
    }
}
