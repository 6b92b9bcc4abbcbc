//! A few sequences of the fault matrix (G1, G2, G3, G4); `cargo xtask matrix` plays hundreds.

use std::time::Duration;

use anyhow::{Context as _, Result};
use pgw_lab::Lab;
use pgw_lab::matrix::{Matrix, SEED, Until, seed};

use crate::harness::MEASURED;

crate::tests![whatever_dies_in_whatever_order_nothing_leaks_and_everything_comes_back];

/// What is begun is ended, so it takes a little longer.
const SHORT: Duration = Duration::from_secs(20);

async fn whatever_dies_in_whatever_order_nothing_leaks_and_everything_comes_back(lab: Lab) -> Result<()> {
    let seed = seed()?;
    let mut matrix = Matrix::build(lab).await?;
    matrix
        .run(seed, Until::Passed(SHORT), |_progress| {})
        .await
        .with_context(|| format!("the run began with {SEED}={seed}"))?;
    eprintln!("{MEASURED} fault matrix, {SEED}={seed}: {}", matrix.summary());
    matrix.notices_a_leak().await
}
