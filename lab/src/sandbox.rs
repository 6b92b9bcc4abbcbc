//! The three processes of a lab: the one outside, which anybody may kill; the first one inside,
//! which reaps; and the one that does the work, in namespaces that end with it.
//!
//! A lab dies with whoever wanted it: the outer process holds the only writing end of a pipe
//! (the lifeline). When it closes, by whatever death, the first process inside ends, and the
//! kernel then kills everything else in the pid namespace.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, geteuid, kill_process, wait};

const INIT: &str = "__init";
const INSIDE: &str = "__inside";

/// Which of the three processes this is, with the words that are meant for it.
pub enum Stage {
    Outside(Vec<String>),
    Init(Vec<String>),
    Inside(Vec<String>),
}

/// A running lab, seen from outside.
pub struct Sandbox {
    unshare: Child,
    lifeline: Lifeline,
}

/// Cut or dropped for good, the lab ends.
#[derive(Clone)]
pub struct Lifeline(Arc<Mutex<Option<ChildStdin>>>);

impl Lifeline {
    pub fn cut(&self) {
        let mut pipe = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *pipe = None;
    }
}

impl Stage {
    pub fn of_this_process() -> Self {
        let mut words: Vec<String> = std::env::args().skip(1).collect();
        match words.first().map(String::as_str) {
            Some(INIT) => Self::Init(words.split_off(1)),
            Some(INSIDE) => Self::Inside(words.split_off(1)),
            Some(_) | None => Self::Outside(words),
        }
    }
}

impl Sandbox {
    /// Starts this very program again, inside. Root needs no user namespace; anybody else gets
    /// one in which he is root.
    pub fn start(words: &[String], output: impl Fn() -> Stdio) -> Result<Self> {
        let mut command = plain("unshare");
        if !geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.arg(own_program()?).arg(INIT).args(words);
        command.stdin(Stdio::piped()).stdout(output()).stderr(output());
        // Ctrl-C in a terminal goes to a whole process group. The outer process decides then.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut unshare = command.spawn().context("unshare (Debian package util-linux) cannot be started")?;
        let lifeline = Lifeline(Arc::new(Mutex::new(unshare.stdin.take())));
        Ok(Self { unshare, lifeline })
    }

    /// Everything that the lab writes, and how it ended.
    pub fn output(mut self) -> Result<(ExitStatus, String)> {
        let mut stderr = self.unshare.stderr.take();
        let errors = std::thread::spawn(move || read_all(stderr.as_mut()));
        let mut text = read_all(self.unshare.stdout.as_mut());
        text.push_str(&errors.join().unwrap_or_default());
        Ok((self.wait()?, text))
    }

    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.unshare.wait().context("the lab's process is lost")
    }

    /// The first process inside, as the machine numbers it: for `nsenter`.
    pub fn first_process(&self) -> Result<u32> {
        let id = self.unshare.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        children.split_whitespace().next().and_then(|pid| pid.parse().ok()).context("the lab has ended")
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.unshare.try_wait(), Ok(None))
    }

    pub fn lifeline(&self) -> Lifeline {
        self.lifeline.clone()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.lifeline.cut();
        let _gone = self.unshare.wait();
    }
}

/// What to say when namespaces are refused: the test that needs them fails with this.
pub const FIX: &str = "a lab needs namespaces: run as root, or allow user namespaces \
(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces=10000, and on machines with \
AppArmor kernel.apparmor_restrict_unprivileged_userns=0)";

/// PID 1 of the lab: starts the worker, reaps whatever else ends, and ends with the worker or
/// with the lifeline.
pub fn init(words: &[String]) -> ExitCode {
    match reap(words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn reap(words: &[String]) -> Result<ExitCode> {
    if std::process::id() != 1 {
        bail!("the lab's first process is not the first in its namespace");
    }
    let worker = plain(own_program()?).arg(INSIDE).args(words).stdin(Stdio::null()).spawn()?;
    let worker = Pid::from_child(&worker);
    std::thread::spawn(move || {
        let mut end = [0];
        // Nobody ever writes: this returns when the outer process is gone.
        let _closed = std::io::stdin().read(&mut end);
        let _gone = kill_process(worker, Signal::KILL);
    });
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == worker => {
                let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                return Ok(code.map_or(ExitCode::FAILURE, ExitCode::from));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the lab's processes"),
        }
    }
}

/// Runs what the process is there for. Two threads: a lab waits much and computes little.
pub fn work<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(what)
}

pub fn own_program() -> Result<PathBuf> {
    std::env::current_exe().context("the path of this program is not known")
}

fn read_all(from: Option<&mut impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _so_far = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "a lab consists of programs")]
fn plain(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}
