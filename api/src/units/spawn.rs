//! Forwarders as children of the API that outlive it: the data plane does not end with the
//! control plane, and an API that starts finds what an earlier one left behind.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use pgw_core::control::socket_path;
use tokio::sync::{mpsc, oneshot};

use super::control::{ControlError, Line};
use super::{Told, UnitError, Units};
use keeper::{Keeper, Order};
use process::Process;

mod keeper;
mod process;
mod sight;

const NAME: &str = "pgw-fwd";
/// Everything else in the API's environment is none of a forwarder's business.
const PASSED_ON: [&str; 5] = ["PGW_LOG", "SSL_CERT_FILE", "SSL_CERT_DIR", "PATH", "LANG"];
const ASKED_AT_ONCE: usize = 32;

/// What is run for a port: this, then `--port` and the number.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub leading: Vec<OsString>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tempo {
    /// From being started to answering.
    pub(crate) start: Duration,
    /// From being asked to stop to being gone: a forwarder's drain, and a margin.
    pub(crate) drain: Duration,
    /// From being killed to being gone.
    pub(crate) kill: Duration,
    /// A forwarder that lived this long did not die of its own start.
    pub(crate) steady: Duration,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
}

pub struct Spawn {
    house: Arc<House>,
    keepers: Mutex<BTreeMap<u16, mpsc::Sender<Order>>>,
}

/// What the keepers of all ports share.
struct House {
    program: Program,
    state_dir: PathBuf,
    run_dir: PathBuf,
    passed_on: Vec<(&'static str, OsString)>,
    tempo: Tempo,
    told: Told,
}

impl Program {
    /// Beside this program, else in PATH. One that is found nowhere is expected beside this
    /// program, so that installing it is all there is to do.
    pub fn find() -> Result<Self, UnitError> {
        let own = env::current_exe()
            .map_err(|source| UnitError::System { what: "the path of this program".into(), source })?;
        let beside = own.with_file_name(NAME);
        let in_path = env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(beside.clone())
            .chain(env::split_paths(&in_path).map(|dir| dir.join(NAME)))
            .find(|path| path.is_file())
            .unwrap_or(beside);
        // As the kernel will call it.
        Ok(Self { path: fs::canonicalize(&path).unwrap_or(path), leading: Vec::new() })
    }
}

impl Default for Tempo {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(10),
            drain: Duration::from_secs(12),
            kill: Duration::from_secs(2),
            steady: Duration::from_secs(60),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
        }
    }
}

impl Spawn {
    pub fn new(program: Program, state_dir: &Path, run_dir: &Path, told: Told) -> Self {
        Self::with_tempo(program, state_dir, run_dir, told, Tempo::default())
    }

    pub(crate) fn with_tempo(
        program: Program,
        state_dir: &Path,
        run_dir: &Path,
        told: Told,
        tempo: Tempo,
    ) -> Self {
        let passed_on = PASSED_ON.into_iter().filter_map(|name| Some((name, env::var_os(name)?))).collect();
        let (state_dir, run_dir) = (state_dir.to_owned(), run_dir.to_owned());
        let house = House { program, state_dir, run_dir, passed_on, tempo, told };
        Self { house: Arc::new(house), keepers: Mutex::default() }
    }

    /// The one task that may touch this port's forwarder.
    fn keeper(&self, port: u16) -> mpsc::Sender<Order> {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let hire = || {
            let (orders, taken) = mpsc::channel(1);
            tokio::spawn(Keeper::new(port, self.house.clone()).run(taken));
            orders
        };
        keepers.entry(port).or_insert_with(hire).clone()
    }

    async fn order(
        &self,
        port: u16,
        order: fn(oneshot::Sender<Result<(), UnitError>>) -> Order,
    ) -> Result<(), UnitError> {
        let (reply, answer) = oneshot::channel();
        // A keeper that is gone drops the reply, which is noticed below.
        let _ = self.keeper(port).send(order(reply)).await;
        answer.await.unwrap_or_else(|_dropped| {
            Err(UnitError::Failed {
                port,
                result: "not tried".into(),
                detail: "this program is stopping".into(),
            })
        })
    }
}

#[async_trait]
impl Units for Spawn {
    async fn start(&self, port: u16) -> Result<(), UnitError> {
        self.order(port, Order::Start).await
    }

    async fn stop(&self, port: u16) -> Result<(), UnitError> {
        self.order(port, Order::Stop).await
    }

    /// Those that hold a control socket, whoever started them, and whether or not they answer.
    async fn running(&self) -> Result<BTreeSet<u16>, UnitError> {
        let dir = socket_path(&self.house.run_dir, 0).with_file_name("");
        let what = dir.display().to_string();
        let listed = tokio::task::spawn_blocking(move || ports_with_sockets(&dir)).await;
        let ports = listed
            .unwrap_or_else(|join| Err(io::Error::other(join)))
            .map_err(|source| UnitError::System { what, source })?;
        let held = |port: u16| async move {
            let line = Line::open(&self.house.run_dir, port).await;
            (!matches!(line, Err(ControlError::Nobody(_)))).then_some(port)
        };
        let asked = futures_util::stream::iter(ports.into_iter().map(held));
        Ok(asked.buffer_unordered(ASKED_AT_ONCE).filter_map(std::future::ready).collect().await)
    }

    /// A child's sockets end with it.
    async fn keeps(&self, _port: u16) -> bool {
        false
    }

    fn kind(&self) -> &'static str {
        "spawn"
    }
}

fn ports_with_sockets(dir: &Path) -> io::Result<Vec<u16>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        // The first forwarder makes it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let port = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => entry.file_name().to_str()?.strip_suffix(".sock")?.parse().ok().map(Ok),
        Err(error) => Some(Err(error)),
    };
    entries.filter_map(port).collect()
}

impl House {
    fn spawn(&self, port: u16) -> Result<Process, UnitError> {
        #[expect(clippy::disallowed_methods, reason = "the one place that starts a forwarder")]
        let mut command = tokio::process::Command::new(&self.program.path);
        command
            .args(&self.program.leading)
            .args(["--port", &port.to_string()])
            .env_clear()
            .envs(self.passed_on.iter().map(|(name, value)| (name, value)))
            .env("PGW_STATE_DIR", &self.state_dir)
            .env("PGW_RUN_DIR", &self.run_dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // What a terminal sends to the API's group, Ctrl-C above all, is not meant for it.
            .process_group(0)
            .kill_on_drop(false);
        let started = command.spawn().and_then(Process::spawned);
        started.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => UnitError::NotInstalled {
                what: self.program.path.display().to_string(),
                remedy: "install pgw-fwd beside pgw-api",
            },
            _ => UnitError::System { what: self.program.path.display().to_string(), source },
        })
    }
}
