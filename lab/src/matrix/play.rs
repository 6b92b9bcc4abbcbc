//! `pgw-lab matrix [sequences] [seed]`: the whole matrix, in several labs side by side, for a lab
//! waits more than it computes.

use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Matrix, Until, seed};
use crate::lab::Lab;
use crate::sandbox::Sandbox;

pub const MATRIX: &str = "matrix";
pub const USAGE: &str = "pgw-lab matrix [sequences] [seed]";
/// Sequences, unless it is told otherwise.
const MANY: u64 = 500;
const LABS: u64 = 3;
/// A word in between, so that one who watches knows that it goes on.
const PROGRESS: u64 = 10;
/// Lines of each log, for a sequence that failed.
const TAIL: usize = 60;

/// Seeds are numbers, so that one can be read out and typed again.
fn numbers(words: &[String]) -> Result<(u64, u64)> {
    let number = |word: &String| word.parse().with_context(|| format!("{word:?} is no whole number"));
    match words {
        [] => Ok((MANY, seed()?)),
        [sequences] => Ok((number(sequences)?, seed()?)),
        [sequences, seed] => Ok((number(sequences)?, number(seed)?)),
        _more => bail!("{USAGE}"),
    }
}

/// The part on the machine.
pub fn outside(words: &[String]) -> Result<ExitCode> {
    let (sequences, seed) = numbers(words)?;
    ensure!(sequences > 0, "no sequence at all proves nothing");
    say(&format!("{sequences} sequences; the same again: cargo xtask matrix {sequences} {seed}"));
    let share = sequences.div_ceil(LABS);
    let mut labs = Vec::new();
    for first in (0..sequences).step_by(usize::try_from(share)?) {
        let count = share.min(sequences - first);
        let words = [MATRIX.to_owned(), count.to_string(), seed.wrapping_add(first).to_string()];
        labs.push(Sandbox::start(&words, Stdio::inherit)?);
    }
    let mut all_well = true;
    for lab in &mut labs {
        all_well &= lab.wait()?.success();
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part in a lab.
pub async fn inside(words: &[String]) -> Result<()> {
    let (sequences, seed) = numbers(words)?;
    let mut matrix = Matrix::build(Lab::start().await?).await?;
    let progress = |matrix: &Matrix| {
        if matrix.sequences.is_multiple_of(PROGRESS) {
            say(&format!("[{seed}…] {}", matrix.summary()));
        }
    };
    let played = matrix.run(seed, Until::Sequences(sequences), progress).await;
    say(&match &played {
        Ok(()) => format!("[{seed}…] ended: {}", matrix.summary()),
        Err(_leaked_or_lost) => {
            format!(
                "[{seed}…] FAILED in sequence {}\n{}",
                matrix.sequences + 1,
                crate::gateway::log_tails(TAIL)
            )
        }
    });
    played
}

#[expect(clippy::print_stdout, reason = "the matrix tells the person at the terminal how far it is")]
fn say(text: &str) {
    println!("{text}");
}
