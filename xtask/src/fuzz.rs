//! The readers of hostile bytes, tried with bytes that a fuzzer makes up. Which flags it takes to
//! do that with a stable compiler stands in `fuzz/.cargo/config.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::install::Package;
use crate::run::{Failed, cannot, judge, step};

pub(crate) const COMPILER: &[Package] = &[Package { name: "g++", why: "the fuzzer is written in C++" }];

/// For each target, where all of them are tried.
pub(crate) const SHORT: u32 = 5;

/// Tries one target or all of them, each for so many seconds.
pub(crate) fn run(only: Option<&str>, seconds: u32) -> Result<(), Failed> {
    let targets: Vec<String> =
        targets()?.into_iter().filter(|target| only.is_none_or(|only| only == target)).collect();
    if targets.is_empty() {
        return Err(Failed(format!("fuzz/fuzz_targets holds no {}", only.unwrap_or("target at all"))));
    }
    step("fuzz targets: format, lints, build", || {
        cargo(&["fmt", "--check"])?;
        cargo(&["clippy", "--quiet", "--bins", "--", "-D", "warnings"])?;
        cargo(&["build", "--quiet", "--bins"])?;
        same_dependencies()
    })?;
    let failures: Vec<String> = targets
        .iter()
        .filter_map(|target| step(&format!("fuzz {target}"), || one(target, seconds)).err())
        .map(|Failed(why)| why)
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(Failed(failures.join("\nxtask: "))) }
}

fn targets() -> Result<BTreeSet<String>, Failed> {
    let entries = fs::read_dir("fuzz/fuzz_targets").map_err(cannot("fuzz/fuzz_targets"))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(".rs").map(str::to_owned)).collect())
}

fn one(target: &str, seconds: u32) -> Result<(), Failed> {
    let here = std::env::current_dir().map_err(cannot("where am I?"))?;
    // What was found earlier comes first: it fails until it is mended.
    let crashes = here.join("target/fuzz/crashes").join(target);
    let grown = here.join("target/fuzz/corpus").join(target);
    for folder in [&crashes, &grown] {
        fs::create_dir_all(folder).map_err(cannot("target/fuzz"))?;
    }
    let prefix = format!("-artifact_prefix={}/", crashes.display());
    let output = command(&["run", "--quiet", "--bin", target, "--"])
        .args([&format!("-max_total_time={seconds}"), "-timeout=5", "-rss_limit_mb=512", &prefix])
        .args([grown, crashes, PathBuf::from("corpus").join(target)])
        .stdin(Stdio::null())
        .output()
        .map_err(cannot("cargo"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    // Its progress, in many lines that begin with this.
    let is_progress = |line: &&str| line.starts_with('#');
    if output.status.success() {
        let sum = told.lines().filter(is_progress).find(|line| line.contains("DONE"));
        eprintln!("{}", sum.ok_or_else(|| Failed(format!("fuzz {target} did not end: {told}")))?);
        return Ok(());
    }
    told.lines().filter(|line| !is_progress(line)).for_each(|line| eprintln!("{line}"));
    let input = told.lines().find_map(|line| line.split_once("Test unit written to "));
    Err(Failed(match input {
        Some((_, path)) => format!(
            "fuzz {target} fails with {path}; again: (cd fuzz && cargo run --bin {target} {path}); \
             when it is mended, keep the input in fuzz/corpus/{target}"
        ),
        None => format!("fuzz {target} ended with {}", output.status),
    }))
}

/// What is tried must be what ships: each dependency of the version that the programs have.
fn same_dependencies() -> Result<(), Failed> {
    let (ours, theirs) = (locked("Cargo.lock")?, locked("fuzz/Cargo.lock")?);
    let shared = |name: &str| ours.iter().any(|(known, _)| known == name);
    match theirs.difference(&ours).find(|(name, _)| shared(name)) {
        None => Ok(()),
        Some((name, version)) => Err(Failed(format!(
            "fuzz/Cargo.lock has {name} {version}, which the programs have not; \
             cp Cargo.lock fuzz/Cargo.lock && (cd fuzz && cargo update --workspace)"
        ))),
    }
}

fn locked(path: &str) -> Result<BTreeSet<(String, String)>, Failed> {
    let text = fs::read_to_string(path).map_err(cannot(path))?;
    let value = |line: &str, key: &str| Some(line.strip_prefix(key)?.strip_suffix('"')?.to_owned());
    let pairs = text.lines().zip(text.lines().skip(1));
    Ok(pairs.filter_map(|(a, b)| Some((value(a, "name = \"")?, value(b, "version = \"")?))).collect())
}

fn cargo(arguments: &[&str]) -> Result<(), Failed> {
    judge(&mut command(arguments), "cargo", arguments)
}

/// In the folder whose flags count; flags from outside would replace them.
fn command(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir("fuzz").args(arguments).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}
