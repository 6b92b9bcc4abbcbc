//! The `TunnelClients` and `Tunnels` traits.

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_core::ids::{EnrolmentId, TunnelClientId, TunnelId};
use pgw_core::tunnel::{Desired, Filter, TokenHash};

use super::lent::{in_one_read, in_one_write, reading};
use super::store::SqlStore;
use super::{tunnel_clients, tunnel_sessions, tunnels};
use crate::store::{
    Ground, ListQuery, NewCode, NewTunnel, NewTunnelClient, NotVerified, Page, Seen, StoreError, Tunnel,
    TunnelCensus, TunnelClient, TunnelClientPatch, TunnelClients, TunnelPatch, TunnelSession, Tunnels,
};

#[async_trait]
impl TunnelClients for SqlStore {
    async fn create_tunnel_client(&self, new: NewTunnelClient) -> Result<TunnelClient, StoreError> {
        in_one_write!(self, db => tunnel_clients::create(db, &self.gateway, new))
    }

    async fn tunnel_clients(&self, query: &ListQuery) -> Result<Page<TunnelClient>, StoreError> {
        reading!(self, db => tunnel_clients::list(db, query))
    }

    async fn tunnel_client(&self, id: TunnelClientId) -> Result<TunnelClient, StoreError> {
        reading!(self, db => tunnel_clients::live(db, id)).map(Into::into)
    }

    async fn update_tunnel_client(
        &self,
        id: TunnelClientId,
        patch: TunnelClientPatch,
    ) -> Result<TunnelClient, StoreError> {
        in_one_write!(self, db => tunnel_clients::update(db, &self.gateway, id, patch))
    }

    async fn remove_tunnel_client(
        &self,
        id: TunnelClientId,
        cascade: bool,
        if_revision: Option<i64>,
    ) -> Result<String, StoreError> {
        in_one_write!(self, db => tunnel_clients::remove(db, &self.gateway, id, cascade, if_revision))
    }

    async fn replace_tunnel_token(
        &self,
        id: TunnelClientId,
        token: TokenHash,
    ) -> Result<TunnelClient, StoreError> {
        in_one_write!(self, db => tunnel_clients::replace_token(db, &self.gateway, id, token))
    }

    async fn add_enrolment(
        &self,
        id: TunnelClientId,
        code: TokenHash,
        expires_at: Timestamp,
    ) -> Result<EnrolmentId, StoreError> {
        in_one_write!(self, db => tunnel_clients::add_enrolment(db, &self.gateway, id, code, expires_at))
    }

    async fn tunnel_sessions(
        &self,
        client: TunnelClientId,
        since: Option<Timestamp>,
        query: &ListQuery,
    ) -> Result<Page<TunnelSession>, StoreError> {
        reading!(self, db => tunnel_sessions::list(db, client, since, query))
    }
}

#[async_trait]
impl Tunnels for SqlStore {
    async fn create_tunnel(&self, new: NewTunnel, ground: &Ground) -> Result<Tunnel, StoreError> {
        in_one_write!(self, db => tunnels::create(db, &self.gateway, &self.vault, new, ground))
    }

    async fn tunnels(&self, query: &ListQuery) -> Result<Page<Tunnel>, StoreError> {
        reading!(self, db => tunnels::list(db, query))
    }

    async fn tunnel(&self, id: TunnelId) -> Result<Tunnel, StoreError> {
        reading!(self, db => tunnels::live(db, id)).map(Into::into)
    }

    async fn update_tunnel(
        &self,
        id: TunnelId,
        patch: TunnelPatch,
        ground: &Ground,
    ) -> Result<Tunnel, StoreError> {
        in_one_write!(self, db => tunnels::update(db, &self.gateway, &self.vault, id, patch, ground))
    }

    async fn remove_tunnel(&self, id: TunnelId, if_revision: Option<i64>) -> Result<String, StoreError> {
        in_one_write!(self, db => tunnels::remove(db, &self.gateway, id, if_revision))
    }

    async fn close_tunnel(&self, id: TunnelId) -> Result<Tunnel, StoreError> {
        in_one_write!(self, db => tunnels::close(db, &self.gateway, id))
    }

    async fn renew_code(&self, id: TunnelId, code: NewCode) -> Result<Tunnel, StoreError> {
        in_one_write!(self, db => tunnels::renew(db, &self.gateway, id, code))
    }

    async fn verify_tunnel(
        &self,
        id: TunnelId,
        code: &TokenHash,
    ) -> Result<Result<Tunnel, NotVerified>, StoreError> {
        in_one_write!(self, db => tunnels::verify(db, &self.gateway, id, code))
    }

    async fn tunnel_by_code(&self, code: &TokenHash) -> Result<Option<(Tunnel, Timestamp)>, StoreError> {
        reading!(self, db => tunnels::by_code(db, code))
    }

    async fn desired_tunnels(&self, targets: &Filter) -> Result<Desired, StoreError> {
        in_one_read!(self, db => tunnels::desired(db, &self.gateway, &self.vault, targets))
    }

    async fn record_tunnels(&self, seen: &Seen) -> Result<(), StoreError> {
        in_one_write!(self, db => tunnels::record(db, &self.gateway, seen))
    }

    async fn tunnel_census(&self) -> Result<TunnelCensus, StoreError> {
        in_one_read!(self, db => tunnels::census(db))
    }
}
