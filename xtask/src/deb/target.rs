//! For which machine a package is, and what it takes to build for it.

use std::path::{Path, PathBuf};

use crate::run::{Failed, cargo, foreground, output, with_env};

pub(crate) struct Target {
    /// As Debian names it.
    pub(crate) architecture: &'static str,
    /// As the compiler and the tools around it do; none for this machine.
    other: Option<&'static str>,
    tools: &'static str,
}

/// Debian's name, the compiler's, and what begins the names of the tools.
const KNOWN: &[(&str, &str, &str)] = &[
    ("amd64", "x86_64-unknown-linux-gnu", "x86_64-linux-gnu"),
    ("arm64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu"),
];

impl Target {
    pub(crate) fn here() -> Result<Self, Failed> {
        let own = output("dpkg", &["--print-architecture"])?;
        let (architecture, _, tools) = known(own.trim())?;
        Ok(Self { architecture, other: None, tools })
    }

    /// Fails with what is missing, before anything is built.
    pub(crate) fn named(name: &str) -> Result<Self, Failed> {
        let here = Self::here()?;
        if here.architecture == name {
            return Ok(here);
        }
        let (architecture, triple, tools) = known(name)?;
        let sysroot = output("rustc", &["--print", "sysroot"])?;
        let mut missing = Vec::new();
        if !Path::new(sysroot.trim()).join("lib/rustlib").join(triple).exists() {
            missing.push(format!("Rust's standard library for it (rustup target add {triple})"));
        }
        let compiler = format!("{tools}-gcc");
        if output("sh", &["-c", &format!("command -v {compiler} || true")])?.trim().is_empty() {
            missing.push(format!("a C compiler for it (apt-get install gcc-{tools} libc6-dev-{name}-cross)"));
        }
        if missing.is_empty() {
            Ok(Self { architecture, other: Some(triple), tools })
        } else {
            Err(Failed(format!("to build for {name} here, there lacks {}", missing.join(", and "))))
        }
    }

    pub(crate) fn build(&self, what: &[&str]) -> Result<(), Failed> {
        let mut words = [&["build", "--release"], what].concat();
        let Some(triple) = self.other else { return cargo(&words) };
        words.extend(["--target", triple]);
        let linker = format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase().replace('-', "_"));
        with_env(&words, &[(&linker, &format!("{}-gcc", self.tools))])
    }

    /// As the kernel calls it.
    pub(crate) fn processor(&self) -> &'static str {
        self.tools.split('-').next().unwrap_or(self.tools)
    }

    pub(crate) fn is_this_machine(&self) -> bool {
        self.other.is_none()
    }

    pub(crate) fn built(&self, program: &str) -> PathBuf {
        let folder = PathBuf::from("target");
        self.other.map_or(folder.clone(), |triple| folder.join(triple)).join("release").join(program)
    }

    /// What `cargo tree` is to look at.
    pub(crate) fn for_tree(&self) -> Vec<&str> {
        self.other.map_or_else(Vec::new, |triple| vec!["--target", triple])
    }

    /// Names of functions stay in `target/`; the package does not need them.
    pub(crate) fn strip(&self, program: &Path) -> Result<(), Failed> {
        let strip = format!("{}-strip", self.tools);
        foreground(
            strip.as_ref(),
            &["--strip-unneeded", "--remove-section=.comment", &program.display().to_string()],
        )
    }

    /// The packages that hold the libraries which the programs load, as a `Depends` line has them.
    pub(crate) fn libraries(&self, programs: &[PathBuf]) -> Result<String, Failed> {
        // It insists on the folder of a source package.
        let place = "target/deb/source/debian";
        std::fs::create_dir_all(place).map_err(crate::run::cannot(place))?;
        let control = "Source: pgw\n\nPackage: pgw\nArchitecture: any\n";
        std::fs::write(format!("{place}/control"), control).map_err(crate::run::cannot(place))?;
        let programs = programs.iter().map(|program| format!("../../../{}", program.display()));
        let line =
            format!("cd target/deb/source && dpkg-shlibdeps -O {}", programs.collect::<Vec<_>>().join(" "));
        let found = output("sh", &["-c", &line])?;
        let libraries = found.trim().strip_prefix("shlibs:Depends=");
        libraries.map(str::to_owned).ok_or_else(|| Failed(format!("dpkg-shlibdeps said {found:?}")))
    }
}

fn known(name: &str) -> Result<(&'static str, &'static str, &'static str), Failed> {
    KNOWN
        .iter()
        .find(|(debian, ..)| *debian == name)
        .copied()
        .ok_or_else(|| Failed(format!("{name} is nothing that pgw is packaged for; amd64 and arm64 are")))
}
