//! The store as the API sees it: what it says of a mapping, and what it calls gone, are effects
//! like any other, at which it may be killed and at which the promises hold.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_api::events::{Event, NewEvent};
use pgw_api::store::{
    Addressee, ClientPatch, ClientPlan, Delivery, Events, ExitAt, HealthRecord, Heard, JournalPage,
    JournalQuery, KnownAs, ListQuery, LogEnds, MappingPatch, NewClient, NewMapping, NewProxy, NewToken,
    NewWebhook, Page, ProxyDial, ProxyPatch, Store, StoreError, Token, Webhook, WebhookPatch, Webhooks,
};
use pgw_core::client::Client;
use pgw_core::ids::{ClientId, MappingId, ProxyId, TokenId, WebhookId};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::Verdict;
use tokio::sync::watch;

use super::World;

pub(crate) struct Ledger(pub(crate) Arc<World>);

macro_rules! over_the_worlds_store {
    (
        effects { $($effect:ident($($a:ident: $at:ty),*) -> $ar:ty;)* }
        others { $($other:ident($($b:ident: $bt:ty),*) -> $br:ty;)* }
    ) => {
        #[async_trait]
        impl Store for Ledger {
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

/// What no mapping depends on.
macro_rules! beside_it {
    ($trait:ident { $($name:ident($($a:ident: $at:ty),*) -> $r:ty;)* } $($plain:item)?) => {
        #[async_trait]
        impl $trait for Ledger {
            $(async fn $name(&self, $($a: $at),*) -> Result<$r, StoreError> {
                self.0.store.$name($($a),*).await
            })*
            $($plain)?
        }
    };
}

beside_it! {
    Events {
        record(events: &[NewEvent]) -> ();
        record_news(heard: Heard, events: &[NewEvent]) -> ();
        heard() -> Option<Heard>;
        begin_watch(version: &str) -> ();
        log_ends() -> LogEnds;
        events_after(after: i64, limit: u32) -> Vec<Event>;
        journal(query: &JournalQuery) -> JournalPage;
        exit_at(client: ClientId, at: Timestamp) -> ExitAt;
        forget_events(before: Timestamp, rows: u32, most: u32) -> u64;
    }
    fn written(&self) -> watch::Receiver<u64> {
        self.0.store.written()
    }
}

beside_it! {
    Webhooks {
        create_webhook(new: NewWebhook) -> Webhook;
        webhooks() -> Vec<Webhook>;
        webhook(id: WebhookId) -> Webhook;
        update_webhook(id: WebhookId, patch: WebhookPatch) -> Webhook;
        remove_webhook(id: WebhookId, if_revision: Option<i64>) -> ();
        webhook_target(id: WebhookId) -> Addressee;
        own_events_after(after: i64, limit: u32) -> Vec<Event>;
        record_delivery(id: WebhookId, delivery: &Delivery) -> ();
    }
}

over_the_worlds_store! {
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
