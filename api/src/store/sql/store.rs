//! The `Store` trait, by the tables' modules: every change is one transaction.

use std::time::Duration;

use async_trait::async_trait;
use pgw_core::client::Client;
use pgw_core::ids::{ClientId, MappingId, ProxyId, TokenId};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::Verdict;
use sqlx::Pool;
use sqlx::migrate::Migrator;

use super::db::Db;
use super::lent::{in_one_read, in_one_write, reading};
use super::{clients, mappings, plans, ports, proxies, tokens};
use crate::store::crypt::Vault;
use crate::store::open::{OpenError, Opening, PATIENCES_FOR_WORK};
use crate::store::{
    ClientPatch, ClientPlan, HealthRecord, KnownAs, ListQuery, MappingPatch, NewClient, NewMapping, NewProxy,
    NewToken, Page, ProxyDial, ProxyPatch, Store, StoreError, Token,
};

pub struct SqlStore {
    /// One connection: this process's writers queue here, in order, instead of at the database's lock.
    pub(in crate::store) write: Pool<Db>,
    /// Cannot write.
    pub(in crate::store) read: Pool<Db>,
    pub(super) vault: Vault,
    /// Who this is among those that share the database.
    pub(super) gateway: String,
    /// For one piece of work, from its first word to the database until the last answer.
    pub(super) limit: Duration,
}

impl SqlStore {
    /// With connections that work: brings the tables up to date, and reads the key of the secrets.
    pub(in crate::store) async fn over(
        write: Pool<Db>,
        read: Pool<Db>,
        tables: &Migrator,
        database: &str,
        opening: &Opening,
    ) -> Result<Self, OpenError> {
        tables.run(&write).await.map_err(|source| OpenError::migrating(database, source))?;
        let in_use = sqlx::query_scalar("select exists (select 1 from proxies where password is not null)")
            .fetch_one(&read)
            .await
            .map_err(|source| OpenError::Database { database: database.to_owned(), source })?;
        let vault = Vault::load(&opening.key_file, in_use)?;
        let gateway = opening.gateway.clone();
        Ok(Self { write, read, vault, gateway, limit: opening.patience * PATIENCES_FOR_WORK })
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn create_proxy(&self, new: NewProxy) -> Result<Proxy, StoreError> {
        in_one_write!(self, db => proxies::create(db, &self.vault, new))
    }

    async fn proxies(&self, query: &ListQuery) -> Result<Page<Proxy>, StoreError> {
        reading!(self, db => proxies::list(db, query))
    }

    async fn proxy(&self, id: ProxyId) -> Result<Proxy, StoreError> {
        reading!(self, db => proxies::live(db, id)).map(Into::into)
    }

    async fn update_proxy(&self, id: ProxyId, patch: ProxyPatch) -> Result<Proxy, StoreError> {
        in_one_write!(self, db => proxies::update(db, &self.vault, id, patch))
    }

    async fn remove_proxy(&self, id: ProxyId, cascade: bool) -> Result<Vec<ClientId>, StoreError> {
        in_one_write!(self, db => proxies::remove(db, id, cascade))
    }

    async fn record_health(&self, found: &[HealthRecord]) -> Result<(), StoreError> {
        in_one_write!(self, db => proxies::record_health(db, found))
    }

    async fn upstreams(&self) -> Result<Vec<ProxyDial>, StoreError> {
        reading!(self, db => proxies::upstreams(db, &self.vault))
    }

    async fn upstream(&self, id: ProxyId) -> Result<ProxyDial, StoreError> {
        reading!(self, db => proxies::live(db, id))?.dial(&self.vault)
    }

    async fn clients_of_proxy(&self, id: ProxyId) -> Result<Vec<ClientId>, StoreError> {
        reading!(self, db => mappings::clients_of_proxy(db, id))
    }

    async fn create_client(&self, new: NewClient) -> Result<Client, StoreError> {
        in_one_write!(self, db => clients::create(db, new))
    }

    async fn clients_known_as(&self, known_as: &KnownAs) -> Result<Vec<ClientId>, StoreError> {
        reading!(self, db => clients::known_as(db, known_as))
    }

    async fn clients(&self, query: &ListQuery) -> Result<Page<Client>, StoreError> {
        reading!(self, db => clients::list(db, query))
    }

    async fn client(&self, id: ClientId) -> Result<Client, StoreError> {
        reading!(self, db => clients::live(db, id)).map(Into::into)
    }

    async fn update_client(&self, id: ClientId, patch: ClientPatch) -> Result<Client, StoreError> {
        in_one_write!(self, db => clients::update(db, id, patch))
    }

    async fn remove_client(&self, id: ClientId, cascade: bool) -> Result<(), StoreError> {
        in_one_write!(self, db => clients::remove(db, id, cascade))
    }

    async fn create_mapping(&self, new: NewMapping, ports: &PortRange) -> Result<Mapping, StoreError> {
        in_one_write!(self, db => mappings::create(db, new, ports))
    }

    async fn keep_ports_within(&self, ports: &PortRange) -> Result<(), StoreError> {
        in_one_write!(self, db => ports::keep_within(db, ports))
    }

    async fn mappings(&self, query: &ListQuery) -> Result<Page<Mapping>, StoreError> {
        reading!(self, db => mappings::list(db, query))
    }

    async fn mapping(&self, id: MappingId) -> Result<Mapping, StoreError> {
        reading!(self, db => mappings::live(db, id)).map(Into::into)
    }

    async fn update_mapping(&self, id: MappingId, patch: MappingPatch) -> Result<Mapping, StoreError> {
        in_one_write!(self, db => mappings::update(db, id, patch))
    }

    async fn remove_mapping(&self, id: MappingId) -> Result<ClientId, StoreError> {
        in_one_write!(self, db => mappings::remove(db, id))
    }

    async fn record_verdict(&self, id: MappingId, verdict: &Verdict) -> Result<(), StoreError> {
        in_one_write!(self, db => mappings::record_verdict(db, id, verdict))
    }

    async fn plans(&self) -> Result<Vec<ClientPlan>, StoreError> {
        in_one_read!(self, db => plans::all(db, &self.vault))
    }

    async fn plan(&self, id: ClientId) -> Result<Option<ClientPlan>, StoreError> {
        in_one_read!(self, db => plans::one(db, &self.vault, id))
    }

    async fn finish_removal(&self, client: ClientId, mappings: &[MappingId]) -> Result<(), StoreError> {
        in_one_write!(self, db => plans::finish_removal(db, client, mappings))
    }

    async fn create_token(&self, new: NewToken) -> Result<Token, StoreError> {
        in_one_write!(self, db => tokens::create(db, new))
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        reading!(self, db => tokens::list(db))
    }

    async fn revoke_token(&self, id: TokenId) -> Result<(), StoreError> {
        in_one_write!(self, db => tokens::revoke(db, id))
    }

    async fn token_by_hash(&self, hash: &[u8; 32]) -> Result<Option<Token>, StoreError> {
        reading!(self, db => tokens::by_hash(db, hash))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        in_one_write!(self, db => sqlx::query("select id from proxies limit 1").execute(db)).map(drop)
    }
}
