//! The `Store` trait, by the tables' modules: every change is one transaction.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pgw_core::client::Client;
use pgw_core::ids::{ClientId, MappingId, ProxyId, TokenId};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::Verdict;
use sqlx::Pool;
use tokio::sync::watch;

use super::db::{self, Connection, Db};
use super::lent::{in_one_read, in_one_write, reading};
use super::{clients, gateways, identity, mappings, plans, ports, proxies, retired, tokens, vault};
use crate::store::crypt::Vault;
use crate::store::open::{OpenError, Opening, PATIENCES_FOR_WORK};
use crate::store::{
    ClientPatch, ClientPlan, Gateway, Gateways, HealthRecord, Identity, KnownAs, ListQuery, MappingPatch,
    Neighbours, NewClient, NewMapping, NewProxy, NewToken, Owner, Page, Presence, ProxyDial, ProxyPatch,
    Store, StoreError, Token,
};

pub struct SqlStore {
    /// One connection: this process's writers queue here, in order, instead of at the database's lock.
    pub(in crate::store) write: Pool<Db>,
    /// Cannot write.
    pub(in crate::store) read: Pool<Db>,
    pub(super) gateway: String,
    identity: Identity,
    neighbours: Mutex<Option<Box<dyn Neighbours>>>,
    pub(super) vault: Vault,
    /// For one piece of work, from its first word to the database until the last answer.
    pub(super) limit: Duration,
    /// Counts what was written.
    pub(super) written: watch::Sender<u64>,
}

impl SqlStore {
    /// With connections that work and tables that are up to date.
    pub(in crate::store) async fn over(
        (write, read): (Pool<Db>, Pool<Db>),
        neighbours: Box<dyn Neighbours>,
        opening: &Opening,
    ) -> Result<Self, OpenError> {
        let limit = opening.patience * PATIENCES_FOR_WORK;
        let unopened = Unopened { write: &write, limit };
        let (identity, vault) = unopened.prepare(opening).await??;
        let neighbours = Mutex::new(Some(neighbours));
        let (gateway, written) = (opening.gateway.clone(), watch::Sender::default());
        Ok(Self { gateway, identity, write, read, vault, limit, neighbours, written })
    }

    pub(super) fn committed(&self) {
        self.written.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl SqlStore {
    /// Returns when nothing of it is open any more.
    pub async fn close(self) {
        tokio::join!(self.write.close(), self.read.close());
    }
}

/// Before the key of the secrets is there.
struct Unopened<'a> {
    write: &'a Pool<Db>,
    limit: Duration,
}

impl Unopened<'_> {
    /// Nobody listens yet.
    fn committed(&self) {}

    async fn prepare(&self, opening: &Opening) -> Result<Result<(Identity, Vault), OpenError>, StoreError> {
        in_one_write!(self, db => prepare(db, opening))
    }
}

/// Which database it is comes first: another one than this gateway's is left as it was found.
async fn prepare(
    db: &mut Connection,
    opening: &Opening,
) -> Result<Result<(Identity, Vault), OpenError>, StoreError> {
    let Some(identity) = identity::open(db, opening.expected).await? else {
        return Ok(Err(OpenError::Another));
    };
    if !db::SHARED {
        gateways::take_over(db, &opening.gateway).await?;
    }
    let vault = vault::open(db, &opening.key_file).await?;
    Ok(vault.map(|vault| (identity, vault)).map_err(OpenError::from))
}

#[async_trait]
impl Gateways for SqlStore {
    fn gateway(&self) -> &str {
        &self.gateway
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        in_one_read!(self, db => gateways::list(db))
    }

    async fn remove_gateway(&self, name: &str, cascade: bool) -> Result<(), StoreError> {
        in_one_write!(self, db => retired::remove(db, &self.gateway, name, cascade))
    }

    async fn show_presence(&self, presence: &Presence) -> Result<(), StoreError> {
        in_one_write!(self, db => gateways::show(db, &self.gateway, presence))
    }

    fn neighbours(&self) -> Option<Box<dyn Neighbours>> {
        self.neighbours.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create_proxy(&self, new: NewProxy) -> Result<Proxy, StoreError> {
        in_one_write!(self, db => proxies::create(db, &self.gateway, &self.vault, new))
    }

    async fn create_unnamed_proxy(&self, new: NewProxy) -> Result<Proxy, StoreError> {
        in_one_write!(self, db => proxies::create_unnamed(db, &self.gateway, &self.vault, new))
    }

    async fn proxies(&self, query: &ListQuery) -> Result<Page<Proxy>, StoreError> {
        reading!(self, db => proxies::list(db, &self.gateway, query))
    }

    async fn proxy(&self, id: ProxyId) -> Result<Proxy, StoreError> {
        reading!(self, db => proxies::live(db, &self.gateway, id)).map(Into::into)
    }

    async fn update_proxy(&self, id: ProxyId, patch: ProxyPatch) -> Result<Proxy, StoreError> {
        in_one_write!(self, db => proxies::update(db, &self.gateway, &self.vault, id, patch))
    }

    async fn remove_proxy(
        &self,
        id: ProxyId,
        cascade: bool,
        if_revision: Option<i64>,
    ) -> Result<Vec<Owner>, StoreError> {
        in_one_write!(self, db => proxies::remove(db, &self.gateway, id, cascade, if_revision))
    }

    async fn record_health(&self, found: &[HealthRecord]) -> Result<(), StoreError> {
        in_one_write!(self, db => proxies::record_health(db, &self.gateway, found))
    }

    async fn upstreams(&self) -> Result<Vec<ProxyDial>, StoreError> {
        reading!(self, db => proxies::upstreams(db, &self.gateway, &self.vault))
    }

    async fn upstream(&self, id: ProxyId) -> Result<ProxyDial, StoreError> {
        reading!(self, db => proxies::live(db, &self.gateway, id))?.dial(&self.vault)
    }

    async fn clients_of_proxy(&self, id: ProxyId) -> Result<Vec<Owner>, StoreError> {
        reading!(self, db => mappings::clients_of_proxy(db, id))
    }

    async fn create_client(&self, new: NewClient) -> Result<Client, StoreError> {
        in_one_write!(self, db => clients::create(db, &self.gateway, new))
    }

    async fn clients_known_as(&self, known_as: &KnownAs) -> Result<Vec<ClientId>, StoreError> {
        reading!(self, db => clients::known_as(db, &self.gateway, known_as))
    }

    async fn clients(&self, query: &ListQuery) -> Result<Page<Client>, StoreError> {
        reading!(self, db => clients::list(db, query))
    }

    async fn client(&self, id: ClientId) -> Result<Client, StoreError> {
        reading!(self, db => clients::live(db, id)).map(Into::into)
    }

    async fn update_client(&self, id: ClientId, patch: ClientPatch) -> Result<Client, StoreError> {
        in_one_write!(self, db => clients::update(db, &self.gateway, id, patch))
    }

    async fn remove_client(
        &self,
        id: ClientId,
        cascade: bool,
        if_revision: Option<i64>,
    ) -> Result<Owner, StoreError> {
        in_one_write!(self, db => clients::remove(db, &self.gateway, id, cascade, if_revision))
    }

    async fn create_mapping(&self, new: NewMapping, ports: &PortRange) -> Result<Mapping, StoreError> {
        in_one_write!(self, db => mappings::create(db, &self.gateway, new, ports))
    }

    async fn keep_ports_within(&self, ports: &PortRange) -> Result<(), StoreError> {
        in_one_write!(self, db => ports::keep_within(db, &self.gateway, ports))
    }

    async fn mappings(&self, query: &ListQuery) -> Result<Page<Mapping>, StoreError> {
        reading!(self, db => mappings::list(db, query))
    }

    async fn mapping(&self, id: MappingId) -> Result<Mapping, StoreError> {
        reading!(self, db => mappings::live(db, id)).map(Into::into)
    }

    async fn update_mapping(&self, id: MappingId, patch: MappingPatch) -> Result<Mapping, StoreError> {
        in_one_write!(self, db => mappings::update(db, &self.gateway, id, patch))
    }

    async fn remove_mapping(&self, id: MappingId, if_revision: Option<i64>) -> Result<Owner, StoreError> {
        in_one_write!(self, db => mappings::remove(db, &self.gateway, id, if_revision))
    }

    async fn record_verdict(&self, id: MappingId, verdict: &Verdict) -> Result<(), StoreError> {
        in_one_write!(self, db => mappings::record_verdict(db, &self.gateway, id, verdict))
    }

    async fn plans(&self) -> Result<Vec<ClientPlan>, StoreError> {
        in_one_read!(self, db => plans::all(db, &self.gateway, &self.vault))
    }

    async fn plan(&self, id: ClientId) -> Result<Option<ClientPlan>, StoreError> {
        in_one_read!(self, db => plans::one(db, &self.gateway, &self.vault, id))
    }

    async fn finish_removal(&self, client: ClientId, mappings: &[MappingId]) -> Result<(), StoreError> {
        in_one_write!(self, db => plans::finish_removal(db, client, mappings))
    }

    async fn create_token(&self, new: NewToken) -> Result<Token, StoreError> {
        in_one_write!(self, db => tokens::create(db, &self.gateway, new))
    }

    async fn tokens(&self, query: &ListQuery) -> Result<Page<Token>, StoreError> {
        reading!(self, db => tokens::list(db, query))
    }

    async fn token(&self, id: TokenId) -> Result<Token, StoreError> {
        reading!(self, db => tokens::get(db, id)).map(Into::into)
    }

    async fn token_was_made(&self, name: &str) -> Result<bool, StoreError> {
        reading!(self, db => tokens::was_made(db, name))
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        in_one_write!(self, db => tokens::revoke(db, &self.gateway, id))
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        reading!(self, db => tokens::by_hash(db, hash))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        in_one_write!(self, db => sqlx::query("select id from proxies limit 1").execute(db)).map(drop)
    }
}
