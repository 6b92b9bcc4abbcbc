//! Programs, run so that whoever waits sees what he waits for.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// In words, for the last line.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    eprintln!("== {name}");
    let start = Instant::now();
    let done = work();
    let word = if done.is_ok() { "done" } else { "FAILED" };
    eprintln!("== {name}: {word} after {:.0} s", start.elapsed().as_secs_f32());
    done
}

pub(crate) fn cargo(arguments: &[&str]) -> Result<(), Failed> {
    with_env(arguments, &[])
}

pub(crate) fn with_env(arguments: &[&str], env: &[(&str, &str)]) -> Result<(), Failed> {
    let mut command = Command::new(env!("CARGO"));
    judge(command.args(arguments).envs(env.iter().copied()), "cargo", arguments)
}

/// Becomes that program, so that Ctrl-C reaches it and nobody else, and the prompt comes back
/// only when it has ended. Returns only if it cannot be started.
pub(crate) fn instead(program: &OsStr, arguments: &[&str]) -> Failed {
    let error = Command::new(program).args(arguments).exec();
    Failed(format!("{} cannot be run: {error}", program.to_string_lossy()))
}

pub(crate) fn foreground(program: &OsStr, arguments: &[&str]) -> Result<(), Failed> {
    judge(Command::new(program).args(arguments), &program.to_string_lossy(), arguments)
}

pub(crate) fn output(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failed(format!("{program} cannot be run: {error}")))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failed(format!("{program} {} ended with {}", arguments.join(" "), output.status)))
    }
}

/// A program of this workspace, as `cargo build` left it.
pub(crate) fn built(name: &str) -> Result<OsString, Failed> {
    there(here()?.with_file_name(name))
}

/// The same, as `cargo build --release` left it.
pub(crate) fn built_to_ship(name: &str) -> Result<OsString, Failed> {
    let mut path = here()?;
    path.pop();
    path.set_file_name("release");
    there(path.join(name))
}

fn here() -> Result<PathBuf, Failed> {
    std::env::current_exe().map_err(|error| Failed(format!("where am I? {error}")))
}

fn there(path: PathBuf) -> Result<OsString, Failed> {
    if path.exists() { Ok(path.into()) } else { Err(Failed(format!("{} was not built", path.display()))) }
}

/// For errors of files: what could not be done with which.
pub(crate) fn cannot(what: &str) -> impl Fn(std::io::Error) -> Failed + '_ {
    move |error| Failed(format!("{what}: {error}"))
}

pub(crate) fn judge(command: &mut Command, name: &str, arguments: &[&str]) -> Result<(), Failed> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed(format!("{name} {} ended with {status}", arguments.join(" ")))),
        Err(error) => Err(Failed(format!("{name} cannot be run: {error}"))),
    }
}
