//! The kernel is made to hold a ruleset, and asked whether it does. A change of elements rests on
//! what was confirmed last: the look that counts is the one after it, and with thousands of
//! clients a look costs ten times the change. In doubt a look comes first and everything is replaced.

use tokio::time::Instant;

use super::{Done, ReconcileError, Reconciler};
use crate::nft::diff::{self, Changes, Found, Left, Step};
use crate::nft::kernel::KernelError;
use crate::nft::render;
use crate::nft::ruleset::Ruleset;

impl Reconciler {
    pub(super) async fn make_so(&mut self, wanted: &Ruleset) -> Result<Done, ReconcileError> {
        let rendered = render::skeleton(&wanted.skeleton);
        let began = Instant::now();
        let left = self.left.clone();
        let believed = left.as_ref().map(|left| &left.found);
        if let (Step::Change(changes), Some(believed)) =
            (diff::step(left.as_ref(), believed, wanted, &rendered), believed)
        {
            self.owe(Some(believed), wanted, false);
            if let Some(found) = self.change(&changes, wanted, &believed.printed).await? {
                return Ok(self.settled(true, rendered, found).await);
            }
        }
        let found = self.look().await?;
        let drifted = diff::drifted(left.as_ref(), found.as_ref());
        if drifted {
            self.drifted(None);
        }
        self.owe(found.as_ref(), wanted, drifted);
        let step = diff::step(left.as_ref(), found.as_ref(), wanted, &rendered);
        let done = match (step, found) {
            (Step::Nothing, Some(found)) => {
                self.given = Some(wanted.clone());
                self.seen_at = Some(began);
                self.settled(false, rendered, found).await
            }
            (Step::Nothing | Step::Change(_) | Step::Replace, _) => {
                self.replace(wanted).await?;
                let found = self.confirm(wanted).await?;
                self.settled(true, rendered, found).await
            }
        };
        if drifted {
            self.healed_after(began.elapsed());
        }
        Ok(done)
    }

    async fn settled(&mut self, changed: bool, rendered: String, found: Found) -> Done {
        self.left = Some(Left { rendered, found: found.clone() });
        let flows_ended = self.end_flows(&found).await;
        Done { changed, found, flows_ended }
    }

    /// A listing that cannot be read is as good as none: everything is replaced.
    pub(super) async fn look(&self) -> Result<Option<Found>, KernelError> {
        match self.machine.kernel.read().await {
            Err(KernelError::Unreadable(error)) => {
                tracing::warn!(%error, "pgw's tables cannot be read; they are replaced");
                Ok(None)
            }
            read => read,
        }
    }

    /// None if that does not lead to what is wanted: then somebody has touched the tables since
    /// they were last seen.
    async fn change(
        &mut self,
        changes: &Changes,
        wanted: &Ruleset,
        printed: &str,
    ) -> Result<Option<Found>, ReconcileError> {
        self.left = None;
        match self.machine.kernel.apply(&render::changes(changes)).await {
            Err(KernelError::Refused(why)) => {
                tracing::warn!(why, "elements could not be changed; everything is looked at");
                return Ok(None);
            }
            applied => applied?,
        }
        self.given = Some(wanted.clone());
        match self.confirm(wanted).await {
            Ok(found) => Ok(Some(found).filter(|found| found.printed == printed)),
            Err(ReconcileError::NotConfirmed | ReconcileError::Kernel(KernelError::Unreadable(_))) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Until the kernel has confirmed, nobody knows what it holds.
    pub(super) async fn replace(&mut self, wanted: &Ruleset) -> Result<(), KernelError> {
        self.left = None;
        self.machine.kernel.apply(&render::replace(wanted)).await?;
        self.given = Some(wanted.clone());
        Ok(())
    }

    pub(super) async fn confirm(&mut self, wanted: &Ruleset) -> Result<Found, ReconcileError> {
        let looked_at = Instant::now();
        match self.machine.kernel.read().await? {
            Some(found) if found.elements == wanted.elements => {
                self.seen_at = Some(looked_at);
                Ok(found)
            }
            _ => Err(ReconcileError::NotConfirmed),
        }
    }
}
