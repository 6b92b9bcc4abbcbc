//! What is, as a document: given back unchanged it changes nothing.

use super::document::{Document, Password, ProxyEntry, VERSION};
use super::snapshot::Snapshot;

impl Snapshot {
    pub fn export(&self, secrets: bool) -> Document {
        let proxies = self.proxies.values().map(|proxy| told(proxy.entry.clone(), secrets));
        let clients = self.clients.iter().map(|(ip, client)| client.entry(*ip));
        Document { version: VERSION, proxies: Some(proxies.collect()), clients: Some(clients.collect()) }
    }
}

/// Where there is no user name there is no password either, and nothing need be said of it.
fn told(entry: ProxyEntry, secrets: bool) -> ProxyEntry {
    let password = if secrets && entry.username.is_some() { entry.password } else { Password::Untold };
    ProxyEntry { password, ..entry }
}
