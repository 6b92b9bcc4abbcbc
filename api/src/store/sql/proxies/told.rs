//! What is told of a proxy: that an operator changed it, and how it is.

use pgw_core::health::Health;

use super::Row;
use crate::events::{Action, HealthChange, NewEvent, Thing};
use crate::store::{By, StoreError};

use super::super::db::Connection;
use super::super::events::{self, changes};

impl Row {
    /// The names of what is another in `now`.
    pub(super) fn changes(&self, now: &Self) -> Vec<&'static str> {
        changes([
            ("name", self.name != now.name),
            ("scheme", self.scheme.0 != now.scheme.0),
            ("host", self.host.0 != now.host.0),
            ("port", self.port != now.port),
            ("username", self.username != now.username),
            ("password", self.password != now.password),
            ("enabled", self.enabled != now.enabled),
            ("note", self.note != now.note),
            ("labels", self.labels.0 != now.labels.0),
        ])
    }
}

pub(super) async fn change(
    db: &mut Connection,
    own: &str,
    row: &Row,
    action: Action,
    fields: &[&str],
) -> Result<(), StoreError> {
    let told = NewEvent::change(By::current().0, Thing::Proxy, action, &row.name, fields);
    events::write(db, own, &told.of_proxy(row.id())).await.map(drop)
}

/// Only when its status or its way out is another one now; each sample would say nothing.
pub(super) async fn tell_health(
    db: &mut Connection,
    own: &str,
    before: &Row,
    now: &Health,
) -> Result<(), StoreError> {
    let was = before.health();
    if (was.status, &was.exit_ip) == (now.status, &now.exit_ip) {
        return Ok(());
    }
    let told = NewEvent::health(&HealthChange {
        proxy_id: before.id(),
        proxy: &before.name,
        from: was.status,
        to: now.status,
        latency_ms: now.latency_ms,
        exit_ip: now.exit_ip.as_deref(),
        country: now.country,
        error: now.error.as_deref(),
    });
    events::write(db, own, &told).await.map(drop)
}
