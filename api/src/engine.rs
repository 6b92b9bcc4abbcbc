//! What the HTTP handlers may ask of the machinery behind them.

use async_trait::async_trait;
use pgw_core::active::ActiveSet;
use pgw_core::health::Health;
use pgw_core::ids::{ClientId, ProxyId};
use serde::Serialize;

use crate::converge::Settled;
use crate::health::checks::NotChecked;
use crate::store::StoreError;

#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Something about this client changed: look at it now.
    fn wake(&self, client: ClientId);
    /// Wakes, and waits (bounded) until the client has been brought to what the database says.
    /// Only what is settled may be called "gone" or "closed" in an answer.
    async fn settle(&self, client: ClientId) -> Settled;
    /// A proxy is new, or is dialled in another way than before: what was known of its health
    /// is worth nothing by the time this returns, and it is checked at once.
    async fn proxy_changed(&self, proxy: ProxyId);
    /// Somebody is about to depend on it: what was found a while ago is looked at again.
    fn check_soon(&self, proxy: ProxyId);
    /// Checks now, whatever the schedule says.
    async fn check_now(&self, proxy: ProxyId) -> Result<Health, NotChecked>;
    /// What is to be in the kernel.
    async fn active_set(&self) -> Result<ActiveSet, StoreError>;
    /// What the service needs in order to do its work, one entry each.
    async fn readiness(&self) -> Vec<Readiness>;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    pub name: &'static str,
    pub ok: bool,
    /// In words, what is wrong or what is there.
    pub detail: String,
}
