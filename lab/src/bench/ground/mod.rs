//! Where it is measured: a device, a gateway and the far end, each in a namespace of its own, and
//! two cables. The forwarder has a core to itself; the device and the far end share another, on
//! every machine, so that numbers of large and small ones have the same meaning.
//!
//! ```text
//!  device ──lan── gateway ──wan── far (upstream and origin)
//! ```

mod network;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::sched_getaffinity;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use super::delay::Distance;
use super::load::{Load, Outcome};
use super::{Part, delay, far};
use crate::net::GATEWAY;
use crate::{command, pki, sandbox};
pub(crate) use network::{DEVICE, STRANGER};
use network::{DEVICE_NS, FAR_NS};
pub(crate) use network::{LAN, WAN};

pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Where a resolver is asked that is nobody's.
pub(crate) const RESOLVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);
pub(crate) const RTT: Duration = Duration::from_millis(50);
pub(crate) const LOGS: &str = "/run/lab/log";
const PEM: &str = "/run/lab/far.pem";
/// Some forwarders have six for a connection.
const DESCRIPTORS: u64 = 65_536;
/// Of which so many are not for connections.
const OTHER_DESCRIPTORS: u64 = 600;
/// How many connections are held at most.
const MOST_HELD: usize = 10_000;
/// What a measurement may take beyond the time it was given.
const PATIENCE: Duration = Duration::from_secs(120);

/// One core for the forwarder, one for the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) forwarder: usize,
    pub(crate) ends: usize,
}

pub(crate) struct Ground {
    pub(crate) cores: Cores,
    /// Files that a process may have open.
    pub(crate) descriptors: u64,
    own: String,
    _far: Child,
    _delays: [Child; 2],
}

/// Connections that are open and say nothing.
pub(crate) struct Held {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Ground {
    /// Builds it; the process that calls this is, and stays, in the gateway's namespace.
    /// `redirects` lead from the addresses that the device dials to the ports of the forwarders.
    pub(crate) async fn build(redirects: &[(Ipv4Addr, u16)], names: Option<u16>) -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut cores = (0..1024).filter(|core| allowed.is_set(*core));
        let forwarder = cores.next().context("no processor")?;
        let ends = cores.next().context("a bench needs two processors: one for the forwarder alone")?;
        let descriptors = raise_file_limit()?;
        network::cables().await?;
        network::rules(redirects, names).await?;
        std::fs::create_dir_all(LOGS)?;
        let issued = pki::Authority::new()?.issue(&[&FAR.to_string()])?;
        std::fs::write(PEM, issued.chain + &issued.key)?;
        let own = sandbox::own_program()?.to_str().context("a path that is no text")?.to_owned();
        let cores = Cores { forwarder, ends };
        let start = |part: &Part| spawn(FAR_NS, ends, &part.words(&own)?, "far");
        let ground = Self {
            cores,
            descriptors,
            _far: start(&Part::Far { pem: PEM.to_owned() })?,
            _delays: [
                start(&Part::Delay { time: RTT, distance: Distance::Far })?,
                start(&Part::Delay { time: RTT, distance: Distance::FarAndLossy })?,
            ],
            own,
        };
        for port in far::PORTS {
            accepts((FAR, port).into(), None).await.context("the far end")?;
        }
        Ok(ground)
    }

    /// As many connections as a forwarder with two descriptors for each can have.
    pub(crate) fn most_held(&self) -> usize {
        let allowed = self.descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
        usize::try_from(allowed).unwrap_or(MOST_HELD).min(MOST_HELD)
    }

    /// Runs a program in the gateway, on the forwarder's core.
    pub(crate) fn forwarder(&self, words: &[&str], log: &str) -> Result<Child> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        spawn(GATEWAY, self.cores.forwarder, &words, log)
    }

    /// Runs a program on the forwarder's core, too, at the far end.
    pub(crate) fn behind(&self, words: &[&str], log: &str) -> Result<Child> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        spawn(FAR_NS, self.cores.forwarder, &words, log)
    }

    /// One of this program's own parts, as a forwarder.
    pub(crate) fn part(&self, part: &Part, log: &str) -> Result<Child> {
        spawn(GATEWAY, self.cores.forwarder, &part.words(&self.own)?, log)
    }

    /// The device does something, and tells what it measured.
    pub(crate) async fn measure(&self, load: Load) -> Result<Outcome> {
        let what = format!("{load:?}");
        let mut command = pinned(DEVICE_NS, self.cores.ends, &Part::Load(load).words(&self.own)?);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output())
            .await
            .with_context(|| format!("{what} does not end"))??;
        ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
        serde_json::from_slice(&output.stdout).context(what)
    }

    pub(crate) fn hold(&self, to: SocketAddr) -> Result<Held> {
        let mut command =
            pinned(DEVICE_NS, self.cores.ends, &Part::Load(Load::Hold { to }).words(&self.own)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?).lines();
        Ok(Held { child, input, output })
    }

    /// From now on it sends from this address.
    pub(crate) async fn device_is(&self, address: Ipv4Addr) -> Result<()> {
        network::device_is(address).await
    }

    /// From now on the far end is far away.
    pub(crate) async fn go_far(&self) -> Result<()> {
        delay::lead(FAR_NS, Distance::Far).await
    }

    pub(crate) async fn come_near(&self) -> Result<()> {
        delay::lead_no_more(FAR_NS, Distance::Far).await
    }

    /// The same, and some packets are lost on their way there.
    pub(crate) async fn go_far_and_lose(&self) -> Result<()> {
        delay::lead(FAR_NS, Distance::FarAndLossy).await
    }

    pub(crate) async fn lose_no_more(&self) -> Result<()> {
        delay::lead_no_more(FAR_NS, Distance::FarAndLossy).await
    }
}

impl Held {
    /// Returns when so many connections are open.
    pub(crate) async fn have(&mut self, count: usize) -> Result<()> {
        self.input.write_all(format!("{count}\n").as_bytes()).await?;
        let line = tokio::time::timeout(PATIENCE, self.output.next_line()).await??;
        line.with_context(|| format!("{count} connections could not be opened")).map(drop)
    }

    pub(crate) async fn end(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait().await?;
        Ok(())
    }
}

/// Returns when somebody listens there, or when he who should has ended.
pub(crate) async fn accepts(to: SocketAddr, mut child: Option<&mut Child>) -> Result<()> {
    crate::lab::eventually(&format!("{to} accepts"), async || {
        if let Some(status) = child.as_mut().map(|child| child.try_wait()).transpose()?.flatten() {
            anyhow::bail!("it ended with {status}");
        }
        Ok(tokio::net::TcpStream::connect(to).await.ok().map(drop))
    })
    .await
}

/// What a program said last.
pub(crate) fn last_words(log: &str) -> String {
    let text = std::fs::read_to_string(log_path(log)).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

fn log_path(log: &str) -> String {
    format!("{LOGS}/{log}.log")
}

fn spawn(ns: &str, core: usize, words: &[String], log: &str) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(log_path(log))?;
    let mut command = pinned(ns, core, words);
    command.stdout(log.try_clone()?).stderr(Stdio::from(log)).kill_on_drop(true);
    command.spawn().with_context(|| words.join(" "))
}

fn pinned(ns: &str, core: usize, words: &[String]) -> tokio::process::Command {
    let core = core.to_string();
    let words: Vec<&str> =
        ["taskset", "--cpu-list", &core].into_iter().chain(words.iter().map(String::as_str)).collect();
    command::program(ns, &words)
}

/// As many files as are wanted, or as many as are allowed; gives how many.
fn raise_file_limit() -> Result<u64> {
    let wanted = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    if setrlimit(Resource::Nofile, wanted).is_ok() {
        return Ok(DESCRIPTORS);
    }
    let allowed = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: allowed, maximum: allowed })?;
    Ok(allowed.unwrap_or(DESCRIPTORS))
}
