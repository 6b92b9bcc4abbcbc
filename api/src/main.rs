//! pgw-api: settings, log, store, machinery, server, drain.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pgw_api::declarative::deadline::Deadlines;
use pgw_api::http::attempts::Attempts;
use pgw_api::http::doors::{Doors, SetupTime};
use pgw_api::http::{self, Api};
use pgw_api::passwords::Passwords;
use pgw_api::shared::Shared;
use pgw_api::store::open::{Opening, open};
use pgw_api::{app, backup, credentials, gateway, heap, identity, own, sole};
use pgw_core::cause;
use pgw_core::hosts::AllowedHosts;
use pgw_core::resources::{host_name, raise_file_limit};
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
const HELP: &str = "\
pgw-api: owns the configuration of the gateway. Settings are PGW_* environment variables.

  pgw-api                 runs until it is told to stop
  pgw-api backup <file>   writes all that is in the database to a new file, while the API goes on.
                          With the file whoever has it can open the secrets: it holds their key
  pgw-api restore <file>  makes the database what the file says, while the API is stopped; what was
                          there is kept beside it. Into PostgreSQL: into a new, empty database
  pgw-api --version";

pub(crate) fn main() -> ExitCode {
    heap::keep_one();
    begin()
}

#[tokio::main]
async fn begin() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer = match arguments.as_slice() {
        ["--help" | "-h"] => Some(HELP),
        ["--version" | "-V"] => Some(concat!("pgw-api ", env!("CARGO_PKG_VERSION"))),
        _ => None,
    };
    if let Some(answer) = answer {
        // Whoever asked and has gone away needs no answer.
        let _unread = writeln!(std::io::stdout(), "{answer}");
        return ExitCode::SUCCESS;
    }
    let settings = match ApiSettings::read(&Environment) {
        Ok(settings) => settings,
        Err(mistakes) => {
            eprintln!("pgw-api: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    settings.log.clone().start();
    let done = match arguments.as_slice() {
        [] => run(settings).await,
        ["backup", file] => backup(&settings, Path::new(file)).await,
        ["restore", file] => restore(&settings, Path::new(file)).await,
        other => {
            eprintln!("pgw-api: {:?} is not understood; see --help", other.join(" "));
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pgw-api: {}", cause::chain(error.as_ref()));
            exit_code(error.as_ref())
        }
    }
}

async fn backup(settings: &ApiSettings, file: &Path) -> anyhow::Result<()> {
    let rows = backup::backup(settings, file).await?;
    eprintln!("pgw-api: {} holds {rows} rows, and the key of the secrets", file.display());
    Ok(())
}

async fn restore(settings: &ApiSettings, file: &Path) -> anyhow::Result<()> {
    let restored = backup::restore(settings, file).await?;
    for kept in restored.aside {
        eprintln!("pgw-api: what was there is kept as {}", kept.display());
    }
    eprintln!("pgw-api: restored; there are clients of these gateways: {}", restored.gateways.join(", "));
    Ok(())
}

async fn run(settings: ApiSettings) -> anyhow::Result<()> {
    raise_file_limit();
    // First of all: a second API must find out before it touches the database, a port or a
    // forwarder, also when it was given another address.
    let _sole = sole::take(&settings.state_dir)?;
    let _forwarders = sole::take_forwarders(&settings.run_dir)?;
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("PGW_API_LISTEN={} cannot be listened on", settings.listen))?;
    let gateway = gateway::name(settings.gateway.as_deref(), &settings.state_dir, &settings.database_url)?;
    let expected = identity::known(&settings.state_dir)?;
    let opening = Opening { expected, ..Opening::new(&gateway, &settings.key_file) };
    let store = open(&settings.database_url, &opening).await?;
    gateway::keep(&gateway, &settings.state_dir)?;
    if expected.is_none() {
        identity::keep(store.identity().id, &settings.state_dir)?;
    }
    let auth =
        credentials::prepare(&settings.state_dir, store.as_ref(), settings.admin_token.as_ref()).await?;
    let doors = Doors {
        // Without a name of its own the machine has its addresses.
        hosts: settings
            .allowed_hosts
            .clone()
            .unwrap_or_else(|| AllowedHosts::of_machine(&host_name().unwrap_or_default())),
        if_match: settings.if_match,
        passwords: Passwords::new()?,
        attempts: Attempts::default(),
        // Whoever set a token makes the first admin with it: nobody else has to be let in.
        setup: SetupTime::of(store.identity().made_at.filter(|_| settings.admin_token.is_none())),
    };
    let parts = app::build(&settings, store.clone()).await?;

    let deadlines = Deadlines {
        store: store.clone(),
        engine: parts.engine.clone(),
        tunnels: parts.tunnels.clone(),
        news: Arc::default(),
    };
    let api = Api {
        store,
        engine: parts.engine.clone(),
        watch: parts.watch.clone(),
        bus: parts.bus.clone(),
        webhooks: parts.webhooks.clone(),
        tunnels: parts.tunnels.clone(),
        auth,
        doors,
        ports: settings.ports.clone(),
        own: own::look,
        deadlines: deadlines.news.clone(),
        database: Shared::default(),
    };
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    parts.start(&tasks, &stop);
    tasks.spawn(deadlines.run(stop.clone()));
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
