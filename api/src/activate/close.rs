//! The way down: a flag file without upstreams, FAILED, rule, forwarder. And forwarders that
//! belong to nobody, which go the same way.

use std::collections::BTreeSet;

use pgw_core::flag::FlagFile;
use pgw_core::state::Rule;
use uuid::Uuid;

use super::Activator;
use super::forwarder::ForwarderError;
use crate::converge::{Settled, Turn, Unfinished};
use crate::store::{ClientPlan, Route};
use crate::units::control;

impl Activator {
    /// The door closes before the lights go out. First the forwarder is left without upstreams:
    /// it cuts what it carries and refuses what comes, whether an agent answers or not. Then the
    /// rule goes, then the forwarder. While the rule may still be there nothing counts as settled,
    /// so that the port is not given to anybody else.
    pub(super) async fn close(
        &self,
        plan: &ClientPlan,
        port: u16,
        closed: &[&Route],
        turn: &mut Turn,
    ) -> Result<Settled, Unfinished> {
        self.board.forwarder_gone(port);
        let client = &plan.client.name;
        let shut = self.shut(port).await;
        let mut written = Settled::Yes;
        match &shut {
            Ok(()) => {
                turn.is_shut();
                written = self.judge(plan, closed, None).await.written;
            }
            Err(error) => {
                tracing::warn!(port, client, error = %error, "the forwarder may keep its upstreams until it stops");
            }
        }
        let reconciled = self.reconciled(turn).await?;
        if self.board.rule(plan.client.ip_cidr.addr(), port) == Rule::Confirmed {
            tracing::warn!(port, client, "the rule of a closed client is still in the kernel");
            return Ok(turn.lacking("the rule is still in the kernel".to_owned()));
        }
        if let Err(error) = self.stop_forwarder(port).await {
            tracing::warn!(port, client, error = %error, "the forwarder does not stop");
            return Ok(turn.lacking(error.to_string()));
        }
        self.told.stopped(port, Some(&plan.client), "nothing is open for its device");
        if shut.is_err() {
            written = self.judge(plan, closed, None).await.written;
        }
        Ok(written.and(reconciled))
    }

    /// From here on whoever is sent to this port gets nowhere. A forwarder that cannot be told so,
    /// because the disk is full or it does not read, is stopped without waiting for its rule.
    async fn shut(&self, port: u16) -> Result<(), ForwarderError> {
        let emptied = match self.flags.read(port).await {
            Some(flag) => {
                self.empty(FlagFile { revision: Uuid::now_v7(), upstreams: Vec::new(), ..flag }).await
            }
            None => match control::status(&self.run_dir, port).await {
                // Whatever it serves, nobody knows what.
                Ok(_) => return self.stop_forwarder(port).await,
                Err(error) => Err(error.into()),
            },
        };
        match emptied {
            Ok(()) | Err(ForwarderError::Gone(_)) => Ok(()),
            Err(error @ ForwarderError::NotAsked(_)) => Err(error),
            Err(error) => {
                tracing::warn!(port, error = %error, "a forwarder does not let go of its upstreams, and is stopped");
                self.stop_forwarder(port).await
            }
        }
    }

    async fn empty(&self, flag: FlagFile) -> Result<(), ForwarderError> {
        let port = flag.port;
        let revision = self.flags.write(flag).await?;
        self.until_loaded(port, revision).await
    }

    /// A port that belongs to no client: a flag file or a forwarder that outlived its mapping.
    pub(super) async fn sweep_port(&self, port: u16, turn: &mut Turn) -> Result<Settled, Unfinished> {
        let _held = turn.wait_for("the port's owner", self.ports.hold(port)).await?;
        // Asked with the port in hand: who is given it from now on waits for the end of this.
        if self.store.plans().await?.iter().any(|plan| plan.port == Some(port)) {
            return Ok(Settled::Yes);
        }
        tracing::info!(port, "a forwarder belongs to no client; it is stopped");
        self.board.forwarder_gone(port);
        if let Err(error) = self.shut(port).await {
            tracing::warn!(port, error = %error, "a forwarder that belongs to nobody may keep its upstreams until it stops");
        }
        // Whatever comes of it: nobody's forwarder is of no use to anybody.
        let _agent_or_not = self.reconciled(turn).await?;
        match self.stop_forwarder(port).await {
            Ok(()) => {
                self.told.stopped(port, None, "it belongs to no client");
                Ok(Settled::Yes)
            }
            Err(error) => {
                tracing::warn!(port, error = %error, "a forwarder that belongs to nobody does not stop");
                Ok(Settled::No(error.to_string()))
            }
        }
    }

    /// Ports that have a flag file or a running forwarder.
    pub async fn ports_in_use(&self) -> BTreeSet<u16> {
        let mut ports = BTreeSet::new();
        match self.flags.ports().await {
            Ok(flagged) => ports.extend(flagged),
            Err(error) => tracing::warn!(error = %error, "flag files cannot be listed"),
        }
        match self.units.running().await {
            Ok(running) => ports.extend(running),
            Err(error) => tracing::warn!(error = %error, "forwarders cannot be listed"),
        }
        ports
    }
}
