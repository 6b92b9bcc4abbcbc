//! On what it was measured, and with which programs.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::progress;
use crate::command;
use crate::net::GATEWAY;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Of pgw, and of every peer that took part.
    pub(crate) versions: Vec<(String, String)>,
}

impl Machine {
    pub(crate) async fn this(packages: &[&str]) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut versions = vec![("pgw".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        for package in packages {
            let query = ["dpkg-query", "--show", "--showformat=${Version}", package];
            if let Ok(version) = command::ok(GATEWAY, &query).await {
                versions.push(((*package).to_owned(), version));
            }
        }
        Self {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            cpu: field(&cpuinfo, "model name").unwrap_or("unknown").to_owned(),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            memory_mib: field(&meminfo, "MemTotal")
                .and_then(|size| size.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or_default()
                / 1024,
            kernel: kernel.trim().to_owned(),
            versions,
        }
    }

    /// In one line.
    pub(crate) fn words(&self) -> String {
        let Self { date, cpu, cores, memory_mib, kernel, versions } = self;
        let versions: Vec<String> =
            versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!("{date}, {cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}; {}", versions.join(", "))
    }
}

/// So much of a core others may use.
const QUIET: f64 = 0.1;

/// How much of a core others are using, in the second in which this is asked. Too much is told
/// to whoever waits.
pub(crate) async fn others() -> Result<f64> {
    let busy = used_by_others().await?;
    if busy > QUIET {
        progress(&format!(
            "the machine is not quiet: others use {busy:.2} of a core, and the numbers will say little"
        ));
    }
    Ok(busy)
}

/// For whoever reads the numbers.
pub(crate) fn noise(busy: f64) -> Option<String> {
    (busy > QUIET).then(|| {
        format!(
            "**The machine was not quiet**: others used {busy:.2} of a core when it began, and these numbers say little."
        )
    })
}

async fn used_by_others() -> Result<f64> {
    let before = idle_and_all(&fs::read_to_string("/proc/stat")?).context("no cpu line")?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = idle_and_all(&fs::read_to_string("/proc/stat")?).context("no cpu line")?;
    let (idle, all) = (after.0 - before.0, after.1 - before.1);
    let cores = std::thread::available_parallelism()?.get();
    Ok(f64::from(u32::try_from(cores)?) * (1.0 - idle / all.max(1.0)))
}

/// In ticks, of all cores together. Waiting for a disk is idle too; what a host took away is not.
fn idle_and_all(stat: &str) -> Option<(f64, f64)> {
    let fields = stat.strip_prefix("cpu ")?.lines().next()?.split_whitespace();
    // The last two are guests, who are counted among the users already.
    let ticks: Vec<f64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    let [_user, _nice, _system, idle, waiting, ..] = ticks.as_slice() else { return None };
    Some((idle + waiting, ticks.iter().sum()))
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_disk_is_idle_and_a_guest_is_counted_once() {
        let stat = "cpu  10 1 20 300 40 2 3 4 10 1\ncpu0 5 0 10 150 20 1 1 2 5 0\n";
        assert_eq!(idle_and_all(stat), Some((340.0, 380.0)));
        assert_eq!(idle_and_all("cpu0 1 2 3 4 5 6 7 8"), None);
    }
}
