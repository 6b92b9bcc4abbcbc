//! The store as the API sees it: what it says of a mapping, and what it calls gone, are effects
//! like any other, at which it may be killed and at which the promises hold.

use std::sync::Arc;

use async_trait::async_trait;
use pgw_api::declarative::Refused;
use pgw_api::declarative::document::Document;
use pgw_api::declarative::import::Offered;
use pgw_api::declarative::snapshot::Snapshot;
use pgw_api::store::applies::{Applied, Applies, ApplyRecord, Imported, Terms};
use pgw_api::store::{
    ClientPatch, ClientPlan, HealthRecord, KnownAs, ListQuery, MappingPatch, NewClient, NewMapping, NewProxy,
    NewToken, Page, ProxyDial, ProxyPatch, Store, StoreError, Token,
};
use pgw_core::client::Client;
use pgw_core::ids::{ApplyId, ClientId, MappingId, ProxyId, TokenId};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::Verdict;

use super::World;

pub(crate) struct Ledger(pub(crate) Arc<World>);

macro_rules! over_the_worlds_store {
    (
        $of:ident
        effects { $($effect:ident($($a:ident: $at:ty),*) -> $ar:ty;)* }
        others { $($other:ident($($b:ident: $bt:ty),*) -> $br:ty;)* }
    ) => {
        #[async_trait]
        impl $of for Ledger {
            $(async fn $effect(&self, $($a: $at),*) -> Result<$ar, StoreError> {
                self.0.effect().await;
                let done = self.0.store.$effect($($a),*).await;
                self.0.effect().await;
                done
            })*
            $(async fn $other(&self, $($b: $bt),*) -> Result<$br, StoreError> {
                self.0.store.$other($($b),*).await
            })*
        }
    };
}

over_the_worlds_store! {
    Store
    effects {
        record_verdict(id: MappingId, verdict: &Verdict) -> ();
        finish_removal(client: ClientId, mappings: &[MappingId]) -> ();
    }
    others {
        create_proxy(new: NewProxy) -> Proxy;
        proxies(query: &ListQuery) -> Page<Proxy>;
        proxy(id: ProxyId) -> Proxy;
        update_proxy(id: ProxyId, patch: ProxyPatch) -> Proxy;
        remove_proxy(id: ProxyId, cascade: bool) -> Vec<ClientId>;
        record_health(found: &[HealthRecord]) -> ();
        upstreams() -> Vec<ProxyDial>;
        upstream(id: ProxyId) -> ProxyDial;
        clients_of_proxy(id: ProxyId) -> Vec<ClientId>;
        create_client(new: NewClient) -> Client;
        clients(query: &ListQuery) -> Page<Client>;
        clients_known_as(known_as: &KnownAs) -> Vec<ClientId>;
        client(id: ClientId) -> Client;
        update_client(id: ClientId, patch: ClientPatch) -> Client;
        remove_client(id: ClientId, cascade: bool) -> ();
        create_mapping(new: NewMapping, ports: &PortRange) -> Mapping;
        keep_ports_within(ports: &PortRange) -> ();
        mappings(query: &ListQuery) -> Page<Mapping>;
        mapping(id: MappingId) -> Mapping;
        update_mapping(id: MappingId, patch: MappingPatch) -> Mapping;
        remove_mapping(id: MappingId) -> ClientId;
        plans() -> Vec<ClientPlan>;
        plan(id: ClientId) -> Option<ClientPlan>;
        create_token(new: NewToken) -> Token;
        tokens() -> Vec<Token>;
        revoke_token(id: TokenId) -> ();
        token_by_hash(hash: &[u8; 32]) -> Option<Token>;
        ping() -> ();
    }
}

over_the_worlds_store! {
    Applies
    effects {}
    others {
        snapshot() -> Snapshot;
        apply(document: Document, terms: &Terms) -> Result<Applied, Refused>;
        last_apply() -> Option<ApplyRecord>;
        confirm_apply(id: ApplyId) -> ApplyRecord;
        roll_back(id: ApplyId, ports: &PortRange) -> Option<Applied>;
        import(offered: Vec<Offered>) -> Vec<Imported>;
    }
}
