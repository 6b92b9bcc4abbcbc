//! The only place that starts a program: `nft`, with a text batch on its standard input.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::diff::Found;
use super::drill::{self, Tally};
use super::listing::{self, ListingError};
use super::own::OwnHands;
use super::render::full_name;
use super::ruleset::{Elements, Table};

/// The largest ruleset takes well under a second; what takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);
/// A table of tens of thousands of clients, listed as JSON, is a few MiB.
const LARGEST_LISTING: u64 = 64 << 20;
/// As JSON, and without what counts.
const LISTING: [&str; 2] = ["-s", "-j"];
const LARGEST_COMPLAINT: u64 = 64 << 10;

#[async_trait]
pub trait Kernel: Send + Sync {
    /// All of the batch or nothing of it.
    async fn apply(&self, batch: &str) -> Result<(), KernelError>;
    /// None unless both of our tables are there.
    async fn read(&self) -> Result<Option<Found>, KernelError>;
    /// How many of the leak drill's packets came by; none unless the rules that count are there.
    async fn tally(&self) -> Result<Option<Tally>, KernelError>;
    /// Our tables, as nft prints them; empty when there is none.
    async fn text(&self) -> Result<String, KernelError>;
}

#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("nft is not installed, or not in the PATH of pgw-agent; install the package nftables")]
    NotInstalled,
    #[error("nft cannot be started: {0}")]
    Start(#[source] std::io::Error),
    #[error("nft may not change the rules of this machine; pgw-agent needs CAP_NET_ADMIN")]
    NotPermitted,
    #[error("nft refused: {0}")]
    Refused(String),
    /// Seen when tables were made by a newer nft than the one that lists them.
    #[error("nft died of signal {0}; is more than one version of nft in use on this machine?")]
    Killed(i32),
    #[error("nft did not end within {} seconds", PATIENCE.as_secs())]
    Stuck,
    #[error("nft's output is larger than any ruleset of pgw")]
    TooLarge,
    #[error(transparent)]
    Unreadable(#[from] ListingError),
}

/// The kernel of this machine, or rather of this network namespace.
#[derive(Debug, Default, Clone)]
pub struct Nft {
    own: OwnHands,
}

impl Nft {
    /// To tell our own changes from those of others.
    pub fn own_hands(&self) -> OwnHands {
        self.own.clone()
    }
}

#[async_trait]
impl Kernel for Nft {
    async fn apply(&self, batch: &str) -> Result<(), KernelError> {
        run(&["-f", "-"], batch, Some(&self.own)).await.map(drop)
    }

    async fn read(&self) -> Result<Option<Found>, KernelError> {
        // One process per table: several `list` in one are not answered by nft 1.0.6.
        let listed = tokio::try_join!(list(&LISTING, Table::Nat), list(&LISTING, Table::Filter));
        let (nat, filter) = match listed {
            Ok(listed) => listed,
            // nft's words for "absent" are not to be relied on: ask what is there.
            Err(error @ KernelError::Refused(_)) => {
                let whole = present().await?.len() == Table::ALL.len();
                return if whole { Err(error) } else { Ok(None) };
            }
            Err(error) => return Err(error),
        };
        let mut elements = Elements::default();
        let printed = [
            listing::read(Table::Nat, &nat, &mut elements)?,
            listing::read(Table::Filter, &filter, &mut elements)?,
        ]
        .concat();
        Ok(Some(Found { printed, elements }))
    }

    async fn tally(&self) -> Result<Option<Tally>, KernelError> {
        match list(&["-j", "-t"], Table::Filter).await {
            Ok(json) => Ok(drill::read(&json)?),
            Err(KernelError::Refused(_)) if !present().await?.contains(&Table::Filter) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn text(&self) -> Result<String, KernelError> {
        let mut text = String::new();
        for table in present().await? {
            text.push_str(&String::from_utf8_lossy(&list(&[], table).await?));
        }
        Ok(text)
    }
}

async fn list(options: &[&str], table: Table) -> Result<Vec<u8>, KernelError> {
    let mut arguments = options.to_vec();
    arguments.extend(["list", "table", table.family(), table.name()]);
    run(&arguments, "", None).await
}

async fn present() -> Result<Vec<Table>, KernelError> {
    let tables = run(&["list", "tables"], "", None).await?;
    let tables = String::from_utf8_lossy(&tables);
    let listed = |table: &Table| tables.lines().any(|line| line == format!("table {}", full_name(*table)));
    Ok(Table::ALL.into_iter().filter(listed).collect())
}

/// `hands`: of one that changes something.
async fn run(arguments: &[&str], input: &str, hands: Option<&OwnHands>) -> Result<Vec<u8>, KernelError> {
    // Dropping the child on timeout kills it.
    match tokio::time::timeout(PATIENCE, run_to_end(arguments, input, hands)).await {
        Ok(ended) => ended,
        Err(_elapsed) => Err(KernelError::Stuck),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the agent where a program is started")]
async fn run_to_end(
    arguments: &[&str],
    input: &str,
    hands: Option<&OwnHands>,
) -> Result<Vec<u8>, KernelError> {
    let mut child = Command::new("nft")
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => KernelError::NotInstalled,
            _ => KernelError::Start(error),
        })?;
    let own = hands.zip(child.id());
    if let Some((hands, process)) = own {
        hands.started(process);
    }
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // nft that ends before it has read everything says why on stderr.
            let _broken_pipe = stdin.write_all(input.as_bytes()).await;
        }
        Ok(())
    };
    let wait = async { child.wait().await.map_err(KernelError::Start) };
    let (output, complaint, status, ()) = tokio::try_join!(
        read_all(stdout, LARGEST_LISTING),
        read_all(stderr, LARGEST_COMPLAINT),
        wait,
        write
    )?;
    if status.success() {
        return Ok(output);
    }
    if let Some((hands, process)) = own {
        hands.done(process);
    }
    if let Some(signal) = status.signal() {
        return Err(KernelError::Killed(signal));
    }
    let complaint = String::from_utf8_lossy(&complaint);
    if complaint.contains("Operation not permitted") {
        return Err(KernelError::NotPermitted);
    }
    tracing::debug!(?arguments, input, %complaint, "nft refused");
    Err(KernelError::Refused(first_words(&complaint)))
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> Result<Vec<u8>, KernelError> {
    let mut read = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit + 1).read_to_end(&mut read).await.map_err(KernelError::Start)?;
    }
    if read.len() as u64 > limit { Err(KernelError::TooLarge) } else { Ok(read) }
}

/// The line with the place (`/dev/stdin:3:7-9: Error: …`) and the line that it points into.
fn first_words(complaint: &str) -> String {
    let line = |text: &str| text.trim().chars().take(300).collect::<String>();
    let mut lines = complaint.lines().map(line).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(what), Some(place)) => format!("{what} in: {place}"),
        (Some(what), None) => what,
        (None, _) => "it gave no reason".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nft_says_becomes_one_line() {
        let complaint =
            "/dev/stdin:1:37-44: Error: Could not process rule: File exists\nadd element x\n    ^^^\n";
        let line = "/dev/stdin:1:37-44: Error: Could not process rule: File exists in: add element x";
        assert_eq!(first_words(complaint), line);
        assert_eq!(first_words("\n"), "it gave no reason");
    }
}
