//! One client, brought to what the database says. Each run asks what is true, does what is
//! missing, and writes down what came of it, so it may be cut off anywhere and run again.
//!
//! Opening: exit address, flag file, forwarder, rule, APPLIED. Closing is the mirror: a flag file without
//! upstreams, FAILED, rule, forwarder, row; and a reconcile last.

mod absence;
mod close;
mod exits;
mod forwarder;
mod judge;
mod open;
mod ports;
mod told;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pgw_core::flag::{FlagDns, Limits};
use pgw_core::ids::{ClientId, MappingId};
use pgw_core::redact::SniLog;

use crate::agent_client::AgentClient;
use crate::board::Board;
use crate::converge::{Look, Settled, Subject, Turn, Unfinished};
use crate::flags::Flags;
use crate::store::{ClientPlan, Route, Store};
use crate::units::Units;
pub use absence::Absences;
pub use judge::facts;
pub use ports::Ports;
pub use told::Told;

pub struct Activator {
    pub store: Arc<dyn Store>,
    pub board: Arc<Board>,
    pub flags: Flags,
    pub units: Arc<dyn Units>,
    pub agent: AgentClient,
    pub ports: Ports,
    pub absences: Absences,
    pub told: Told,
    pub run_dir: PathBuf,
    pub sni_log: SniLog,
    /// None: the gateway's own resolver answers.
    pub dns: Option<FlagDns>,
    pub limits: Limits,
}

#[async_trait]
impl Look for Activator {
    async fn look(&self, subject: Subject, turn: &mut Turn) -> Result<Settled, Unfinished> {
        match subject {
            Subject::Kernel => self.reconciled(turn).await,
            Subject::Client(id) => self.bring(id, turn).await,
            Subject::Port(port) => self.sweep_port(port, turn).await,
        }
    }
}

impl Activator {
    async fn bring(&self, id: ClientId, turn: &mut Turn) -> Result<Settled, Unfinished> {
        let Some(plan) = self.store.plan(id).await? else {
            turn.is_shut();
            return self.reconciled(turn).await;
        };
        let settled = match plan.port {
            Some(port) => {
                let _held = turn.wait_for("the port's former forwarder", self.ports.hold(port)).await?;
                self.bring_on(plan, port, turn).await?
            }
            None => {
                turn.is_shut();
                let reconciled = self.reconciled(turn).await?;
                self.finished(&plan, reconciled).await?
            }
        };
        match settled {
            Brought::Gone => self.reconciled(turn).await,
            Brought::There(settled) => Ok(settled),
        }
    }

    async fn bring_on(
        &self,
        mut plan: ClientPlan,
        port: u16,
        turn: &mut Turn,
    ) -> Result<Brought, Unfinished> {
        if self.forwarder_died(&plan, port, turn).await? {
            let routes: Vec<&Route> = plan.routes.iter().filter(|route| !route.going).collect();
            self.judge(&plan, &routes, Some("it has stopped and is being started again")).await;
            plan.routes = self.store.plan(plan.client.id).await?.map(|plan| plan.routes).unwrap_or_default();
        }
        let taken = self.take_exits(&mut plan).await;
        let live = plan.routes.iter().filter(|route| !plan.going && !route.going);
        let (wanted, closed): (Vec<&Route>, Vec<&Route>) =
            live.partition(|route| facts(&plan, route, &self.board).wanted());
        let (wanted, recovered) = self.recovered(&plan, wanted).await;
        let settled = if wanted.is_empty() {
            self.close(&plan, port, &closed, turn).await?
        } else {
            self.open(&plan, port, &wanted, &closed, turn).await?
        };
        self.finished(&plan, taken.and(recovered).and(settled)).await
    }

    /// The rows go last, when nothing is left of what they stand for.
    async fn finished(&self, plan: &ClientPlan, settled: Settled) -> Result<Brought, Unfinished> {
        let going = plan.routes.iter().filter(|route| plan.going || route.going);
        let going: Vec<MappingId> = going.map(|route| route.mapping.id).collect();
        let nothing_goes = !plan.going && going.is_empty();
        if settled != Settled::Yes || nothing_goes {
            return Ok(Brought::There(settled));
        }
        self.store.finish_removal(plan.client.id, &going).await?;
        for mapping in going {
            self.board.set_exit_taken(mapping, None);
        }
        Ok(Brought::Gone)
    }

    async fn reconciled(&self, turn: &mut Turn) -> Result<Settled, Unfinished> {
        let reconciled = turn.wait_for("the agent", self.agent.reconcile()).await?;
        Ok(match reconciled {
            Ok(_report) => Settled::Yes,
            Err(error) => turn.lacking(error.to_string()),
        })
    }
}

enum Brought {
    There(Settled),
    /// Rows are gone, and their port with them: a reconcile comes last.
    Gone,
}
