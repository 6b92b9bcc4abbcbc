//! What the documents show is what happens: their commands are run as they stand there, on a
//! gateway, with devices and an upstream at the addresses that they name.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pgw_lab::Lab;
use pgw_lab::command::finish_within;
use pgw_lab::example::{examples, script};
use pgw_lab::gateway::{self, Program, STATE};
use pgw_lab::home::Home;
use pgw_lab::lab::{admin_token, eventually};
use pgw_lab::net::{C1, GATEWAY_WAN};
use pgw_lab::rest::API;
use pgw_lab::upstream::{Kind, PLAIN_PASSWORD};
use serde_json::{Value, json};

crate::tests![
    the_rest_examples_do_what_the_document_says,
    the_quick_start_does_what_the_document_says,
    the_tunnels_examples_do_what_the_document_says,
];

const REST: &str = include_str!("../../../docs/rest.md");
const QUICK_START: &str = include_str!("../../../docs/quick-start.md");
const TUNNELS: &str = include_str!("../../../docs/tunnels.md");
const FOLDER: &str = "/run/lab/examples";
/// All of a document's examples together take some seconds; one that waits in vain ends here.
const LIMIT: Duration = Duration::from_secs(120);

async fn the_rest_examples_do_what_the_document_says(mut lab: Lab) -> Result<()> {
    lab.upstream_with(Kind::Microsocks, PLAIN_PASSWORD).await?;
    let _ready = lab.gateway().await?;
    run(REST, &token().await?).await.map(drop)
}

/// From where the package is installed; that it comes to be is another test's.
async fn the_quick_start_does_what_the_document_says(mut lab: Lab) -> Result<()> {
    lab.upstream_with(Kind::Microsocks, PLAIN_PASSWORD).await?;
    let _ready = lab.gateway().await?;
    run(QUICK_START, &command_line()?).await?;
    ensure!(lab.seen_as(C1, "https://origin/").await? == Kind::Microsocks.ip().to_string());
    Ok(())
}

/// What an operator is told to type on the client's machine is typed there, word for word.
async fn the_tunnels_examples_do_what_the_document_says(lab: Lab) -> Result<()> {
    let public = GATEWAY_WAN.to_string();
    let mut ready = lab.gateway_with(&[("PGW_TUNNEL_PUBLIC", &public)]).await?;
    ready.gateway.start(Program::Tunneld).await?;
    let mut home = Home::build().await?;
    let call = examples(REST)?.into_iter().next().context("call is not there")?.commands;
    let told = run(TUNNELS, &(command_line()? + &token().await? + &call)).await?;
    let told = told.iter().find_map(|said| serde_json::from_str::<Value>(said).ok()?.get("command").cloned());
    let command = told.as_ref().and_then(Value::as_str).context("nobody said what is to be typed")?;
    home.run(&["sh", "-c", &format!("cd {FOLDER} && PATH={}:$PATH exec {command}", programs()?)])?;
    eventually("the verified tunnel is open", async || {
        let tunnels = ready.rest.get("/v1/tunnels?q=sensor").await?;
        Ok((tunnels.pointer("/items/0/state") == Some(&json!("ACTIVE"))).then_some(()))
    })
    .await
}

async fn token() -> Result<String> {
    Ok(format!("TOKEN={}\nAPI={API}\n", admin_token().await?))
}

/// As root has it on a gateway.
fn command_line() -> Result<String> {
    Ok(format!("export PATH={}:$PATH PGW_STATE_DIR={STATE}\n", programs()?))
}

fn programs() -> Result<String> {
    let pgw = gateway::path("pgw")?;
    Ok(pgw.parent().context("pgw lies nowhere")?.display().to_string())
}

/// What each example answered.
async fn run(document: &str, prepared: &str) -> Result<Vec<String>> {
    fs::create_dir_all(FOLDER)?;
    let mut answers = Vec::new();
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
        answers.push(said);
    }
    ensure!(done.status.success(), "{}: {}", done.status, done.stderr);
    Ok(answers)
}
