//! The kernel is made to hold a ruleset, and asked whether it does.

use tokio::time::Instant;

use super::{Done, ReconcileError, Reconciler};
use crate::nft::diff::{self, Found, Left, Step};
use crate::nft::kernel::KernelError;
use crate::nft::render;
use crate::nft::ruleset::Ruleset;

impl Reconciler {
    pub(super) async fn make_so(&mut self, wanted: &Ruleset) -> Result<Done, ReconcileError> {
        let rendered = render::skeleton(&wanted.skeleton);
        let looked_at = Instant::now();
        let found = self.look().await?;
        let mut drifted = diff::drifted(self.left.as_ref(), found.as_ref());
        if drifted {
            self.drifted(None);
        }
        self.owe(found.as_ref(), wanted, drifted);
        let step = diff::step(self.left.as_ref(), found.as_ref(), wanted, &rendered);
        let (changed, found) = match (step, found) {
            (Step::Nothing, Some(found)) => {
                self.given = Some(wanted.clone());
                self.seen_at = Some(looked_at);
                (false, found)
            }
            (step, before) => {
                let printed = before.map(|before| before.printed);
                let elements_only = matches!(step, Step::Change(_));
                self.apply(step, wanted).await?;
                let mut found = self.confirm(wanted).await?;
                if elements_only && printed.as_ref() != Some(&found.printed) {
                    // Between our question and our change somebody touched the rules.
                    drifted = true;
                    self.drifted(None);
                    self.owe(None, wanted, true);
                    self.apply(Step::Replace, wanted).await?;
                    found = self.confirm(wanted).await?;
                }
                (true, found)
            }
        };
        self.left = Some(Left { rendered, found: found.clone() });
        let flows_ended = self.end_flows(&found).await;
        if drifted {
            self.healed_after(looked_at.elapsed());
        }
        Ok(Done { changed, found, flows_ended })
    }

    /// A listing that cannot be read is as good as none: everything is replaced.
    async fn look(&self) -> Result<Option<Found>, KernelError> {
        match self.machine.kernel.read().await {
            Err(KernelError::Unreadable(error)) => {
                tracing::warn!(%error, "pgw's tables cannot be read; they are replaced");
                Ok(None)
            }
            read => read,
        }
    }

    /// Until the kernel has confirmed, nobody knows what it holds.
    pub(super) async fn apply(&mut self, step: Step, wanted: &Ruleset) -> Result<(), KernelError> {
        self.left = None;
        let kernel = &self.machine.kernel;
        let changed = match step {
            Step::Change(changes) => match kernel.apply(&render::changes(&changes)).await {
                // Somebody was faster between our question and our change.
                Err(KernelError::Refused(why)) => {
                    tracing::warn!(why, "elements could not be changed; everything is replaced");
                    false
                }
                done => {
                    done?;
                    true
                }
            },
            Step::Nothing | Step::Replace => false,
        };
        if !changed {
            kernel.apply(&render::replace(wanted)).await?;
        }
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
