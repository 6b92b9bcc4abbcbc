//! What the documents show is what happens: their commands are run as they stand there, on a
//! gateway, with devices and an upstream at the addresses that they name.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::command::finish_within;
use pgw_lab::example::{examples, script};
use pgw_lab::gateway::{self, STATE};
use pgw_lab::lab::admin_token;
use pgw_lab::net::C1;
use pgw_lab::rest::API;
use pgw_lab::upstream::{Kind, PLAIN_PASSWORD};

crate::tests![the_rest_examples_do_what_the_document_says, the_quick_start_does_what_the_document_says,];

const REST: &str = include_str!("../../../docs/rest.md");
const QUICK_START: &str = include_str!("../../../docs/quick-start.md");
const FOLDER: &str = "/run/lab/examples";
/// All of a document's examples together take some seconds; one that waits in vain ends here.
const LIMIT: Duration = Duration::from_secs(120);

async fn the_rest_examples_do_what_the_document_says(mut lab: Lab) -> Result<()> {
    lab.upstream_with(Kind::Microsocks, PLAIN_PASSWORD).await?;
    let _ready = lab.gateway().await?;
    run(REST, &format!("TOKEN={}\nAPI={API}\n", admin_token().await?)).await
}

/// From where the package is installed; that it comes to be is another test's.
async fn the_quick_start_does_what_the_document_says(mut lab: Lab) -> Result<()> {
    lab.upstream_with(Kind::Microsocks, PLAIN_PASSWORD).await?;
    let _ready = lab.gateway().await?;
    let pgw = gateway::path("pgw")?;
    let folder = pgw.parent().context("pgw lies nowhere")?.display();
    run(QUICK_START, &format!("export PATH={folder}:$PATH PGW_STATE_DIR={STATE}\n")).await?;
    ensure!(lab.seen_as(C1, "https://origin/").await? == Kind::Microsocks.ip().to_string());
    Ok(())
}

async fn run(document: &str, prepared: &str) -> Result<()> {
    fs::create_dir_all(FOLDER)?;
    let examples = examples(document)?;
    let file = format!("{FOLDER}/script");
    fs::write(&file, format!("cd {FOLDER}\n{prepared}") + &script(&examples, FOLDER))?;
    let done = finish_within(LIMIT, &["bash", &file], "").await?;
    for (number, example) in examples.iter().enumerate() {
        let file = format!("{FOLDER}/{number}.out");
        let said = fs::read_to_string(&file)
            .with_context(|| format!("line {} was not reached: {}", example.line, done.stderr))?;
        let is_last = !fs::exists(format!("{FOLDER}/{}.out", number + 1))?;
        ensure!(
            done.status.success() || !is_last,
            "line {} failed: {}{}\n{}",
            example.line,
            said,
            done.stderr,
            example.commands
        );
        example.holds(&said)?;
    }
    ensure!(done.status.success(), "{}: {}", done.status, done.stderr);
    Ok(())
}
