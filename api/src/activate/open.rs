//! The way up: flag file, forwarder, rule, APPLIED.

use std::time::Duration;

use tokio::time::Instant;

use super::Activator;
use super::forwarder::ForwarderError;
use crate::converge::{Settled, Turn, Unfinished};
use crate::store::{ClientPlan, Route};

impl Activator {
    pub(super) async fn open(
        &self,
        plan: &ClientPlan,
        port: u16,
        wanted: &[&Route],
        closed: &[&Route],
        turn: &mut Turn,
    ) -> Result<Settled, Unfinished> {
        let start = Instant::now();
        let trouble = match self.start_forwarder(plan, port, wanted).await {
            Ok(()) => {
                let loaded = wanted.iter().map(|route| route.mapping.id).collect();
                if self.board.forwarder_ready(port, loaded) {
                    self.told.ready(port, &plan.client);
                }
                None
            }
            Err(error) => {
                tracing::warn!(port, client = %plan.client.name, error = %error, "the forwarder is not ready");
                Some(error)
            }
        };
        let let_go = match &trouble {
            None => true,
            Some(error) => self.lets_go(plan, port, closed, error).await,
        };
        // FAILED means closed: it is said once the forwarder has let go of the upstream, and then
        // at once, for an agent may never answer.
        let mut written = Settled::Yes;
        if let_go {
            turn.is_shut();
            written = self.judge(plan, closed, None).await.written;
        }
        let forwarder_ms = millis(start.elapsed());
        let reconciled = self.reconciled(turn).await?;
        let rule_ms = millis(start.elapsed()) - forwarder_ms;
        let trouble = trouble.map(|error| error.to_string());
        let judged = self.judge(plan, wanted, trouble.as_deref()).await;
        for route in judged.opened {
            let since_created = jiff::Timestamp::now().duration_since(route.mapping.created_at);
            tracing::info!(
                mapping = %route.mapping.id, client = %plan.client.name, port, forwarder_ms, rule_ms,
                age_ms = since_created.as_millis(), "open"
            );
        }
        let forwarder = trouble.map_or(Settled::Yes, |why| turn.lacking(why));
        Ok(forwarder.and(written).and(judged.written).and(reconciled))
    }

    /// A forwarder that did not take over its file may still serve an upstream that is closed now.
    /// Answers whether it does so no more.
    async fn lets_go(&self, plan: &ClientPlan, port: u16, closed: &[&Route], error: &ForwarderError) -> bool {
        let holds_on = match error {
            // It reads the file by itself, and is asked again.
            ForwarderError::NotAsked(_) => return false,
            ForwarderError::Flags(_) | ForwarderError::NotLoaded(_) => true,
            // What is not there holds nothing, and what comes up reads the file.
            ForwarderError::Units(_) | ForwarderError::Gone(_) => false,
        };
        self.board.forwarder_gone(port);
        let something_goes = !closed.is_empty() || plan.routes.iter().any(|route| route.going);
        if !(holds_on && something_goes) {
            return true;
        }
        match self.stop_forwarder(port).await {
            Ok(()) => {
                self.told.stopped(port, Some(&plan.client), "it did not let go of a closed upstream");
                true
            }
            Err(error) => {
                tracing::warn!(port, client = %plan.client.name, error = %error, "the forwarder keeps a closed upstream");
                false
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
