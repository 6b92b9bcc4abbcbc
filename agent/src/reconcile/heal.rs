//! Somebody else has changed our tables. Each millisecond counts, for a device may be open:
//! what the kernel was last given is given to it again, from memory, and nobody is asked first.

use std::time::Duration;

use jiff::Timestamp;
use pgw_core::news::{Episode, Phase, What};
use tokio::time::Instant;

use super::{ReconcileError, Reconciler};
use crate::drift::{Foreign, Healing};
use crate::nft::diff::Left;
use crate::nft::render;
use crate::nft::ruleset::Ruleset;

/// While nft itself fails.
const RETRY: Duration = Duration::from_secs(1);

impl Reconciler {
    pub async fn heal(&mut self, foreign: &Foreign) -> Healing {
        let covered = self.seen_at.is_some_and(|seen| foreign.heard_at < seen);
        let healed = match self.given.clone() {
            _ if covered => Ok(()),
            Some(given) if foreign.seen => self.give_again(&given, foreign).await,
            // Perhaps nothing happened, or nothing of ours was there: then a look comes first.
            Some(_) | None => self.hold().await,
        };
        let rest_until = self.episode.rest_until();
        match healed {
            Ok(()) => Healing { done: true, rest_until },
            // The other one was faster; who repairs in vain spends his patience all the same.
            Err(ReconcileError::NotConfirmed) if foreign.seen => Healing { done: false, rest_until },
            Err(error) => {
                self.status.trouble(&error);
                Healing { done: false, rest_until: rest_until.max(Instant::now() + RETRY) }
            }
        }
    }

    async fn give_again(&mut self, given: &Ruleset, foreign: &Foreign) -> Result<(), ReconcileError> {
        self.drifted(foreign.by.as_deref());
        self.owe(None, given, true);
        self.replace(given).await?;
        let took = foreign.since.elapsed();
        let found = self.confirm(given).await?;
        self.left = Some(Left { rendered: render::skeleton(&given.skeleton), found: found.clone() });
        self.end_flows(&found).await;
        self.healed_after(took);
        Ok(())
    }

    pub(super) fn healed_after(&self, took: Duration) {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let by = self.status.change(|status| {
            status.drift.healed_ms = Some(took_ms);
            status.drift.last_by.clone()
        });
        // The first one only: in a fight there is one every second.
        if self.episode.repairs() == 1 {
            self.tell(Phase::Healed, by, 1, Some(took_ms));
        }
    }

    fn tell(&self, phase: Phase, by: Option<String>, repairs: u64, healed_ms: Option<u64>) {
        self.status.chronicle().tell(What::Drift(Episode { phase, by, repairs, healed_ms }));
    }

    /// Counts, and says so when it is news.
    pub(super) fn drifted(&mut self, by: Option<&str>) {
        let now = Instant::now();
        let first = self.episode.repaired(now);
        let fight = self.episode.is_fight(now);
        let fight_begins = self.status.change(|status| {
            let drift = &mut status.drift;
            drift.count += 1;
            drift.last_at = Some(Timestamp::now());
            drift.last_by = by.map(str::to_owned);
            drift.healed_ms = None;
            let begins = fight && !drift.fighting;
            drift.fighting |= fight;
            begins
        });
        let repairs = self.episode.repairs();
        for (news, phase) in [(first, Phase::Began), (fight_begins, Phase::Fighting)] {
            if news {
                self.tell(phase, by.map(str::to_owned), repairs, None);
            }
        }
        let by = by.unwrap_or("unknown");
        if first {
            tracing::warn!(by, "somebody else changed pgw's tables; they are made right again");
        }
        if fight_begins {
            tracing::warn!(
                by,
                "another program keeps changing pgw's tables; they are made right again about once a second \
                 until it stops, and registered devices may be open in between"
            );
        }
    }

    pub(super) fn calm(&mut self) {
        let Some(repairs) = self.episode.ended(Instant::now()) else { return };
        let (fought, by) = self
            .status
            .change(|status| (std::mem::take(&mut status.drift.fighting), status.drift.last_by.clone()));
        self.tell(Phase::Over, by, repairs, None);
        if fought {
            tracing::info!(repairs, "nobody changes pgw's tables any more");
        }
    }
}
