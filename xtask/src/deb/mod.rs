//! The Debian package: what was built to ship and what lies in `packaging/` and `systemd/`, put
//! where it goes. Everything that is installed stands in one of the lists below.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::install::{self, Package};
use crate::run::{Failed, cannot, foreground, output, step};
use crate::web;

mod copyright;
mod target;

use target::Target;

pub(crate) const TOOLS: &[Package] = &[
    Package { name: "dpkg-dev", why: "the libraries that programs need" },
    Package { name: "lintian", why: "a package as Debian expects it" },
];

/// A program of the package is one line here, and has a page in `packaging/man`.
const PROGRAMS: &[&str] = &["pgw-api", "pgw-agent", "pgw-fwd", "pgw-ui"];

/// What goes where. A folder's files go there all.
const FILES: &[(&str, &str)] = &[
    ("systemd", "usr/lib/systemd/system"),
    ("packaging/man", "usr/share/man/man8"),
    ("packaging/pgw.sysusers", "usr/lib/sysusers.d/pgw.conf"),
    ("packaging/pgw.tmpfiles", "usr/lib/tmpfiles.d/pgw.conf"),
    ("packaging/50-pgw.rules", "usr/share/polkit-1/rules.d/50-pgw.rules"),
    ("packaging/pgw.env", "etc/pgw/pgw.env"),
    ("packaging/debian/changelog", "usr/share/doc/pgw/changelog"),
    ("docs/operations.md", "usr/share/doc/pgw/operations.md"),
    ("docs/guarantees.md", "usr/share/doc/pgw/guarantees.md"),
    ("docs/known-issues.md", "usr/share/doc/pgw/known-issues.md"),
];

/// These lie beside what is installed, for the package manager.
const SCRIPTS: &[&str] = &["config", "postinst", "prerm", "postrm"];
const NOTES: &[&str] = &["templates", "conffiles"];

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
    let package = build(&target, &version()?)?;
    lint(&package)?;
    eprintln!("{}", package.display());
    Ok(())
}

/// This version, and one that is a little older: what an upgrade begins with.
pub(crate) fn for_tests() -> Result<(), Failed> {
    install::missing(TOOLS)?;
    let (target, version) = (Target::here()?, version()?);
    lint(&build(&target, &version)?)?;
    stage(&target, &format!("{version}~before"), QUICKLY).map(drop)
}

fn build(target: &Target, version: &str) -> Result<PathBuf, Failed> {
    web::build()?;
    step("build what ships", || target.build(PROGRAMS))?;
    stage(target, version, SMALL)
}

fn stage(target: &Target, version: &str, packed: &str) -> Result<PathBuf, Failed> {
    let root = PathBuf::from("target/deb").join(target.architecture);
    let mut package = PathBuf::new();
    step(&format!("package {version}"), || {
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("target/deb")(error));
            }
            Ok(()) | Err(_) => {}
        }
        fill(&root, target)?;
        describe(&root, target, version)?;
        package = PathBuf::from(format!("target/deb/pgw_{version}_{}.deb", target.architecture));
        // Whole or not at all: somebody may be installing the last one.
        let (from, to) = (root.display().to_string(), format!("{}.new", package.display()));
        foreground("dpkg-deb".as_ref(), &["--root-owner-group", packed, "--build", &from, &to])?;
        fs::rename(&to, &package).map_err(cannot(&to))
    })?;
    Ok(package)
}

fn fill(root: &Path, target: &Target) -> Result<(), Failed> {
    for program in PROGRAMS {
        let to = root.join("usr/bin").join(program);
        put(&target.built(program), &to, 0o755)?;
        target.strip(&to)?;
    }
    for (from, to) in FILES {
        if Path::new(from).is_dir() {
            for entry in fs::read_dir(from).map_err(cannot(from))? {
                let entry = entry.map_err(cannot(from))?;
                put(&entry.path(), &root.join(to).join(entry.file_name()), 0o644)?;
            }
        } else {
            put(Path::new(from), &root.join(to), 0o644)?;
        }
    }
    copyright::write(&root.join("usr/share/doc/pgw"), target)?;
    // Debian wants these packed, and packed alike each time.
    for folder in ["usr/share/man/man8", "usr/share/doc/pgw/changelog", "usr/share/doc/pgw/third-party"] {
        let folder = root.join(folder).display().to_string();
        foreground("gzip".as_ref(), &["--best", "--no-name", "--recursive", &folder])?;
    }
    Ok(())
}

/// What the package manager reads.
fn describe(root: &Path, target: &Target, version: &str) -> Result<(), Failed> {
    let debian = Path::new("packaging/debian");
    for name in SCRIPTS {
        put(&debian.join(name), &root.join("DEBIAN").join(name), 0o755)?;
    }
    for name in NOTES {
        put(&debian.join(name), &root.join("DEBIAN").join(name), 0o644)?;
    }
    let size =
        output("du", &["--summarize", "--apparent-size", "--block-size=1024", &root.display().to_string()])?;
    let size = size.split_whitespace().next().unwrap_or("0");
    let control = fs::read_to_string(debian.join("control")).map_err(cannot("packaging/debian/control"))?;
    let control = control
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", target.architecture)
        .replace("@SIZE@", size)
        .replace("@LIBRARIES@", &target.libraries(root, PROGRAMS)?);
    write(&root.join("DEBIAN/control"), &control, 0o644)?;
    let sums = output(
        "sh",
        &["-c", &format!("cd {} && find etc usr -type f | sort | xargs md5sum", root.display())],
    )?;
    write(&root.join("DEBIAN/md5sums"), &sums, 0o644)
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

fn lint(package: &Path) -> Result<(), Failed> {
    let package = package.display().to_string();
    step("lintian", || {
        foreground("lintian".as_ref(), &["--allow-root", "--no-cfg", "--fail-on", "error,warning", &package])
    })
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<(), Failed> {
    folder_of(to)?;
    let told = from.display().to_string();
    fs::copy(from, to).map_err(cannot(&told))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(cannot(&told))
}

fn write(to: &Path, text: &str, mode: u32) -> Result<(), Failed> {
    folder_of(to)?;
    let told = to.display().to_string();
    fs::write(to, text).map_err(cannot(&told))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(cannot(&told))
}

/// With the modes that they have on the machine, whatever the umask here is.
fn folder_of(file: &Path) -> Result<(), Failed> {
    let Some(folder) = file.parent() else { return Ok(()) };
    if folder.exists() {
        return Ok(());
    }
    folder_of(folder)?;
    let told = folder.display().to_string();
    fs::create_dir(folder).map_err(cannot(&told))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).map_err(cannot(&told))
}
