//! What is, as a document: given back unchanged it changes nothing.

use super::document::{Document, Password, ProxyEntry, VERSION};
use super::snapshot::Snapshot;
use super::tunnels::TunnelClientEntry;

impl Snapshot {
    pub fn export(&self, secrets: bool) -> Document {
        let proxies = self.proxies.values().map(|proxy| told(proxy.entry.clone(), secrets));
        let clients = self.clients.iter().map(|(ip, client)| client.entry(*ip));
        let tunnel_clients = self.tunnel_clients.values().map(|client| shown(client.entry(), secrets));
        Document {
            version: VERSION,
            proxies: Some(proxies.collect()),
            clients: Some(clients.collect()),
            tunnel_clients: Some(tunnel_clients.collect()),
        }
    }
}

/// Its token is known to nobody but its machine, and a document holds no key to it either.
fn shown(mut entry: TunnelClientEntry, secrets: bool) -> TunnelClientEntry {
    entry.kept = None;
    if !secrets {
        for login in entry.tunnels.iter_mut().flat_map(|tunnel| &mut tunnel.basic_auth) {
            login.password = Password::Untold;
        }
    }
    entry
}

/// Where there is no user name there is no password either, and nothing need be said of it.
fn told(entry: ProxyEntry, secrets: bool) -> ProxyEntry {
    let password = if secrets && entry.username.is_some() { entry.password } else { Password::Untold };
    ProxyEntry { password, ..entry }
}
