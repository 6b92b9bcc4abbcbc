//! pgw-api: settings, log, store, machinery, server, drain.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pgw_api::http::{self, Api};
use pgw_api::store::Store;
use pgw_api::store::sqlite::{PATIENCE, SqliteStore};
use pgw_api::{app, credentials};
use pgw_core::settings::{ApiSettings, Environment};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests that are under way when the program is told to stop have this long.
const DRAIN: Duration = Duration::from_secs(5);
const USAGE: u8 = 64;
const HELP: &str = "pgw-api: owns the configuration of the gateway. It takes no arguments but \
--help and --version; settings are PGW_* environment variables.";

#[tokio::main]
async fn main() -> ExitCode {
    if let Some(argument) = std::env::args().nth(1) {
        return answer(&argument);
    }
    let settings = match ApiSettings::read(&Environment) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("pgw-api: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    settings.log.clone().start();
    match run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgw-api: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(argument: &str) -> ExitCode {
    match argument {
        "--help" | "-h" => eprintln!("{HELP}"),
        "--version" | "-V" => eprintln!("pgw-api {}", env!("CARGO_PKG_VERSION")),
        other => {
            eprintln!("pgw-api: {other:?} is not understood; see --help");
            return ExitCode::from(USAGE);
        }
    }
    ExitCode::SUCCESS
}

async fn run(settings: ApiSettings) -> anyhow::Result<()> {
    // First of all: a second API must find out before it touches a port or a forwarder.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("PGW_API_LISTEN={} cannot be listened on", settings.listen))?;
    std::fs::create_dir_all(&settings.state_dir)
        .with_context(|| format!("PGW_STATE_DIR={} cannot be made", settings.state_dir.display()))?;
    let store: Arc<dyn Store> =
        Arc::new(SqliteStore::open(&settings.database_url, &settings.state_dir, PATIENCE).await?);
    let auth =
        credentials::prepare(&settings.state_dir, store.as_ref(), settings.admin_token.as_ref()).await?;
    let parts = app::build(&settings, store.clone()).await?;

    let api = Api { store, engine: parts.engine.clone(), auth, ports: settings.ports.clone() };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    parts.start(&tasks, &stop);
    tracing::info!(listen = %settings.listen, version = env!("CARGO_PKG_VERSION"), "pgw-api listens");
    sd_notify::notify(&[sd_notify::NotifyState::Ready])?;

    let asked_to_stop = stop.clone();
    let server = axum::serve(listener, http::router(Arc::new(api)))
        .with_graceful_shutdown(async move { asked_to_stop.cancelled().await });
    let server = tasks.spawn(async move { server.await });
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        ended = server => ended.context("the server ended")?.context("the server failed")?,
    }
    tracing::info!("stopping; rules and forwarders stay as they are");
    sd_notify::notify(&[sd_notify::NotifyState::Stopping])?;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}
