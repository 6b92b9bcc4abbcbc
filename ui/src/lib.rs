//! pgw-ui: settings, log, router, server, drain.

mod app;
mod headers;
#[cfg(test)]
mod played;
mod problem;
mod reverse;
mod target;
mod web;
mod websocket;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use pgw_core::resources::raise_file_limit;
use pgw_core::serve::serve;
use pgw_core::service::{Service, exit_code};
use pgw_core::settings::{Environment, UiSettings};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests that are under way when the program is told to stop have this long; streams, which
/// have no end of their own, are cut after it.
const DRAIN: Duration = Duration::from_secs(5);
/// Each may hold a second connection, to a service. pgw-api takes more of this machine than these.
const MAX_CONNECTIONS: usize = 400;
const USAGE: u8 = 64;
const HELP: &str = "pgw-ui: status page, and the way to pgw-api and pgw-agent. It takes no arguments but \
--help and --version; settings are PGW_* environment variables.";

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("PGW_UI_LISTEN={listen} cannot be listened on: {source}")]
    Listen { listen: SocketAddr, source: std::io::Error },
    #[error(transparent)]
    Upstream(#[from] reverse::BuildError),
    #[error("signals cannot be received, or systemd cannot be told: {0}")]
    Process(#[from] std::io::Error),
}

// One thread: the cores belong to the forwarders.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        return answer(&argument);
    }
    let settings = match UiSettings::read(&Environment) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("pgw-ui: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    settings.log.clone().start();
    // Fails only where a provider is installed already, and then there is one.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(&settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgw-ui: {error}");
            exit_code(&error)
        }
    }
}

fn answer(argument: &str) -> ExitCode {
    let answer = match argument {
        "--help" | "-h" => HELP,
        "--version" | "-V" => concat!("pgw-ui ", env!("CARGO_PKG_VERSION")),
        other => {
            eprintln!("pgw-ui: {other:?} is not understood; see --help");
            return ExitCode::from(USAGE);
        }
    };
    // Whoever asked and has gone away needs no answer.
    let _unread = writeln!(std::io::stdout(), "{answer}");
    ExitCode::SUCCESS
}

async fn run(settings: &UiSettings) -> Result<(), StartError> {
    raise_file_limit();
    let router = app::router(settings)?;
    let listen = settings.listen;
    let listener = TcpListener::bind(listen).await.map_err(|source| StartError::Listen { listen, source })?;
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(serve(listener, router, MAX_CONNECTIONS, tasks.clone(), stop.clone()));
    tracing::info!(%listen, version = env!("CARGO_PKG_VERSION"), "pgw-ui listens");

    Service::default().until_stopped().await?;
    tracing::info!("stopping; no device notices");
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::info!("streams that were still open are cut");
    }
    Ok(())
}
