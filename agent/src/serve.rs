//! The running agent: rules first, then the API, then until told to stop. The rules stay.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use pgw_core::resources::raise_file_limit;
use pgw_core::serve::serve;
use pgw_core::service::Service;
use pgw_core::settings::AgentSettings;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use pgw_agent::api::{HttpApi, internal_token_file};
use pgw_agent::conntrack::Ctnetlink;
use pgw_agent::drill::{Keeper, Range};
use pgw_agent::http::{self, Agent, Auth};
use pgw_agent::nft::kernel::Nft;
use pgw_agent::nft::plan::Policy;
use pgw_agent::nft::watch::{self, Watch};
use pgw_agent::reconcile::{Machine, Reconciler, Status};
use pgw_agent::restore::restore;
use pgw_agent::saved::Saved;
use pgw_agent::{drift, interfaces, neighbours, wake};

/// A reconcile and the calls that wait for it have this long to end.
const DRAIN: Duration = Duration::from_secs(5);
/// pgw-api, the UI on behalf of its visitors, and an operator.
const MAX_CONNECTIONS: usize = 400;

pub(crate) async fn run(settings: &AgentSettings) -> anyhow::Result<()> {
    raise_file_limit();
    let (saved, policy) = (Saved::new(&settings.state_dir), Policy::from(settings));
    let kernel = Arc::new(Nft::default());
    let (news, drifts, deaf) = drift::channel();
    // Before the first look at the tables, so that no change falls between the two.
    let watch = Watch::open(kernel.own_hands());
    match restore(kernel.as_ref(), &saved, &policy).await {
        Ok(restored) => restored.log(),
        // Told by every reconcile, too: the agent is there to say it.
        Err(error) => tracing::error!(%error, "no rules could be loaded"),
    }
    // After the rules: a port that is taken must not keep a device from being closed.
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("PGW_AGENT_LISTEN={} cannot be listened on", settings.listen))?;

    let api = Arc::new(HttpApi::new(&settings.api_url, &settings.state_dir)?);
    let status = Status::new(settings);
    let machine = Machine {
        kernel: kernel.clone(),
        conntrack: Arc::new(Ctnetlink),
        interfaces: Arc::new(interfaces::Kernel),
    };
    let reconciler = Reconciler::new(api.clone(), machine, saved, policy, status.clone(), deaf);
    let (wake, waiting) = wake::channel();
    let auth = Auth::new(internal_token_file(&settings.state_dir), settings.admin_token.clone(), api);
    let hands = kernel.own_hands();
    let drill = Arc::new(Keeper::new(Range::new(settings, kernel.clone()), status.clone()));
    let neighbours = Arc::new(neighbours::On(settings.lan_if.clone()));
    let chronicle = status.chronicle().clone();
    let agent = Arc::new(Agent { auth, wake, status, kernel, drill: drill.clone(), neighbours });

    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    tasks.spawn(watch::run(watch, hands, news, stop.clone()));
    tasks.spawn(waiting.run(reconciler, drifts, settings.reconcile_interval, stop.clone()));
    let (interval, stopped) = (settings.drill_interval, stop.clone());
    tasks.spawn(async move { drill.run(interval, stopped).await });
    tasks.spawn(serve(listener, http::router(agent), MAX_CONNECTIONS, tasks.clone(), stop.clone()));
    tracing::info!(listen = %settings.listen, version = env!("CARGO_PKG_VERSION"), "pgw-agent listens");

    Service::default().until_stopped().await?;
    tracing::info!("stopping; the rules stay in place");
    stop.cancel();
    chronicle.close();
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!("some calls did not end in time");
    }
    Ok(())
}
