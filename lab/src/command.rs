//! Programs that the lab runs: every one has a time limit, and one that fails tells what it was
//! asked and what it answered.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::netns;

pub const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// A program in a namespace of the lab. It dies with the lab at the latest.
pub fn program(ns: &str, words: &[&str]) -> Command {
    let mut command = bare("nsenter");
    command.arg(format!("--net={}", netns::path(ns))).arg("--").args(words);
    command.stdin(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "a lab consists of programs")]
pub fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C");
    command
}

/// Runs to its end, whatever end that is.
pub async fn finish(ns: &str, words: &[&str], input: &str) -> Result<Finished> {
    let inside = format!("--net={}", netns::path(ns));
    finish_within(LIMIT, &[&["nsenter", &inside, "--"], words].concat(), input).await
}

/// The same with a limit of its own, for whatever is called.
pub async fn finish_within(limit: Duration, words: &[&str], input: &str) -> Result<Finished> {
    let asked = || words.join(" ");
    let (name, rest) = words.split_first().context("an empty command")?;
    let mut command = bare(name);
    command.args(rest);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(asked)?;
    let mut stdin = child.stdin.take();
    let talk = async {
        if let Some(pipe) = stdin.as_mut() {
            // A program that does not read its input closes it; its own answer says why.
            let _unread = pipe.write_all(input.as_bytes()).await;
        }
        drop(stdin);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(limit, talk)
        .await
        .with_context(|| format!("{} did not end within {limit:?}", asked()))?
        .with_context(asked)?;
    Ok(Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs to a good end; gives what it wrote.
pub async fn ok(ns: &str, words: &[&str]) -> Result<String> {
    ok_with(ns, words, "").await
}

pub async fn ok_with(ns: &str, words: &[&str], input: &str) -> Result<String> {
    let done = finish(ns, words, input).await?;
    if !done.status.success() {
        bail!("[{ns}] {} → {}\n{}{}", words.join(" "), done.status, done.stdout, done.stderr);
    }
    Ok(done.stdout)
}
