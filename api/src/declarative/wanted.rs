//! What shall be true of which things: of all of a section for a document, of what an apply has
//! touched for its undoing.

use std::collections::{BTreeMap, BTreeSet};

use pgw_core::ids::ClientIp;
use serde::{Deserialize, Serialize};

use super::document::{ClientEntry, Document, ProxyEntry};
use super::plan::{Plan, Subject};
use super::snapshot::{KnownTunnelClient, Snapshot};
use super::tunnels::TunnelClientEntry;

/// Who is not named is left alone; none is not to be there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wanted {
    pub proxies: BTreeMap<String, Option<ProxyEntry>>,
    pub clients: BTreeMap<ClientIp, Option<ClientEntry>>,
    /// What was kept before there were any says nothing of them.
    #[serde(default)]
    pub tunnel_clients: BTreeMap<String, Option<TunnelClientEntry>>,
}

/// What a document says that cannot be, given what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// A JSON pointer into the document.
    pub pointer: String,
    pub detail: String,
}

impl Wanted {
    pub fn of(document: Document, now: &Snapshot) -> Result<Self, Vec<Mistake>> {
        let mistakes =
            [unknown_proxies(&document, now), still_in_use(&document, now), tunnel_mistakes(&document, now)]
                .concat();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let mut wanted = Self::default();
        if let Some(proxies) = document.proxies {
            wanted.proxies = now.proxies.keys().map(|name| (name.clone(), None)).collect();
            wanted.proxies.extend(proxies.into_iter().map(|entry| (entry.name.clone(), Some(entry))));
        }
        if let Some(clients) = document.clients {
            wanted.clients = now.clients.keys().map(|ip| (*ip, None)).collect();
            wanted.clients.extend(clients.into_iter().map(|entry| (entry.ip_cidr, Some(entry))));
        }
        if let Some(clients) = document.tunnel_clients {
            wanted.tunnel_clients = now.tunnel_clients.keys().map(|name| (name.clone(), None)).collect();
            wanted.tunnel_clients.extend(clients.into_iter().map(|entry| (entry.name.clone(), Some(entry))));
        }
        Ok(wanted)
    }

    /// What is now of all that a plan is going to touch: with it the plan can be undone.
    pub fn before(plan: &Plan, now: &Snapshot) -> Self {
        let mut wanted = Self::default();
        for step in &plan.steps {
            match &step.subject {
                Subject::Proxy(name) => {
                    let entry = now.proxies.get(name).map(|proxy| proxy.entry.clone());
                    wanted.proxies.insert(name.clone(), entry);
                }
                Subject::Client(ip) | Subject::Mapping(ip, _) => {
                    wanted.clients.insert(*ip, now.clients.get(ip).map(|client| client.entry(*ip)));
                }
                Subject::TunnelClient(name) | Subject::Tunnel(name, _) => {
                    let entry = now.tunnel_clients.get(name).map(KnownTunnelClient::entry);
                    wanted.tunnel_clients.insert(name.clone(), entry);
                }
            }
        }
        wanted
    }

    /// Made to fit what others have changed meanwhile: undoing must not fail. A way out by a proxy
    /// that is no more stays closed; a way out by a proxy that is not to be there goes with it; a
    /// proxy that another gateway has come to need stays; a website whose name another one has now, or
    /// whose passwords nobody can open, is not made again.
    pub fn fitted(mut self, now: &Snapshot) -> Self {
        let needed = |name: &String| now.proxies.get(name).is_some_and(|known| !known.elsewhere.is_empty());
        self.proxies.retain(|name, entry| entry.is_some() || !needed(name));
        let gone: BTreeSet<String> =
            self.proxies.iter().filter(|(_, entry)| entry.is_none()).map(|(name, _)| name.clone()).collect();
        for ip in gone.iter().flat_map(|name| now.users(name)) {
            let as_it_is = || now.clients.get(&ip).map(|client| client.entry(ip));
            self.clients.entry(ip).or_insert_with(as_it_is);
        }
        let will_be = |name: &str| match self.proxies.get(name) {
            Some(entry) => entry.is_some(),
            None => now.proxies.contains_key(name),
        };
        for entry in self.clients.values_mut().flatten() {
            entry.mappings.retain(|mapping| will_be(&mapping.proxy));
        }
        let others = now.tunnel_clients.iter().filter(|(name, _)| !self.tunnel_clients.contains_key(*name));
        let tunnels = others.flat_map(|(_, client)| client.tunnels.values());
        let routes: Vec<_> = tunnels.filter_map(|tunnel| tunnel.entry.route()).collect();
        for entry in self.tunnel_clients.values_mut().flatten() {
            let known = now.tunnel_clients.get(&entry.name);
            entry.tunnels.retain(|tunnel| {
                let known = known.and_then(|known| known.tunnels.get(&tunnel.name));
                let is_free = tunnel.route().is_none_or(|route| !routes.contains(&route));
                is_free && !tunnel.lacks_a_password(known.map(|known| &known.entry))
            });
        }
        self
    }
}

fn unknown_proxies(document: &Document, now: &Snapshot) -> Vec<Mistake> {
    let named: Option<BTreeSet<&str>> =
        document.proxies.as_ref().map(|proxies| proxies.iter().map(|entry| entry.name.as_str()).collect());
    let (is_known, what) = match &named {
        Some(named) => (
            Box::new(|name: &str| named.contains(name)) as Box<dyn Fn(&str) -> bool>,
            "the document's proxies",
        ),
        None => (
            Box::new(|name: &str| now.proxies.contains_key(name)) as Box<dyn Fn(&str) -> bool>,
            "the gateway's proxies",
        ),
    };
    let mut mistakes = Vec::new();
    for (at, client) in document.clients.iter().flatten().enumerate() {
        for (of, mapping) in client.mappings.iter().enumerate() {
            if !is_known(&mapping.proxy) {
                mistakes.push(Mistake {
                    pointer: format!("/clients/{at}/mappings/{of}/proxy"),
                    detail: format!("{:?} is none of {what}", mapping.proxy),
                });
            }
        }
    }
    mistakes
}

/// A proxy that is left out goes, and nobody's way out with it but by a document that speaks of
/// its clients too.
fn still_in_use(document: &Document, now: &Snapshot) -> Vec<Mistake> {
    let Some(proxies) = &document.proxies else { return Vec::new() };
    let stays: BTreeSet<&str> = proxies.iter().map(|entry| entry.name.as_str()).collect();
    let mut mistakes = Vec::new();
    for (name, known) in now.proxies.iter().filter(|(name, _)| !stays.contains(name.as_str())) {
        let clients = if document.clients.is_none() { now.users(name).count() } else { 0 };
        if clients > 0 {
            mistakes.push(format!(
                "{name:?} is left out, but {clients} clients lead through it, of whom the document says nothing; \
                 list it, or list the clients too"
            ));
        }
        if !known.elsewhere.is_empty() {
            let gateways: Vec<&str> = known.elsewhere.iter().map(String::as_str).collect();
            mistakes.push(format!(
                "{name:?} is left out, but clients of other gateways lead through it: {}",
                gateways.join(", ")
            ));
        }
    }
    mistakes.into_iter().map(|detail| Mistake { pointer: "/proxies".to_owned(), detail }).collect()
}

/// Two websites with one name, and a user without a password.
fn tunnel_mistakes(document: &Document, now: &Snapshot) -> Vec<Mistake> {
    let (mut routes, mut mistakes) = (BTreeMap::new(), Vec::new());
    for (at, client) in document.tunnel_clients.iter().flatten().enumerate() {
        let known = now.tunnel_clients.get(&client.name);
        for (of, tunnel) in client.tunnels.iter().enumerate() {
            let place = format!("/tunnel_clients/{at}/tunnels/{of}");
            if let Some(route) = tunnel.route()
                && let Some(first) = routes.insert(route, place.clone())
            {
                let detail = format!("{first} has the same host, path and header");
                mistakes.push(Mistake { pointer: format!("{place}/host"), detail });
            }
            let before = known.and_then(|known| known.tunnels.get(&tunnel.name));
            if tunnel.lacks_a_password(before.map(|known| &known.entry)) {
                let detail = "needs a password for each new name".to_owned();
                mistakes.push(Mistake { pointer: format!("{place}/basic_auth"), detail });
            }
        }
    }
    mistakes
}
