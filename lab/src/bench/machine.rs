//! On what it was measured, and with which programs.

use std::fs;

use serde::Serialize;

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

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_once(':').map(|(_, value)| value.trim())
}
