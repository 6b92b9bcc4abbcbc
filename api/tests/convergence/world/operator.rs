//! What an operator does, and what a test begins with.

use std::net::Ipv4Addr;

use pgw_api::events::{Event, Kind};
use pgw_api::store::{ClientPatch, ListQuery, MappingPatch, NewClient, NewMapping};
use pgw_core::control::flag_path;
use pgw_core::exit::Expect;
use pgw_core::health::HealthStatus;
use pgw_core::ids::{ClientId, ProxyId};
use pgw_core::mapping::{Mapping, Target};
use pgw_core::ports::PortRange;

use super::{EXITS, Process, World, found};

impl World {
    pub(crate) async fn client(&self, name: &str, ip: &str) {
        let new = NewClient {
            name: name.into(),
            ip_cidr: ip.parse().unwrap(),
            mac: None,
            note: String::new(),
            gateway: None,
        };
        self.store.create_client(new).await.unwrap();
    }

    pub(crate) async fn map(&self, client: &str, proxy: &str) {
        self.map_expecting(client, proxy, Expect::default(), false).await;
    }

    pub(crate) async fn map_expecting(&self, client: &str, proxy: &str, expect: Expect, exclusive: bool) {
        let new = NewMapping {
            client_id: self.client_id(client).await,
            proxy_id: self.proxy_id(proxy).await,
            priority: 100,
            target: Target::Original,
            enabled: true,
            expect,
            exclusive,
        };
        self.store.create_mapping(new, &PortRange::spanning(15001, 15009)).await.unwrap();
    }

    pub(crate) async fn unmap(&self, client: &str, proxy: &str) {
        let mapping = self.mapping(client, proxy).await.unwrap();
        self.store.remove_mapping(mapping.id, None).await.unwrap();
    }

    pub(crate) async fn enable(&self, client: &str, proxy: &str, enabled: bool) {
        let mapping = self.mapping(client, proxy).await.unwrap();
        let patch = MappingPatch { enabled: Some(enabled), ..MappingPatch::default() };
        self.store.update_mapping(mapping.id, patch).await.unwrap();
    }

    pub(crate) async fn delete_client(&self, name: &str) {
        self.store.remove_client(self.client_id(name).await, true, None).await.unwrap();
    }

    pub(crate) async fn move_client(&self, name: &str, ip: &str) {
        let patch = ClientPatch { ip_cidr: Some(ip.parse().unwrap()), ..ClientPatch::default() };
        self.store.update_client(self.client_id(name).await, patch).await.unwrap();
    }

    pub(crate) async fn health(&self, name: &str, said: HealthStatus) {
        let (_, exit) = EXITS.iter().find(|(known, _)| *known == name).unwrap();
        found(self.store.as_ref(), self.proxy_id(name).await, said, exit).await;
    }

    /// It leads elsewhere from now on.
    pub(crate) async fn exit(&self, name: &str, exit: &str) {
        found(self.store.as_ref(), self.proxy_id(name).await, HealthStatus::Ok, exit).await;
    }

    pub(crate) async fn change_mapping(&self, client: &str, proxy: &str, patch: MappingPatch) {
        let mapping = self.mapping(client, proxy).await.unwrap();
        self.store.update_mapping(mapping.id, patch).await.unwrap();
    }

    pub(crate) async fn mappings(&self) -> Vec<Mapping> {
        self.store.mappings(&everything()).await.unwrap().items
    }

    pub(crate) async fn mapping(&self, client: &str, proxy: &str) -> Option<Mapping> {
        let (client, proxy) = (self.client_id(client).await, self.proxy_id(proxy).await);
        self.mappings().await.into_iter().find(|m| m.client_id == client && m.proxy_id == proxy)
    }

    pub(crate) async fn client_id(&self, name: &str) -> ClientId {
        let clients = self.store.clients(&everything()).await.unwrap().items;
        clients.iter().find(|client| client.name == name).unwrap().id
    }

    async fn proxy_id(&self, name: &str) -> ProxyId {
        let proxies = self.store.proxies(&everything()).await.unwrap().items;
        proxies.iter().find(|proxy| proxy.name == name).unwrap().id
    }

    /// Each change of a mapping's state, from and to, in the order in which they were told.
    pub(crate) async fn states_told(&self) -> Vec<String> {
        let events = self.store.events_after(0, 1_000).await.unwrap();
        let states = events.iter().filter(|event| event.kind == Kind::MappingState);
        let word = |event: &Event, field| event.data.get(field).unwrap().as_str().unwrap().to_owned();
        states.map(|event| format!("{} {}", word(event, "from"), word(event, "to"))).collect()
    }

    /// A client "tv" at 10.0.0.3, open through de1.
    pub(crate) async fn open_client(&self, process: &Process) {
        self.client("tv", "10.0.0.3").await;
        self.map("tv", "de1").await;
        process.converge().await;
        assert!(self.redirects().contains_key(&Ipv4Addr::new(10, 0, 0, 3)), "it begins with an open client");
    }

    /// A forwarder that nobody owns, with a flag file that still lets its former device out.
    pub(crate) async fn leave_a_forwarder_behind(&self, process: &Process) {
        self.open_client(process).await;
        let flag = std::fs::read(flag_path(self.dir.path(), 15001)).unwrap();
        self.delete_client("tv").await;
        process.converge().await;
        std::fs::write(flag_path(self.dir.path(), 15001), flag).unwrap();
    }
}

fn everything() -> ListQuery {
    ListQuery { limit: 500, ..ListQuery::default() }
}
