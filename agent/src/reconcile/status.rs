//! What `GET /agent/status` tells. What is news is logged here, and once.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use pgw_core::active::{AgentStatus, Drift, ReconcileReport};
use pgw_core::drill::Drill;
use pgw_core::settings::AgentSettings;

use super::ReconcileError;
use crate::chronicle::Chronicle;

#[derive(Debug, Clone)]
pub struct Status {
    now: Arc<Mutex<AgentStatus>>,
    chronicle: Chronicle,
}

impl Status {
    pub fn new(settings: &AgentSettings) -> Self {
        let now = AgentStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: None,
            clients: 0,
            applied: 0,
            lan_if: settings.lan_if.clone(),
            wan_if: settings.wan_if.clone(),
            last_reconcile_at: None,
            last_error: None,
            warnings: Vec::new(),
            drift: Drift::default(),
            drill: Drill::default(),
        };
        Self { now: Arc::new(Mutex::new(now)), chronicle: Chronicle::default() }
    }

    /// What happened of late, for whoever waits for it.
    pub fn chronicle(&self) -> &Chronicle {
        &self.chronicle
    }

    pub fn now(&self) -> AgentStatus {
        self.change(|status| status.clone())
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut AgentStatus) -> T) -> T {
        change(&mut self.now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers whether the last one failed.
    pub(super) fn reconciled(&self, report: &ReconcileReport, at: Timestamp) -> bool {
        let warnings = report.warnings.clone();
        self.change(|status| {
            status.generation = Some(report.generation);
            status.clients = report.clients;
            status.applied = report.applied.len();
            status.last_reconcile_at = Some(at);
            warn(status, warnings);
            status.last_error.take().is_some()
        })
    }

    pub(super) fn failed(&self, error: &ReconcileError, at: Timestamp, warnings: Vec<String>) {
        self.trouble(error);
        self.change(|status| {
            status.last_reconcile_at = Some(at);
            warn(status, warnings);
        });
    }

    pub(super) fn trouble(&self, error: &ReconcileError) {
        let told = Some(error.to_string());
        let before = self.change(|status| std::mem::replace(&mut status.last_error, told.clone()));
        // Once, not at every interval.
        if before != told {
            tracing::warn!(%error, "not reconciled; the kernel keeps what it holds");
        }
    }
}

fn warn(status: &mut AgentStatus, warnings: Vec<String>) {
    for warning in warnings.iter().filter(|warning| !status.warnings.contains(warning)) {
        tracing::warn!("{warning}");
    }
    for warning in status.warnings.iter().filter(|warning| !warnings.contains(warning)) {
        tracing::info!(warning, "no longer");
    }
    status.warnings = warnings;
}
