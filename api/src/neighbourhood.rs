//! One gateway among those that share its database: it shows that it is there, and looks at what
//! the others have written.

use std::sync::Arc;
use std::time::Duration;

use pgw_core::seldom::Seldom;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::converge::Converger;
use crate::health::checks::HealthChecks;
use crate::store::{News, Presence, Store, StoreError};
use crate::tunnels::Link;

const EVERY: Duration = Duration::from_secs(10);

pub struct Neighbourhood {
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub converger: Converger,
    pub health: HealthChecks,
    pub tunnels: Arc<Link>,
    pub presence: Presence,
}

impl Neighbourhood {
    pub async fn run(self, stop: CancellationToken) {
        // Beside each other: a database that writes slowly keeps nobody from hearing.
        let both = async { tokio::join!(self.show(), self.listen()) };
        stop.run_until_cancelled(both).await;
    }

    async fn show(&self) {
        let mut complaints = Seldom::default();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(error) = self.store.show_presence(&self.presence).await
                && let Some(before) = complaints.due(Instant::now().into_std())
            {
                tracing::warn!(error = %error, before, "other gateways cannot see that this one is there");
            }
        }
    }

    async fn listen(&self) {
        let Some(mut neighbours) = self.store.neighbours() else { return };
        loop {
            let news = neighbours.next().await;
            if let Err(error) = self.heard(news).await {
                // Every client is looked at again within the interval.
                tracing::debug!(error = %error, "what another gateway wrote cannot be read");
            }
        }
    }

    /// What it leads to is asked of the database, like everything else: a message that is late
    /// or was never sent costs an interval, and no wrong state.
    async fn heard(&self, news: News) -> Result<(), StoreError> {
        if news != News::Doubled {
            self.board.set_namesake(false);
        }
        self.store.written_elsewhere();
        match news {
            News::Client(id) => {
                if self.store.plan(id).await?.is_some() {
                    self.converger.wake(id);
                }
            }
            News::Proxy(id) => self.converger.wake_proxy(id),
            News::Redialled(id) => self.health.changed(id).await,
            News::Tunnels => self.tunnels.wake(),
            News::Events => {}
            News::Missed => {
                for proxy in self.store.upstreams().await? {
                    self.health.meet(proxy.id);
                }
                self.converger.wake_all();
                self.tunnels.wake();
            }
            News::Doubled => {
                tracing::error!("another gateway that is running has the name of this one: PGW_GATEWAY");
                self.board.set_namesake(true);
            }
        }
        Ok(())
    }
}
