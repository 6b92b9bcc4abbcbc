use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use pgw_core::active::{ACTIVE_VERSION, ActiveSet};
use pgw_core::dns::DnsChoice;
use pgw_core::explain::{AskedClient, Known};
use pgw_core::health::{Health, HealthStatus};
use pgw_core::ids::{ClientId, Generation, ProxyId};
use tokio::sync::Notify;

use crate::converge::Settled;
use crate::engine::{Engine, Readiness};
use crate::health::checks::NotChecked;
use crate::store::StoreError;

/// Remembers what it was asked, as `<what> <id>`.
#[derive(Default)]
pub(super) struct FakeEngine {
    asked: Mutex<Vec<String>>,
    /// Panics when it is asked for its readiness.
    pub(super) troubled: AtomicBool,
    /// Cannot check any upstream.
    pub(super) unable: AtomicBool,
    /// Takes its time: `settle` until it is released, the active set for ever.
    pub(super) stuck: AtomicBool,
    /// Nothing settles: the agent does not answer.
    pub(super) unsettled: AtomicBool,
    pub(super) entered: Notify,
    pub(super) released: Notify,
}

impl FakeEngine {
    /// What was asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn note(&self, what: &str, id: impl std::fmt::Display) {
        self.asked.lock().unwrap().push(format!("{what} {id}"));
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn wake(&self, client: ClientId) {
        self.note("wake", client);
    }

    async fn settle(&self, client: ClientId) -> Settled {
        if self.stuck.load(Ordering::SeqCst) {
            self.entered.notify_one();
            self.released.notified().await;
        }
        self.note("settle", client);
        if self.unsettled.load(Ordering::SeqCst) {
            return Settled::No("the agent does not answer".to_owned());
        }
        Settled::Yes
    }

    async fn proxy_changed(&self, proxy: ProxyId) {
        self.note("changed", proxy);
    }

    fn check_soon(&self, proxy: ProxyId) {
        self.note("soon", proxy);
    }

    async fn check_now(&self, proxy: ProxyId) -> Result<Health, NotChecked> {
        self.note("check", proxy);
        if self.unable.load(Ordering::SeqCst) {
            return Err(NotChecked::Gateway("no files left".into()));
        }
        Ok(Health { status: HealthStatus::Ok, latency_ms: Some(12), ..Health::default() })
    }

    async fn active_set(&self) -> Result<ActiveSet, StoreError> {
        if self.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let generation = Generation(7);
        Ok(ActiveSet {
            version: ACTIVE_VERSION,
            generation,
            database: None,
            count: 0,
            items: vec![],
            closed: vec![],
            tunnels: None,
        })
    }

    /// Every client is there, but for nobody's; and none has a mapping.
    async fn known(&self, client: ClientId) -> Result<Option<Known>, StoreError> {
        let ip_cidr = "192.168.2.3".parse().unwrap();
        let asked = AskedClient { id: Some(client), name: None, ip_cidr };
        let known = Known { client: asked, port: None, routes: vec![], dns: DnsChoice::Upstream };
        Ok((!client.0.is_nil()).then_some(known))
    }

    async fn readiness(&self) -> Vec<Readiness> {
        if self.troubled.load(Ordering::SeqCst) {
            panic!("an engine that fails in itself");
        }
        vec![Readiness { name: "agent", ok: true, detail: "it answers".into() }]
    }
}
