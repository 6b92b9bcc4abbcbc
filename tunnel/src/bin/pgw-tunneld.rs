//! The gateway's end of reverse tunnels. It starts and runs without the API, by what the API said last.

use std::io::Write as _;
use std::process::ExitCode;

use pgw_core::resources::raise_file_limit;
use pgw_core::service::{Service, exit_code};
use pgw_core::settings::{Environment, TunnelSettings};
use pgw_tunnel::gateway::run;

const USAGE: u8 = 64;
const HELP: &str = "pgw-tunneld: the gateway's end of reverse tunnels. It takes no arguments but --help and \
--version; settings are PGW_* environment variables.";

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] run::Failure),
    #[error("cannot start: {0}")]
    Runtime(#[from] std::io::Error),
}

pub(crate) fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        return answer(&argument);
    }
    let settings = match TunnelSettings::read(&Environment) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("pgw-tunneld: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    settings.log.clone().start_json();
    match served(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pgw-tunneld: {failure}");
            exit_code(&failure)
        }
    }
}

fn answer(argument: &str) -> ExitCode {
    let answer = match argument {
        "--help" | "-h" => HELP,
        "--version" | "-V" => concat!("pgw-tunneld ", env!("CARGO_PKG_VERSION")),
        other => {
            eprintln!("pgw-tunneld: {other:?} is not understood; see --help");
            return ExitCode::from(USAGE);
        }
    };
    // Whoever asked and has gone away needs no answer.
    let _unread = writeln!(std::io::stdout(), "{answer}");
    ExitCode::SUCCESS
}

fn served(settings: &TunnelSettings) -> Result<(), Failure> {
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let ready = run::prepare(settings)?;
        ready
            .serve(async {
                if let Err(error) = Service::default().until_stopped().await {
                    // It goes on without: a signal then ends it at once.
                    tracing::error!(%error, "signals cannot be received");
                    std::future::pending::<()>().await;
                }
            })
            .await;
        Ok(())
    });
    runtime.shutdown_background();
    served
}
