//! A forwarder that is gone: is it coming back, while somebody keeps its port?

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pgw_core::ids::MappingId;
use tokio::time::{Instant, sleep};

use super::Activator;
use super::judge::facts;
use crate::converge::{Turn, Unfinished};
use crate::store::ClientPlan;
use crate::units::control;

/// A service manager starts it again after a tenth of this. Nobody gets out meanwhile: who connects
/// waits in the queue of a port that nobody accepts from.
const PATIENCE: Duration = Duration::from_secs(1);
const GLANCE: Duration = Duration::from_millis(20);

/// Since when forwarders have been missing that are waited for.
#[derive(Default)]
pub struct Absences(Mutex<BTreeMap<u16, Instant>>);

impl Absences {
    /// Answers whether it is news.
    fn begin(&self, port: u16) -> bool {
        self.change(|since| match since.entry(port) {
            Entry::Vacant(free) => {
                free.insert(Instant::now());
                true
            }
            Entry::Occupied(_) => false,
        })
    }

    fn end(&self, port: u16) -> bool {
        self.change(|since| since.remove(&port).is_some())
    }

    fn is_long(&self, port: u16) -> bool {
        self.change(|since| since.get(&port).is_none_or(|since| since.elapsed() >= PATIENCE))
    }

    /// A panic elsewhere leaves it whole: each change is one insert or remove.
    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u16, Instant>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Activator {
    /// It was ready, and is not there any more. Its device meets a port on which nothing listens,
    /// so APPLIED is not true from now on, however soon it comes back; but where the port is kept
    /// the device waits in its queue, and a forwarder that is back within a moment is as it was.
    pub(super) async fn forwarder_died(
        &self,
        plan: &ClientPlan,
        port: u16,
        turn: &mut Turn,
    ) -> Result<bool, Unfinished> {
        if !self.board.forwarder_known(port) {
            return Ok(false);
        }
        while self.is_missing(port).await {
            if self.absences.begin(port) {
                self.told.died(port, &plan.client);
            }
            if !self.is_awaited(plan, port).await {
                self.absences.end(port);
                return Ok(self.board.forwarder_gone(port));
            }
            turn.wait_for("the forwarder", sleep(GLANCE)).await?;
        }
        if self.absences.end(port) {
            self.told.ready(port, &plan.client);
        }
        Ok(false)
    }

    async fn is_missing(&self, port: u16) -> bool {
        match control::status(&self.run_dir, port).await {
            Ok(status) => status.draining,
            Err(error) => !error.says_nothing(),
        }
    }

    /// Only as long as nothing else has changed: it comes up with the flag file that lies there, and
    /// what is to be closed by now is not to wait for it.
    async fn is_awaited(&self, plan: &ClientPlan, port: u16) -> bool {
        let live = plan.routes.iter().filter(|route| !plan.going && !route.going);
        let wanted = live.filter(|route| facts(plan, route, &self.board).wanted());
        let wanted = wanted.map(|route| route.mapping.id).collect::<BTreeSet<MappingId>>();
        !self.absences.is_long(port)
            && self.board.forwarder_loaded(port).is_some_and(|loaded| loaded == wanted)
            && self.units.keeps(port).await
    }
}
