//! The configuration as one document: `plan`, `apply`, `confirm`, `export`.

use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::{Method, header};
use serde_json::Value;

use crate::desk::{Desk, Format};
use crate::error::Error;
use crate::file;
use crate::gateway::{Gateway, encoded, field};
use crate::words::plain;

#[derive(Args)]
pub(crate) struct Plan {
    /// A document as export writes it, YAML or JSON; - is standard input
    #[arg(short, long)]
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Apply {
    /// A document as export writes it, YAML or JSON; - is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// Undoes it all unless `pgw confirm` follows within this time, from 1s to 24h
    #[arg(long, value_name = "TIME")]
    confirm_within: Option<String>,
}

#[derive(Args)]
pub(crate) struct Confirm {
    /// The one that waits, if it is not said
    id: Option<String>,
}

#[derive(Args)]
pub(crate) struct Export {
    /// With the upstream passwords; for admins, and the log tells of it
    #[arg(long)]
    secrets: bool,
    /// Into this new file, which only its owner may read
    #[arg(short, long)]
    file: Option<PathBuf>,
}

impl Plan {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let answer = send(gateway, desk, &self.file, true, None).await?;
        if desk.is_script() { desk.value(&answer) } else { tell(desk, &answer) }
    }
}

impl Apply {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        desk.progress("applying; it waits until what it closes is closed …");
        let answer = send(gateway, desk, &self.file, false, self.confirm_within).await;
        desk.progress("");
        let answer = answer?;
        if desk.is_script() {
            return desk.value(&answer);
        }
        tell(desk, &answer)?;
        match field(&answer, "unfinished") {
            "" => {}
            why => desk.note(&format!("it goes on by itself: {}", plain(why))),
        }
        match field(&answer, "confirm_by") {
            "" => {}
            until => desk.note(&format!("all of it is undone at {} unless: pgw confirm", plain(until))),
        }
        Ok(())
    }
}

async fn send(
    gateway: &Gateway,
    desk: &mut Desk,
    file: &Path,
    dry_run: bool,
    confirm_within: Option<String>,
) -> Result<Value, Error> {
    let document = file::read_or_input(desk, file)?;
    // Each JSON document is YAML as well; only the places of mistakes are told otherwise.
    let is_json = document.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let kind = if is_json { "application/json" } else { "application/yaml" };
    let call = gateway.call(Method::POST, "/v1/apply").query("confirm_within", confirm_within);
    call.flag("dry_run", dry_run).body(kind, document).value().await
}

/// As a diff is read: what comes, what changes, what goes.
fn tell(desk: &mut Desk, answer: &Value) -> Result<(), Error> {
    let listed = |name: &str| {
        let found = answer.pointer(&format!("/plan/{name}")).and_then(Value::as_array);
        found.map(Vec::as_slice).unwrap_or_default()
    };
    for (name, sign, word) in [("create", "+", "ok"), ("change", "~", "warn"), ("remove", "-", "bad")] {
        for thing in listed(name) {
            let line = format!("{sign} {} {}", plain(field(thing, "what")), plain(field(thing, "name")));
            desk.line(&desk.colour(&line, word))?;
            let fields = thing.get("fields").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            for change in fields {
                let value = |name: &str| change.get(name).map(|v| plain(&v.to_string())).unwrap_or_default();
                desk.line(&format!(
                    "    {}: {} → {}",
                    plain(field(change, "field")),
                    value("from"),
                    value("to")
                ))?;
            }
        }
    }
    let count = |name: &str| listed(name).len();
    let kept = answer.pointer("/plan/keep").and_then(Value::as_u64).unwrap_or_default();
    let dry = answer.get("dry_run") == Some(&Value::Bool(true));
    let tense = if dry { "would be " } else { "" };
    desk.line(&format!(
        "{} {tense}created, {} {tense}changed, {} {tense}removed, {kept} as they are",
        count("create"),
        count("change"),
        count("remove")
    ))
}

impl Confirm {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let id = match self.id {
            Some(id) => id,
            None => {
                let applies = gateway.get("/v1/apply").await?;
                let waiting = applies.pointer("/waiting/id").and_then(Value::as_str);
                waiting.map(str::to_owned).ok_or_else(|| Error::NotFound(nothing_waits(&applies)))?
            }
        };
        let path = format!("/v1/apply/{}/confirm", encoded(&id));
        let record = gateway.call(Method::POST, &path).value().await?;
        desk.done(&record, "what was applied stays")
    }
}

fn nothing_waits(applies: &Value) -> String {
    match applies.pointer("/ended/state").and_then(Value::as_str) {
        Some("rolled_back") => "nothing waits to be confirmed; the last one was undone".to_owned(),
        Some(_) | None => "nothing waits to be confirmed".to_owned(),
    }
}

impl Export {
    pub(crate) async fn run(self, gateway: &Gateway, desk: &mut Desk) -> Result<(), Error> {
        let wanted = match desk.format {
            Format::Json => "application/json",
            Format::Table | Format::Yaml => "application/yaml",
        };
        let call = gateway.call(Method::GET, "/v1/export").flag("secrets", self.secrets);
        let document = call.header(header::ACCEPT, wanted).answer().await?;
        match self.file {
            None => Ok(desk.out.write_all(&document)?),
            Some(file) => pgw_core::files::create(&file, 0o600, &document)
                .map_err(|error| Error::Failed(format!("{} cannot be made: {error}", file.display()))),
        }
    }
}
