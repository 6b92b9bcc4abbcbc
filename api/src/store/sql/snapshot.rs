//! What is, by the names that documents use.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::client::Client;
use pgw_core::ids::{ClientId, ProxyId};

use super::db::Connection;
use super::{clients, mappings, ports, proxies, tunnel_clients, tunnels};
use crate::declarative::document::MappingEntry;
use crate::declarative::snapshot::{KnownClient, KnownMapping, KnownProxy, Snapshot};
use crate::store::StoreError;
use crate::store::crypt::Vault;

pub(super) async fn snapshot(db: &mut Connection, own: &str, vault: &Vault) -> Result<Snapshot, StoreError> {
    let taken = ports::taken(db, own).await?;
    let mut now = Snapshot::default();
    let mut names: BTreeMap<ProxyId, String> = BTreeMap::new();
    for (id, entry) in proxies::entries(db, own, vault).await? {
        names.insert(id, entry.name.clone());
        now.proxies.insert(entry.name.clone(), KnownProxy { id, entry, elsewhere: [].into() });
    }
    for (id, gateway) in mappings::elsewhere(db, own).await? {
        if let Some(proxy) = names.get(&id).and_then(|name| now.proxies.get_mut(name)) {
            proxy.elsewhere.insert(gateway);
        }
    }
    let owners: BTreeSet<ClientId> = taken.iter().map(|(_, owner)| ClientId(*owner)).collect();
    let mut clients: BTreeMap<ClientId, KnownClient> = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for Client { id, name, ip_cidr, mac, note, .. } in clients::of_gateway(db, own).await? {
        addresses.insert(id, ip_cidr);
        let (has_port, mappings) = (owners.contains(&id), BTreeMap::new());
        clients.insert(id, KnownClient { id, name, mac, note, has_port, mappings });
    }
    for mapping in mappings::of_gateway(db, own).await? {
        let proxy = names.get(&mapping.proxy_id).cloned();
        let (Some(proxy), Some(client)) = (proxy, clients.get_mut(&mapping.client_id)) else { continue };
        let entry = MappingEntry {
            proxy: proxy.clone(),
            priority: mapping.priority,
            target: mapping.target,
            enabled: mapping.enabled,
            expect: mapping.expect,
            exclusive: mapping.exclusive,
        };
        client.mappings.insert(proxy, KnownMapping { id: mapping.id, entry });
    }
    let mut machines = BTreeMap::new();
    for row in tunnel_clients::of_gateway(db, own).await? {
        machines.insert(row.id, row.known());
    }
    tunnels::enter(db, own, vault, &mut machines).await?;
    now.tunnel_clients = machines.into_values().map(|machine| (machine.own.name.clone(), machine)).collect();
    now.ports = taken.into_iter().map(|(port, _)| port).collect();
    now.clients =
        clients.into_iter().filter_map(|(id, client)| Some((*addresses.get(&id)?, client))).collect();
    Ok(now)
}
