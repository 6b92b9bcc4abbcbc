//! `pgw-lab matrix <sequences> <seed>`: the whole matrix, in several labs side by side, for a lab
//! waits more than it computes.

use std::process::{ExitCode, Stdio};

use anyhow::{Result, ensure};

use super::{Matrix, SEED, Until};
use crate::lab::Lab;
use crate::sandbox::Sandbox;

const LABS: u64 = 3;
/// A word in between, so that one who watches knows that it goes on.
const PROGRESS: u64 = 10;
/// Lines of each log, for a sequence that failed.
const TAIL: usize = 60;

/// The part on the machine.
pub fn outside(sequences: u64, seed: u64) -> Result<ExitCode> {
    ensure!(sequences > 0, "no sequence at all proves nothing");
    say(&format!("{sequences} sequences, {SEED}={seed}"));
    let share = sequences.div_ceil(LABS);
    let mut labs = Vec::new();
    for first in (0..sequences).step_by(usize::try_from(share)?) {
        let count = share.min(sequences - first);
        let words = ["matrix".to_owned(), count.to_string(), seed.wrapping_add(first).to_string()];
        labs.push(Sandbox::start(&words, Stdio::inherit)?);
    }
    let mut all_well = true;
    for lab in &mut labs {
        all_well &= lab.wait()?.success();
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part in a lab.
pub async fn inside(sequences: u64, seed: u64) -> Result<()> {
    let mut matrix = Matrix::build(Lab::start().await?).await?;
    let progress = |matrix: &Matrix| {
        if matrix.sequences.is_multiple_of(PROGRESS) {
            say(&format!("[{seed}…] {}", matrix.summary()));
        }
    };
    let played = matrix.run(seed, Until::Sequences(sequences), progress).await;
    say(&format!("[{seed}…] ended: {}", matrix.summary()));
    if played.is_err() {
        say(&crate::gateway::log_tails(TAIL));
    }
    played
}

#[expect(clippy::print_stdout, reason = "the matrix tells the person at the terminal how far it is")]
fn say(text: &str) {
    println!("{text}");
}
