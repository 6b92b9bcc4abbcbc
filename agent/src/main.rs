//! pgw-agent: run, boot, drill, render.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use pgw_agent::nft::kernel::{Kernel, Nft};
use pgw_agent::nft::plan::{Policy, plan};
use pgw_agent::nft::render;
use pgw_agent::restore::load;
use pgw_agent::saved::Saved;
use pgw_core::active::ActiveSet;
use pgw_core::service::exit_code;
use pgw_core::settings::{AgentSettings, Environment, Mistakes, Source};

mod on_demand;
mod serve;

const USAGE: u8 = 64;
const LARGEST_INPUT: u64 = 32 << 20;
const HELP: &str = "\
pgw-agent keeps the nftables rules of the gateway as pgw-api says.

  pgw-agent          run (the same as pgw-agent run)
  pgw-agent boot     load the saved ruleset, or close every client that is known
  pgw-agent drill    let a closed device try every way out; 0: proven closed, 1: leaked, 2: could not be run
  pgw-agent render   an active set (JSON) on stdin, the ruleset on stdout; changes nothing

Settings are PGW_* environment variables.";

pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--help" | "-h"] => say(HELP),
        ["--version" | "-V"] => say(concat!("pgw-agent ", env!("CARGO_PKG_VERSION"))),
        [command @ ("boot" | "drill" | "render")] => with_settings(command),
        [] | ["run"] => with_settings("run"),
        other => {
            eprintln!("pgw-agent: {:?} is not understood; see pgw-agent --help", other.join(" "));
            return ExitCode::from(USAGE);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("pgw-agent: {error:#}");
        exit_code(error.as_ref())
    })
}

fn with_settings(command: &str) -> anyhow::Result<ExitCode> {
    let settings = match AgentSettings::read(&Environment) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("pgw-agent: {mistakes}");
            if command == "boot" {
                start_runtime()?.block_on(boot_in_spite_of(&mistakes))?;
            }
            return Ok(ExitCode::from(USAGE));
        }
    };
    if command == "render" {
        return rendered(&settings);
    }
    settings.log.clone().start();
    let runtime = start_runtime()?;
    match command {
        "boot" => runtime.block_on(boot(&settings))?,
        "drill" => return runtime.block_on(on_demand::drill(&settings)),
        _ => runtime.block_on(serve::run(&settings))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One thread: nft does the work.
fn start_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// A mistyped setting must not open a device at the next boot: the rules of the last settings
/// that could be read are loaded, and if there are none, what is known is closed.
async fn boot_in_spite_of(mistakes: &Mistakes) -> anyhow::Result<()> {
    let settings = AgentSettings::read(&Without(mistakes)).map_err(anyhow::Error::from)?;
    settings.log.clone().start();
    let last = Saved::new(&settings.state_dir).last_ruleset();
    match last {
        Ok(batch) => Ok(Nft::default().apply(&batch).await?),
        Err(_unusable) => boot(&settings).await,
    }
}

/// The environment as if what is mistyped were not set.
struct Without<'a>(&'a Mistakes);

impl Source for Without<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let mistyped = self.0.0.iter().any(|mistake| mistake.name == name);
        if mistyped { None } else { Environment.get(name) }
    }
}

/// Before the network is up: what is closed stays closed, and nothing is opened that was not.
async fn boot(settings: &AgentSettings) -> anyhow::Result<()> {
    let saved = Saved::new(&settings.state_dir);
    let restored = load(&Nft::default(), &saved, &Policy::from(settings)).await;
    let restored = restored.context("no rules could be loaded; registered devices are not held back")?;
    restored.log();
    Ok(())
}

fn rendered(settings: &AgentSettings) -> anyhow::Result<ExitCode> {
    let mut input = String::new();
    std::io::stdin().take(LARGEST_INPUT).read_to_string(&mut input).context("stdin cannot be read")?;
    let set: ActiveSet = serde_json::from_str(&input).context("stdin does not hold an active set")?;
    let ruleset = plan(&set.desired()?, &Policy::from(settings))?;
    std::io::stdout().write_all(render::replace(&ruleset).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
