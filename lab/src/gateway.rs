//! The programs of pgw, run in the gateway's namespace as an operator would run them, but with
//! short intervals, and with an end at any moment that a test chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::lab::eventually;
use crate::net::GATEWAY;
use crate::rest::Rest;
use crate::{command, pki, sandbox};

/// Of the range in which forwarders listen.
pub const FIRST_PORT: u16 = 15_001;
pub const STATE: &str = "/run/lab/state";
pub const RUN: &str = "/run/lab/run";
pub const LOGS: &str = "/run/lab/log";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Api,
    Agent,
    Ui,
    Tunneld,
}

pub struct Gateway {
    settings: BTreeMap<String, String>,
    /// How many files a program that is started may open at most; otherwise as many as the lab.
    files: Option<u32>,
    running: BTreeMap<Program, Child>,
}

impl Program {
    /// Those that every gateway has; tunnels are for the tests of tunnels.
    pub const ALL: [Self; 3] = [Self::Api, Self::Agent, Self::Ui];

    pub fn name(self) -> &'static str {
        match self {
            Self::Api => "pgw-api",
            Self::Agent => "pgw-agent",
            Self::Ui => "pgw-ui",
            Self::Tunneld => "pgw-tunneld",
        }
    }

    fn health(self) -> &'static str {
        match self {
            Self::Api => "http://127.0.0.1:8080/healthz",
            Self::Agent => "http://127.0.0.1:9090/healthz",
            Self::Ui => "http://127.0.0.1:8081/healthz",
            Self::Tunneld => "http://127.0.0.1:8444/healthz",
        }
    }
}

/// Short, so that a test is; the rest is as it comes.
pub fn settings() -> BTreeMap<String, String> {
    [
        ("PGW_STATE_DIR", STATE),
        ("PGW_RUN_DIR", RUN),
        ("PGW_HEALTH_URL", "http://origin/probe"),
        ("PGW_HEALTH_INTERVAL", "1s"),
        ("PGW_HEALTH_TIMEOUT", "2s"),
        ("PGW_DNS_RESOLVERS", "tcp://203.0.113.10:53"),
        ("PGW_RECONCILE_INTERVAL", "1s"),
        ("SSL_CERT_FILE", pki::CA_FILE),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Where cargo has put it: beside the lab's own program, or one folder up from a test's.
pub fn path(program: &str) -> Result<PathBuf> {
    let own = sandbox::own_program()?;
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not built; run: cargo build --workspace"))
}

impl Gateway {
    pub fn new(settings: BTreeMap<String, String>) -> Result<Self> {
        for folder in [STATE, RUN, LOGS] {
            fs::create_dir_all(folder)?;
        }
        Ok(Self { settings, files: None, running: BTreeMap::new() })
    }

    /// For what is started from now on, as on a small machine.
    pub fn limit_files(&mut self, most: u32) {
        self.files = Some(most);
    }

    /// Starts it with an environment of its own, and returns when it answers.
    pub async fn start(&mut self, program: Program) -> Result<()> {
        self.start_with(program, &[]).await
    }

    pub async fn start_with(&mut self, program: Program, extra: &[(&str, &str)]) -> Result<()> {
        self.launch(program, extra)?;
        self.answers(program).await
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self, program: Program, extra: &[(&str, &str)]) -> Result<()> {
        ensure!(!self.running.contains_key(&program), "{} runs already", program.name());
        let log = fs::File::options().create(true).append(true).open(log_path(program.name()))?;
        let path = path(program.name())?;
        // Set behind nsenter, so that even a PATH with nothing in it can be tried.
        let extra: Vec<String> = extra.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let limit = self.files.map(|most| format!("--nofile={most}:{most}"));
        let limit = limit.iter().flat_map(|limit| ["/usr/bin/prlimit", limit.as_str()]);
        let words: Vec<&str> = ["/usr/bin/env"]
            .into_iter()
            .chain(extra.iter().map(String::as_str))
            .chain(limit)
            .chain(path.to_str())
            .collect();
        let mut command = command::program(GATEWAY, &words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&self.settings);
        command.stdout(log.try_clone()?).stderr(Stdio::from(log)).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{} cannot be started", program.name()))?;
        self.running.insert(program, child);
        Ok(())
    }

    pub async fn answers(&mut self, program: Program) -> Result<()> {
        let what = format!("{} answers on /healthz", program.name());
        let child = self.running.get_mut(&program).context("it was not started")?;
        eventually(&what, async || {
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status}", program.name());
            }
            Ok(Rest::status(program.health()).await.is_ok_and(|status| status == 200).then_some(()))
        })
        .await
    }

    /// As the kernel would, when memory is short.
    pub async fn kill(&mut self, program: Program) -> Result<()> {
        let mut child =
            self.running.remove(&program).with_context(|| format!("{} is not running", program.name()))?;
        child.kill().await.with_context(|| format!("{} cannot be killed", program.name()))
    }

    /// As an operator would.
    pub async fn stop(&mut self, program: Program) -> Result<ExitStatus> {
        self.signal(program, Signal::TERM)?;
        let mut child =
            self.running.remove(&program).with_context(|| format!("{} is not running", program.name()))?;
        let ended = tokio::time::timeout(command::LIMIT, child.wait()).await;
        Ok(ended.with_context(|| format!("{} does not stop when asked to", program.name()))??)
    }

    /// It keeps its sockets and answers nobody.
    pub fn freeze(&self, program: Program) -> Result<()> {
        self.signal(program, Signal::STOP)
    }

    pub fn thaw(&self, program: Program) -> Result<()> {
        self.signal(program, Signal::CONT)
    }

    fn signal(&self, program: Program, signal: Signal) -> Result<()> {
        let pid = self.pid(program).with_context(|| format!("{} is not running", program.name()))?;
        signal_pid(pid, signal)
    }

    /// Whoever has ended by itself may be started again.
    pub fn forget_ended(&mut self) {
        self.running.retain(|_program, child| matches!(child.try_wait(), Ok(None)));
    }

    pub fn is_running(&self, program: Program) -> bool {
        self.running.contains_key(&program)
    }

    pub fn pid(&self, program: Program) -> Option<u32> {
        self.running.get(&program).and_then(Child::id)
    }
}

/// Process ids of the forwarders, by port, as the kernel knows them: nobody's word is taken.
pub fn forwarders() -> Result<BTreeMap<u16, BTreeSet<u32>>> {
    let mut found: BTreeMap<u16, BTreeSet<u32>> = BTreeMap::new();
    for (pid, line) in command_lines()? {
        let mut words = line.split('\0').skip_while(|word| !word.ends_with("pgw-fwd"));
        if words.next().is_none() {
            continue;
        }
        let port = words.skip_while(|word| *word != "--port").nth(1).and_then(|port| port.parse().ok());
        if let Some(port) = port {
            found.entry(port).or_default().insert(pid);
        }
    }
    Ok(found)
}

/// The command line of every process of the lab, words parted by NUL.
pub fn command_lines() -> Result<Vec<(u32, String)>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that ends meanwhile is gone.
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        lines.push((pid, String::from_utf8_lossy(&line).into_owned()));
    }
    Ok(lines)
}

pub fn kill_pid(pid: u32) -> Result<()> {
    signal_pid(pid, Signal::KILL)
}

/// It keeps its sockets and answers nobody, until it is thawed.
pub fn freeze_pid(pid: u32) -> Result<()> {
    signal_pid(pid, Signal::STOP)
}

pub fn thaw_pid(pid: u32) -> Result<()> {
    signal_pid(pid, Signal::CONT)
}

fn signal_pid(pid: u32, signal: Signal) -> Result<()> {
    let known = Pid::from_raw(pid.cast_signed()).context("no process has this id")?;
    kill_process(known, signal).with_context(|| format!("process {pid} cannot be sent {signal:?}"))
}

pub fn log_path(program: &str) -> PathBuf {
    PathBuf::from(LOGS).join(format!("{program}.log"))
}

/// The end of every log, for a test that failed.
pub fn log_tails(lines: usize) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(LOGS).into_iter().flatten().flatten() {
        let log = fs::read_to_string(entry.path()).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        let tail =
            all.split_at_checked(all.len().saturating_sub(lines)).map_or(all.as_slice(), |(_, tail)| tail);
        text.push_str(&format!(
            "--- {} ({} lines)\n{}\n",
            entry.path().display(),
            all.len(),
            tail.join("\n")
        ));
    }
    text
}

/// The flag file of a port, if it is there.
pub fn flag_file(port: u16) -> PathBuf {
    PathBuf::from(STATE).join("ports").join(port.to_string())
}

/// A moment for something that has no signal of its own.
pub const GLANCE: Duration = Duration::from_millis(10);
