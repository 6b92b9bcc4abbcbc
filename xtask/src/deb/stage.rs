//! One package, put together in a folder as it will lie on the machine.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::contents::Package;
use super::copyright;
use super::target::Target;
use crate::run::{Failed, cannot, foreground, output};

/// These lie beside what is installed, for the package manager; a package has those that it needs.
const SCRIPTS: &[&str] = &["config", "postinst", "prerm", "postrm"];
const NOTES: &[&str] = &["templates", "conffiles"];

const PROGRAMS: &str = "usr/bin";
const PAGES: &str = "usr/share/man/man8";
const OWN_PAGES: &str = "usr/share/man/man1";
/// For which shell, and where it looks.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/pgw"),
    ("zsh", "usr/share/zsh/vendor-completions/_pgw"),
    ("fish", "usr/share/fish/vendor_completions.d/pgw.fish"),
];

pub(super) struct Stage<'a> {
    root: PathBuf,
    target: &'a Target,
    package: &'a Package,
}

impl<'a> Stage<'a> {
    pub(super) fn empty(target: &'a Target, package: &'a Package) -> Result<Self, Failed> {
        let root = PathBuf::from("target/deb").join(target.architecture).join(package.name);
        match fs::remove_dir_all(&root) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot("target/deb")(error));
            }
            Ok(()) | Err(_) => Ok(Self { root, target, package }),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn fill(&self) -> Result<(), Failed> {
        for program in self.package.programs {
            let Some((first, others)) = program.names.split_first() else { continue };
            let to = self.root.join(PROGRAMS).join(first);
            self.put(&self.target.built(program.built), &format!("{PROGRAMS}/{first}"), 0o755)?;
            self.target.strip(&to)?;
            for name in others {
                symlink(first, self.root.join(PROGRAMS).join(name)).map_err(cannot(name))?;
            }
            for name in program.names.iter().filter(|name| self.package.command_line != Some(name)) {
                let page = format!("{name}.8");
                self.put(&Path::new("packaging/man").join(&page), &format!("{PAGES}/{page}"), 0o644)?;
            }
        }
        if let Some(name) = self.package.command_line {
            self.tell_of(name)?;
        }
        for (from, to) in self.package.files {
            if Path::new(from).is_dir() {
                for entry in fs::read_dir(from).map_err(cannot(from))? {
                    let entry = entry.map_err(cannot(from))?;
                    let name = entry.file_name();
                    self.put(&entry.path(), &format!("{to}/{}", name.to_string_lossy()), 0o644)?;
                }
            } else {
                self.put(Path::new(from), to, 0o644)?;
            }
        }
        let told = format!("usr/share/doc/{}", self.package.name);
        self.put(Path::new("packaging/debian/changelog"), &format!("{told}/changelog"), 0o644)?;
        copyright::write(&self.root.join(&told), self.target, self.package)?;
        // Debian wants these packed, and packed alike each time.
        for packed in [
            PAGES.to_owned(),
            OWN_PAGES.to_owned(),
            format!("{told}/changelog"),
            format!("{told}/third-party"),
        ] {
            let packed = self.root.join(packed);
            if packed.exists() {
                let packed = packed.display().to_string();
                foreground("gzip".as_ref(), &["--best", "--no-name", "--recursive", &packed])?;
            }
        }
        Ok(())
    }

    /// Its pages and completions, as it writes them itself.
    fn tell_of(&self, name: &str) -> Result<(), Failed> {
        let own = self.root.join(PROGRAMS).join(name).display().to_string();
        // What is for another machine does not run on this one.
        let call: &[&str] = if self.target.is_this_machine() {
            &[&own]
        } else {
            &[env!("CARGO"), "run", "--quiet", "--package", "pgw-cli", "--"]
        };
        let (program, first) = call.split_first().ok_or_else(|| Failed("an empty command".into()))?;
        let ask = |words: &[&str]| output(program, &[first, words].concat());
        let pages = self.place(OWN_PAGES)?.display().to_string();
        ask(&["man", &pages])?;
        for page in fs::read_dir(&pages).map_err(cannot(&pages))?.flatten() {
            fs::set_permissions(page.path(), fs::Permissions::from_mode(0o644)).map_err(cannot(&pages))?;
        }
        COMPLETIONS.iter().try_for_each(|(shell, to)| self.write(to, &ask(&["completions", shell])?))
    }

    /// What the package manager reads.
    pub(super) fn describe(&self, version: &str) -> Result<(), Failed> {
        let debian = Path::new("packaging/debian").join(self.package.name);
        for (names, mode) in [(SCRIPTS, 0o755), (NOTES, 0o644)] {
            for name in names {
                let from = debian.join(name);
                if from.exists() {
                    self.put(&from, &format!("DEBIAN/{name}"), mode)?;
                }
            }
        }
        let root = self.root.display().to_string();
        let size = output("du", &["--summarize", "--apparent-size", "--block-size=1024", &root])?;
        let size = size.split_whitespace().next().unwrap_or("0");
        let programs: Vec<PathBuf> = self
            .package
            .programs
            .iter()
            .filter_map(|program| program.names.first())
            .map(|name| self.root.join(PROGRAMS).join(name))
            .collect();
        let libraries = if programs.is_empty() { String::new() } else { self.target.libraries(&programs)? };
        let control = fs::read_to_string(debian.join("control")).map_err(cannot("control"))?;
        let control = control
            .replace("@VERSION@", version)
            .replace("@ARCHITECTURE@", self.target.architecture)
            .replace("@SIZE@", size)
            .replace("@LIBRARIES@", &libraries);
        self.write("DEBIAN/control", &control)?;
        let sums = output(
            "sh",
            &[
                "-c",
                &format!("cd {root} && find * -path DEBIAN -prune -o -type f -print | sort | xargs md5sum"),
            ],
        )?;
        self.write("DEBIAN/md5sums", &sums)
    }

    pub(super) fn put(&self, from: &Path, to: &str, mode: u32) -> Result<(), Failed> {
        let told = from.display().to_string();
        let to = self.place(to)?;
        fs::copy(from, &to).map_err(cannot(&told))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).map_err(cannot(&told))
    }

    fn write(&self, to: &str, text: &str) -> Result<(), Failed> {
        let place = self.place(to)?;
        fs::write(&place, text).map_err(cannot(to))?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).map_err(cannot(to))
    }

    /// Where it goes, in a folder that is there.
    pub(super) fn place(&self, path: &str) -> Result<PathBuf, Failed> {
        let place = self.root.join(path);
        folder_of(&place)?;
        Ok(place)
    }
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
