//! The store as the API sees it: what it says of a mapping, and what it calls gone, are effects
//! like any other, at which it may be killed and at which the promises hold.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use pgw_api::declarative::Refused;
use pgw_api::declarative::document::Document;
use pgw_api::declarative::import::Offered;
use pgw_api::declarative::snapshot::Snapshot;
use pgw_api::events::{Event, NewEvent};
use pgw_api::store::applies::{Applied, Applies, ApplyRecord, Imported, Terms};
use pgw_api::store::traffic::{
    Census, Counted, HealthQuery, HealthSum, MappingOwner, NamesRow, Traffic, TrafficQuery, TrafficRecord,
};
use pgw_api::store::{
    Addressee, Claim, ClientPatch, ClientPlan, Delivery, Events, ExitAt, Exits, Gateway, Gateways, Ground,
    HealthRecord, Heard, Holder, Identity, JournalPage, JournalQuery, KnownAs, KnownUser, ListQuery, LogEnds,
    MappingPatch, Neighbours, NewClient, NewCode, NewMapping, NewProxy, NewToken, NewTunnel, NewTunnelClient,
    NewUser, NewWebhook, NotVerified, Owner, Page, Presence, ProxyDial, ProxyPatch, Replies, Reply, Seen,
    Session, Store, StoreError, Token, Tunnel, TunnelCensus, TunnelClient, TunnelClientPatch, TunnelClients,
    TunnelPatch, TunnelSession, Tunnels, User, UserPatch, Users, Webhook, WebhookPatch, Webhooks,
};
use pgw_core::client::Client;
use pgw_core::control::Sum;
use pgw_core::ids::{
    ApplyId, ClientId, EnrolmentId, MappingId, ProxyId, TokenId, TunnelClientId, TunnelId, UserId, WebhookId,
};
use pgw_core::mapping::Mapping;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::Verdict;
use pgw_core::tunnel::{Desired, Filter, TokenHash};
use tokio::sync::watch;

use super::World;

pub(crate) struct Ledger(pub(crate) Arc<World>);

#[async_trait]
impl Gateways for Ledger {
    fn gateway(&self) -> &str {
        self.0.store.gateway()
    }

    fn identity(&self) -> Identity {
        self.0.store.identity()
    }

    async fn gateways(&self) -> Result<Vec<Gateway>, StoreError> {
        self.0.store.gateways().await
    }

    async fn remove_gateway(&self, name: &str, cascade: bool) -> Result<(), StoreError> {
        self.0.store.remove_gateway(name, cascade).await
    }

    async fn show_presence(&self, presence: &Presence) -> Result<(), StoreError> {
        self.0.store.show_presence(presence).await
    }

    fn neighbours(&self) -> Option<Box<dyn Neighbours>> {
        self.0.store.neighbours()
    }
}

macro_rules! over_the_worlds_store {
    (
        $trait:ident:
        effects { $($effect:ident($($a:ident: $at:ty),*) -> $ar:ty;)* }
        others { $($other:ident($($b:ident: $bt:ty),*) -> $br:ty;)* }
        $($plain:item)*
    ) => {
        #[async_trait]
        impl $trait for Ledger {
            $(async fn $effect(&self, $($a: $at),*) -> Result<$ar, StoreError> {
                self.0.effect().await;
                let done = self.0.store.$effect($($a),*).await;
                self.0.effect().await;
                done
            })*
            $(async fn $other(&self, $($b: $bt),*) -> Result<$br, StoreError> {
                self.0.store.$other($($b),*).await
            })*
            $($plain)*
        }
    };
}

over_the_worlds_store! {
    Store:
    effects {
        record_verdict(id: MappingId, verdict: &Verdict) -> ();
        finish_removal(client: ClientId, mappings: &[MappingId]) -> ();
    }
    others {
        create_proxy(new: NewProxy) -> Proxy;
        create_unnamed_proxy(new: NewProxy) -> Proxy;
        proxies(query: &ListQuery) -> Page<Proxy>;
        proxy(id: ProxyId) -> Proxy;
        update_proxy(id: ProxyId, patch: ProxyPatch) -> Proxy;
        remove_proxy(id: ProxyId, cascade: bool, if_revision: Option<i64>) -> Vec<Owner>;
        record_health(found: &[HealthRecord]) -> ();
        upstreams() -> Vec<ProxyDial>;
        upstream(id: ProxyId) -> ProxyDial;
        clients_of_proxy(id: ProxyId) -> Vec<Owner>;
        create_client(new: NewClient) -> Client;
        clients(query: &ListQuery) -> Page<Client>;
        clients_known_as(known_as: &KnownAs) -> Vec<ClientId>;
        client(id: ClientId) -> Client;
        update_client(id: ClientId, patch: ClientPatch) -> Client;
        remove_client(id: ClientId, cascade: bool, if_revision: Option<i64>) -> Owner;
        create_mapping(new: NewMapping, ports: &PortRange) -> Mapping;
        keep_ports_within(ports: &PortRange) -> ();
        mappings(query: &ListQuery) -> Page<Mapping>;
        mapping(id: MappingId) -> Mapping;
        update_mapping(id: MappingId, patch: MappingPatch) -> Mapping;
        remove_mapping(id: MappingId, if_revision: Option<i64>) -> Owner;
        plans() -> Vec<ClientPlan>;
        plan(id: ClientId) -> Option<ClientPlan>;
        create_token(new: NewToken) -> Token;
        tokens(query: &ListQuery) -> Page<Token>;
        token(id: TokenId) -> Token;
        token_was_made(name: &str) -> bool;
        revoke_token(id: TokenId) -> ();
        token_by_hash(hash: &[u8; 32]) -> Option<Token>;
        ping() -> ();
    }
}

over_the_worlds_store! {
    Applies:
    effects {}
    others {
        snapshot() -> Snapshot;
        apply(document: Document, terms: &Terms) -> Result<Applied, Refused>;
        last_apply() -> Option<ApplyRecord>;
        confirm_apply(id: ApplyId) -> ApplyRecord;
        roll_back(id: ApplyId, ground: &Ground) -> Option<Applied>;
        import(offered: Vec<Offered>) -> Vec<Imported>;
    }
}

over_the_worlds_store! {
    Users:
    effects {}
    others {
        create_user(new: NewUser) -> User;
        create_first_user(new: NewUser) -> User;
        has_users() -> bool;
        users(query: &ListQuery) -> Page<User>;
        user(id: UserId) -> User;
        update_user(id: UserId, patch: UserPatch) -> User;
        remove_user(id: UserId, if_revision: Option<i64>) -> ();
        user_by_name(name: &str) -> Option<KnownUser>;
        open_session(user: &KnownUser, hash: &[u8; 32]) -> Option<Session>;
        session(hash: &[u8; 32]) -> Option<Session>;
        touch_session(hash: &[u8; 32]) -> ();
        end_session(hash: &[u8; 32]) -> ();
        forget_sessions(seen: Timestamp, opened: Timestamp) -> ();
    }
}

over_the_worlds_store! {
    Replies:
    effects {}
    others {
        claim_reply(key: &[u8; 32], request: &[u8; 32]) -> Claim;
        keep_reply(key: &[u8; 32], request: &[u8; 32], reply: &Reply) -> ();
        release_reply(key: &[u8; 32]) -> ();
    }
}

over_the_worlds_store! {
    Traffic:
    effects {}
    others {
        record_traffic(found: &TrafficRecord) -> ();
        traffic(query: &TrafficQuery) -> Vec<(i64, Sum)>;
        health_history(query: &HealthQuery) -> Vec<(i64, HealthSum)>;
        names(client: Option<ClientId>, from: i64) -> Vec<NamesRow>;
        names_of_hour(at: i64) -> Vec<NamesRow>;
        counted() -> Vec<Counted>;
        owners() -> Vec<MappingOwner>;
        census() -> Census;
    }
}

over_the_worlds_store! {
    Exits:
    effects {
        hold_exits(client: ClientId, wanted: &[(MappingId, IpAddr)]) -> Vec<(MappingId, Holder)>;
        keep_exit(mapping: MappingId, exit_ip: IpAddr) -> ();
    }
    others {
        sharers_of_exit(mapping: MappingId) -> Vec<Owner>;
    }
}

over_the_worlds_store! {
    TunnelClients:
    effects {}
    others {
        create_tunnel_client(new: NewTunnelClient) -> TunnelClient;
        tunnel_clients(query: &ListQuery) -> Page<TunnelClient>;
        tunnel_client(id: TunnelClientId) -> TunnelClient;
        update_tunnel_client(id: TunnelClientId, patch: TunnelClientPatch) -> TunnelClient;
        remove_tunnel_client(id: TunnelClientId, cascade: bool, if_revision: Option<i64>) -> String;
        replace_tunnel_token(id: TunnelClientId, token: TokenHash) -> TunnelClient;
        add_enrolment(id: TunnelClientId, code: TokenHash, expires_at: Timestamp) -> EnrolmentId;
        tunnel_sessions(client: TunnelClientId, since: Option<Timestamp>, query: &ListQuery) -> Page<TunnelSession>;
    }
}

over_the_worlds_store! {
    Tunnels:
    effects {}
    others {
        create_tunnel(new: NewTunnel, ground: &Ground) -> Tunnel;
        tunnels(query: &ListQuery) -> Page<Tunnel>;
        tunnel(id: TunnelId) -> Tunnel;
        update_tunnel(id: TunnelId, patch: TunnelPatch, ground: &Ground) -> Tunnel;
        remove_tunnel(id: TunnelId, if_revision: Option<i64>) -> String;
        close_tunnel(id: TunnelId) -> Tunnel;
        renew_code(id: TunnelId, code: NewCode) -> Tunnel;
        verify_tunnel(id: TunnelId, code: &TokenHash) -> Result<Tunnel, NotVerified>;
        tunnel_by_code(code: &TokenHash) -> Option<(Tunnel, Timestamp)>;
        desired_tunnels(targets: &Filter) -> Desired;
        record_tunnels(seen: &Seen) -> ();
        tunnel_census() -> TunnelCensus;
    }
}

over_the_worlds_store! {
    Webhooks:
    effects {}
    others {
        create_webhook(new: NewWebhook) -> Webhook;
        webhooks(query: &ListQuery) -> Page<Webhook>;
        webhooks_switched_on() -> Vec<(WebhookId, i64)>;
        webhook(id: WebhookId) -> Webhook;
        update_webhook(id: WebhookId, patch: WebhookPatch) -> Webhook;
        remove_webhook(id: WebhookId, if_revision: Option<i64>) -> ();
        webhook_target(id: WebhookId) -> Addressee;
        own_events_after(after: i64, limit: u32) -> Vec<Event>;
        record_delivery(id: WebhookId, delivery: &Delivery) -> ();
        switch_off_webhook(id: WebhookId, revision: i64, why: &Delivery) -> ();
    }
}

over_the_worlds_store! {
    Events:
    effects {}
    others {
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
    fn written_elsewhere(&self) {
        self.0.store.written_elsewhere();
    }
}
