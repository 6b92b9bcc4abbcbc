//! pgw-api: settings, log, store, machinery, server, drain.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pgw_api::http::{self, Api};
use pgw_api::shared::Shared;
use pgw_api::store::open::{Opening, open};
use pgw_api::{app, credentials, gateway, sole};
use pgw_core::resources::raise_file_limit;
use pgw_core::serve::serve;
use pgw_core::service::{Service, exit_code};
use pgw_core::settings::{ApiSettings, Environment};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests that are under way when the program is told to stop have this long.
const DRAIN: Duration = Duration::from_secs(5);
/// More than pgw-ui has, all of whose visitors come from this machine.
const MAX_CONNECTIONS: usize = 1000;
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
            exit_code(error.as_ref())
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
    raise_file_limit();
    // First of all: a second API must find out before it touches the database, a port or a
    // forwarder, also when it was given another address.
    let _sole = sole::take(&settings.state_dir)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("PGW_API_LISTEN={} cannot be listened on", settings.listen))?;
    let gateway = gateway::name(settings.gateway.as_deref())?;
    let store = open(&settings.database_url, &Opening::new(&gateway, &settings.key_file)).await?;
    let auth =
        credentials::prepare(&settings.state_dir, store.as_ref(), settings.admin_token.as_ref()).await?;
    let parts = app::build(&settings, store.clone()).await?;

    let api = Api {
        store,
        engine: parts.engine.clone(),
        auth,
        ports: settings.ports.clone(),
        database: Shared::default(),
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    parts.start(&tasks, &stop);
    tracing::info!(listen = %settings.listen, version = env!("CARGO_PKG_VERSION"), "pgw-api listens");
    tasks.spawn(serve(listener, http::router(Arc::new(api)), MAX_CONNECTIONS, tasks.clone(), stop.clone()));
    Service::default().until_stopped().await?;
    tracing::info!("stopping; rules and forwarders stay as they are");
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    Ok(())
}
