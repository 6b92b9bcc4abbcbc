//! `pgw doctor`: what is wrong with this machine as a gateway, and what to do about it. It changes
//! nothing, and needs neither the API nor root, though it sees less without them.

mod clock;
mod firewalls;
mod machine;
mod network;
mod nft;
mod ports;
mod services;
mod settings;
#[cfg(test)]
mod tests;
mod units;

use std::path::{Path, PathBuf};

use clap::Args;
use pgw_core::settings::Source;
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::Global;
use crate::desk::Desk;
use crate::error::Error;
use crate::installed::{FOLDER, Installed};
use crate::words::plain;

use machine::Machine;
use settings::Settings;

#[derive(Args)]
pub(crate) struct Doctor {
    /// Shows what is well, too
    #[arg(short, long)]
    all: bool,
    /// Where the settings are
    #[arg(long, value_name = "FOLDER", default_value = FOLDER)]
    settings: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It could not be looked at.
    Unknown,
    /// It may be meant so.
    Warn,
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    area: &'static str,
    verdict: Verdict,
    what: String,
    /// What to do, unless it is well.
    fix: Option<String>,
}

/// What was found in one area.
struct Findings {
    area: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    fn of(area: &'static str) -> Self {
        Self { area, found: Vec::new() }
    }

    fn add(&mut self, verdict: Verdict, what: String, fix: Option<String>) {
        self.found.push(Finding { area: self.area, verdict, what, fix });
    }

    fn ok(&mut self, what: impl Into<String>) {
        self.add(Verdict::Ok, what.into(), None);
    }

    fn unknown(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Verdict::Unknown, what.into(), Some(fix.into()));
    }

    fn warn(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Verdict::Warn, what.into(), Some(fix.into()));
    }

    fn bad(&mut self, what: impl Into<String>, fix: impl Into<String>) {
        self.add(Verdict::Bad, what.into(), Some(fix.into()));
    }
}

pub(crate) async fn run(
    doctor: &Doctor,
    global: &Global,
    source: &dyn Source,
    desk: &mut Desk,
) -> Result<(), Error> {
    let machine = Machine::this();
    desk.progress("looking at this machine …");
    let mut found = of_machine(&doctor.settings, source, &machine);
    desk.progress("asking the gateway …");
    let installed = Installed::read(&doctor.settings, "pgw-api", source);
    found.extend(services::look(global, &installed).await);
    desk.progress("");
    tell(desk, &found, doctor.all)?;
    let worst = found.iter().map(|finding| finding.verdict).max();
    if worst == Some(Verdict::Bad) { Err(Error::Shown) } else { Ok(()) }
}

fn of_machine(folder: &Path, source: &dyn Source, machine: &Machine) -> Vec<Finding> {
    let (settings, mut found) = Settings::read(folder, source);
    found.extend(units::look(machine));
    found.extend(network::look(&settings, machine));
    found.extend(nft::look(machine));
    found.extend(ports::look(&settings, machine));
    found.extend(firewalls::look(&settings, machine));
    found.extend(clock::look(machine));
    found
}

fn tell(desk: &mut Desk, found: &[Finding], all: bool) -> Result<(), Error> {
    let count = |verdict: Verdict| found.iter().filter(|finding| finding.verdict == verdict).count();
    let (bad, warn, unknown) = (count(Verdict::Bad), count(Verdict::Warn), count(Verdict::Unknown));
    if desk.is_script() {
        return desk.value(&json!({"bad": bad, "warn": warn, "unknown": unknown, "findings": found}));
    }
    for finding in found.iter().filter(|finding| all || finding.verdict != Verdict::Ok) {
        let word = finding.verdict.word();
        let head = desk.colour(&format!("{word:7}"), word);
        desk.line(&format!("{head}  {:10}  {}", finding.area, plain(&finding.what)))?;
        if let Some(fix) = &finding.fix {
            desk.line(&format!("{:21}→ {}", "", plain(fix)))?;
        }
    }
    desk.line(&format!("{} well, {warn} to look at, {bad} bad, {unknown} not known", count(Verdict::Ok)))
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// The whole of what a look at the API found, as a value.
fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn exists(root: &Path, path: &str) -> bool {
    root.join(path.trim_start_matches('/')).exists()
}
