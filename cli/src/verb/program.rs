//! `pgw backup` and `pgw restore`: pgw-api does it, as the owner of the state directory, with the
//! service's settings. Whatever root would touch there itself, the service could not open again.
//! Its owner may not write where a backup is wanted, so the file is handed over through the state
//! directory, under one name: what was left behind by a call that was killed goes with the next.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use pgw_core::files;
use pgw_core::settings::Environment;

use crate::desk::Desk;
use crate::error::Error;
use crate::installed::{FOLDER, Installed};

const HANDED_OVER: &str = ".pgw.backup";

#[derive(Args)]
pub(crate) struct Backup {
    /// A new file. With it whoever has it can open the secrets: it holds their key
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// What backup has written. pgw-api must be stopped
    file: PathBuf,
}

struct Owner {
    state_dir: PathBuf,
    uid: u32,
    gid: u32,
}

impl Backup {
    pub(crate) async fn run(self, desk: &mut Desk) -> Result<(), Error> {
        if self.file.exists() {
            return Err(Error::Failed(format!("{} is there already", self.file.display())));
        }
        let installed = Installed::read(Path::new(FOLDER), "pgw-api", &Environment);
        let owner = Owner::of(&installed)?;
        let between = owner.between()?;
        desk.progress("pgw-api is writing the backup …");
        let done = run("backup", &between, &owner, &installed).await;
        desk.progress("");
        done.and_then(|()| hand_over(&between, &self.file, None).map_err(failed(&self.file)))?;
        files::remove(&between).map_err(failed(&between))?;
        desk.line(&format!("{} is written; it holds the key of the secrets", self.file.display()))
    }
}

impl Restore {
    pub(crate) async fn run(self, desk: &mut Desk) -> Result<(), Error> {
        let installed = Installed::read(Path::new(FOLDER), "pgw-api", &Environment);
        let owner = Owner::of(&installed)?;
        let between = owner.between()?;
        hand_over(&self.file, &between, Some(&owner)).map_err(failed(&self.file))?;
        desk.progress("pgw-api is restoring …");
        let done = run("restore", &between, &owner, &installed).await;
        desk.progress("");
        files::remove(&between).map_err(failed(&between))?;
        done?;
        desk.line("it is restored; now: systemctl start pgw-api")
    }
}

fn failed(file: &Path) -> impl Fn(io::Error) -> Error {
    move |error| Error::Failed(format!("{}: {error}", file.display()))
}

impl Owner {
    fn of(installed: &Installed<'_>) -> Result<Self, Error> {
        let state_dir = installed.state_dir();
        let about = fs::metadata(&state_dir).map_err(|error| {
            let told = state_dir.display();
            Error::Failed(format!("{told}: {error}; it is done on the gateway itself (PGW_STATE_DIR)"))
        })?;
        let own = rustix::process::geteuid().as_raw();
        if own != 0 && own != about.uid() {
            return Err(Error::NotAllowed("it is done by root, on the gateway itself".to_owned()));
        }
        Ok(Self { state_dir, uid: about.uid(), gid: about.gid() })
    }

    /// Nothing is there any more.
    fn between(&self) -> Result<PathBuf, Error> {
        let between = self.state_dir.join(HANDED_OVER);
        files::remove(&between).map_err(failed(&between))?;
        Ok(between)
    }
}

/// Whole or not at all, and over nothing that is there.
fn hand_over(from: &Path, to: &Path, owner: Option<&Owner>) -> io::Result<()> {
    let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = to.with_file_name(format!(".{}.new", name.to_string_lossy()));
    files::remove(&beside)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    // The file, and not whatever has this name by now: the folder may be another user's.
    if let Some(owner) = owner {
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
    }
    file.sync_all()?;
    let linked = fs::hard_link(&beside, to);
    // It also brings the new name to the disk.
    files::remove(&beside)?;
    linked
}

async fn run(verb: &str, file: &Path, owner: &Owner, installed: &Installed<'_>) -> Result<(), Error> {
    let program = program();
    #[expect(clippy::disallowed_methods, reason = "a backup is made by the program that owns the database")]
    let mut command = std::process::Command::new(&program);
    command.arg(verb).arg(file).envs(installed.values());
    if rustix::process::geteuid().is_root() {
        command.uid(owner.uid).gid(owner.gid);
    }
    let status = tokio::process::Command::from(command).kill_on_drop(true).status().await;
    let status = status.map_err(|error| Error::Failed(format!("{}: {error}", program.display())))?;
    // It has said why itself.
    if status.success() { Ok(()) } else { Err(Error::Shown) }
}

/// Beside this one, as they are installed; else wherever PATH has it.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("pgw-api"));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("pgw-api"))
}
