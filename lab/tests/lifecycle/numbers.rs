//! What was measured: said aloud, and kept as rows of a table, of which `cargo xtask lifecycle` makes
//! `docs/bench/package.md`.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::harness::MEASURED;

const PLACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/lifecycle/numbers");

/// A row of its own for each name, which also says where it stands.
pub(crate) fn keep(name: &str, what: &str, goal: &str, measured: &str) -> Result<()> {
    eprintln!("{MEASURED} {what}: {measured} (goal: {goal})");
    fs::create_dir_all(PLACE)?;
    Ok(fs::write(Path::new(PLACE).join(name), format!("| {what} | {goal} | {measured} |\n"))?)
}

pub(crate) fn mib(kib: u64) -> String {
    format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
}
