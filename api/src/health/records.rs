//! Writes down what was found: a change of status, or what somebody waits for, at once; the rest
//! together, every second, because each write is a wait for the disk and most say nothing new.
//! Whoever dies in between loses a latency and a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgw_core::ids::ProxyId;
use pgw_core::seldom::Seldom;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::checks::Waiter;
use crate::store::{HealthRecord, Store, StoreError};

const EVERY: Duration = Duration::from_secs(1);

/// The latest of each proxy that is not written down yet.
#[derive(Default)]
pub(super) struct Records {
    kept: Mutex<HashMap<ProxyId, Kept>>,
    at_once: Notify,
}

struct Kept {
    record: HealthRecord,
    waiting: Vec<Waiter>,
}

impl Records {
    /// For the next time that something is written.
    pub(super) fn keep(&self, record: HealthRecord) {
        self.put(Kept { record, waiting: Vec::new() });
    }

    /// Written down now, whereupon those who wait are answered.
    pub(super) fn write_now(&self, record: HealthRecord, waiting: Vec<Waiter>) {
        self.put(Kept { record, waiting });
        self.at_once.notify_one();
    }

    /// Until `ended`, and once more then.
    pub(super) async fn run(&self, store: &dyn Store, ended: CancellationToken) {
        let mut complaints = Seldom::default();
        loop {
            let last = tokio::select! {
                () = self.at_once.notified() => false,
                () = tokio::time::sleep(EVERY) => false,
                () = ended.cancelled() => true,
            };
            if let Err(error) = self.write(store).await
                && let Some(before) = complaints.due(Instant::now().into_std())
            {
                tracing::warn!(error = %error, before, "health is known but could not be written down");
            }
            if last {
                return;
            }
        }
    }

    async fn write(&self, store: &dyn Store) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut *self.kept());
        if batch.is_empty() {
            return Ok(());
        }
        let records: Vec<HealthRecord> = batch.values().map(|kept| kept.record.clone()).collect();
        let written = store.record_health(&records).await;
        for Kept { record, waiting } in batch.into_values() {
            for waiter in waiting {
                // Whoever asked may have gone away. It is known, written down or not.
                let _left = waiter.send(Ok(record.health.clone()));
            }
            if written.is_err() {
                // Unless something newer has been found meanwhile.
                self.kept().entry(record.id).or_insert(Kept { record, waiting: Vec::new() });
            }
        }
        written
    }

    fn put(&self, new: Kept) {
        match self.kept().entry(new.record.id) {
            Entry::Occupied(mut old) => {
                let old = old.get_mut();
                old.record = new.record;
                old.waiting.extend(new.waiting);
            }
            Entry::Vacant(free) => {
                free.insert(new);
            }
        }
    }

    /// A panic elsewhere leaves it whole: each change is one insert or one assignment.
    fn kept(&self) -> MutexGuard<'_, HashMap<ProxyId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pgw_core::health::Health;
    use pgw_core::proxy::Scheme;
    use sqlx::{Connection, SqliteConnection};

    use super::*;
    use crate::store::NewProxy;
    use crate::store::open::Opening;
    use crate::store::sqlite::SqliteStore;

    fn latency(latency_ms: u32) -> Health {
        Health { latency_ms: Some(latency_ms), ..Health::default() }
    }

    #[tokio::test]
    async fn the_latest_is_written_and_what_cannot_be_written_is_kept_for_the_next_time() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/pgw.db", dir.path().display());
        let opening = Opening {
            patience: Duration::from_millis(250),
            ..Opening::new("gw1", &dir.path().join("secret.key"))
        };
        let store = SqliteStore::open(&dir.path().join("pgw.db"), &opening).await.unwrap();
        let mut proxies = Vec::new();
        for name in ["de1", "fr1"] {
            let new = NewProxy {
                name: name.into(),
                scheme: Scheme::Http,
                host: "proxy.example".parse().unwrap(),
                port: 1,
                username: None,
                password: None,
                enabled: true,
                note: String::new(),
                labels: BTreeMap::new(),
            };
            let id = store.create_proxy(new).await.unwrap().id;
            proxies.push(store.upstream(id).await.unwrap());
        }
        let [de, fr] = proxies.as_slice() else { panic!("two were made") };
        let records = Records::default();
        let written = async |id| store.proxy(id).await.unwrap().health.latency_ms;

        for ms in [1, 2] {
            records.keep(de.found(latency(ms)));
        }
        records.keep(fr.found(latency(3)));
        assert_eq!(written(de.id).await, None, "nothing was due yet");
        records.write(&store).await.unwrap();
        assert_eq!((written(de.id).await, written(fr.id).await), (Some(2), Some(3)));

        let mut other = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("begin immediate").execute(&mut other).await.unwrap();
        records.keep(de.found(latency(4)));
        let (waiter, waits) = tokio::sync::oneshot::channel();
        records.write_now(fr.found(latency(5)), vec![waiter]);
        assert!(matches!(records.write(&store).await, Err(StoreError::Unavailable { .. })));
        assert_eq!(waits.await.unwrap(), Ok(latency(5)), "it is known, and nobody waits for ever");
        records.keep(fr.found(latency(6)));
        drop(other);
        records.write(&store).await.unwrap();
        assert_eq!((written(de.id).await, written(fr.id).await), (Some(4), Some(6)));
    }
}
