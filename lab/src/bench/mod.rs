//! `pgw-lab bench`: measures pgw beside its peers, in one run and in namespaces of its own. What
//! is measured is in a module per subject ([`fwd`], [`agent`], [`api`], [`tunnel`]); the rest is for all of them.

mod agent;
mod api;
mod bare;
mod caveats;
mod delay;
mod drain;
mod far;
mod fwd;
mod ground;
mod hello;
mod load;
mod machine;
mod options;
mod process;
mod report;
mod samples;
mod stats;
mod talk;
mod tunnel;

use std::net::SocketAddrV4;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::sandbox::{Lifeline, Sandbox};
pub use options::USAGE;
use options::{Options, Subject};

/// The first word of a process that is a part of a bench.
pub const PART: &str = "bench-part";
/// Of the command, and of the process inside.
pub const BENCH: &str = "bench";

/// What a process of a bench may be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Upstream and origin.
    Far { pem: String },
    /// Between the gateway and the far end.
    Delay { time: Duration, distance: delay::Distance },
    /// The relay that is the limit.
    Bare { port: u16, target: SocketAddrV4 },
    /// The device.
    Load(load::Load),
}

impl Part {
    fn words(&self, own: &str) -> Result<Vec<String>> {
        Ok(vec![own.to_owned(), PART.to_owned(), serde_json::to_string(self)?])
    }
}

/// Does what a part does.
pub fn part(word: &str) -> Result<()> {
    match serde_json::from_str(word).context("no part of a bench")? {
        Part::Far { pem } => far::run(&pem),
        Part::Delay { time, distance } => delay::run(time, distance),
        Part::Bare { port, target } => bare::run(port, target),
        Part::Load(load) => load::run(load),
    }
}

/// The process on the machine: waits for the end, or for Ctrl-C, which leaves nothing behind.
pub async fn outside(words: &[String]) -> Result<ExitCode> {
    // A mistake is told before anything is built.
    Options::read(words)?;
    let (mut interrupt, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let words = [&[BENCH.to_owned()], words].concat();
    let mut sandbox = Sandbox::start(&words, Stdio::inherit)?;
    let lifeline = sandbox.lifeline();
    let ended = tokio::task::spawn_blocking(move || sandbox.wait());
    tokio::select! {
        status = ended => {
            let code = status??.code().and_then(|code| u8::try_from(code).ok());
            Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
        }
        _ = interrupt.recv() => Ok(interrupted(&lifeline)),
        _ = term.recv() => Ok(interrupted(&lifeline)),
    }
}

fn interrupted(lifeline: &Lifeline) -> ExitCode {
    lifeline.cut();
    eprintln!("ended; nothing is left behind, and nothing was written");
    ExitCode::FAILURE
}

/// The process in the gateway's namespace.
pub async fn inside(words: &[String]) -> Result<()> {
    let options = Options::read(words)?;
    match options.subject {
        Subject::Fwd => fwd::run(&options).await,
        Subject::Agent => agent::run(&options).await,
        Subject::Api => api::run(&options).await,
        Subject::Tunnel => tunnel::run(&options).await,
    }
}

/// Only what is whole is for others to see.
pub(crate) fn hand_over(options: &Options, report: &report::Report) -> Result<()> {
    let folder = if options.whole() { "docs/bench" } else { "target/bench" };
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize();
    let root = root.context("the folder in which this was built is gone")?;
    let page = report.write(&root.join(folder))?;
    progress(&format!("written: {}", page.display()));
    Ok(())
}

/// For whoever waits.
pub(crate) fn progress(text: &str) {
    eprintln!("   {text}");
}
