//! What an operator can look at, gathered from those who know it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Telemetry;
use super::connections::Connections;
use super::counts::Counts;
use super::metrics::{Snapshot, page, seconds};
use crate::agent_client::AgentView;
use crate::board::Board;
use crate::events::Bus;
use crate::store::{Store, StoreError};

/// Whoever scrapes has little patience, and the agent may hang.
const AGENT_PATIENCE: Duration = Duration::from_secs(1);

pub struct Watch {
    pub telemetry: Arc<Telemetry>,
    pub connections: Connections,
    pub counts: Counts,
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub bus: Arc<Bus>,
    pub agent: Arc<dyn AgentView>,
    /// Metrics tell clients one by one.
    pub by_client: bool,
}

impl Watch {
    /// The page for Prometheus.
    pub async fn metrics(&self) -> Result<String, StoreError> {
        let agent = tokio::time::timeout(AGENT_PATIENCE, self.agent.status());
        let (census, agent) = tokio::join!(self.store.census(), agent);
        let census = census?;
        let tunnels = self.store.tunnel_census().await?;
        let reconciled = self.board.confirmed_before().and_then(|ago| ago.try_into().ok());
        let reconciled_at = reconciled.map(|ago: jiff::SignedDuration| seconds(Timestamp::now() - ago));
        let snapshot = Snapshot {
            health: census.proxies.iter().map(|proxy| self.board.health(proxy.id)).collect(),
            census,
            forwarders: self.board.forwarders().borrow().len(),
            connections: self.telemetry.now().connections,
            event_readers: self.bus.readers(),
            totals: self.telemetry.totals(),
            tunnels,
            by_client: self.by_client,
            agent_answers: self.board.agent_trouble().is_none(),
            reconciled_at,
            agent: agent.ok().and_then(Result::ok),
        };
        // Writing to a text does not fail.
        Ok(page(snapshot, &self.counts).unwrap_or_default())
    }
}
