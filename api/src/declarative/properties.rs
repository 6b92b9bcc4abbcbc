//! Plans, carried out on a model of the store.

mod fitting;
mod making;
mod mistakes;
mod tunnels;

use std::collections::BTreeMap;

use pgw_core::exit::Expect;
use pgw_core::ids::{ClientId, ClientIp, MappingId, ProxyId};
use pgw_core::mapping::Target;
use pgw_core::ports::PortRange;
use pgw_core::proxy::Scheme;
use pgw_core::redact::Secret;
use proptest::prelude::*;
use uuid::Uuid;

use super::document::{ClientEntry, Document, MappingEntry, Password, ProxyEntry, VERSION};
use super::plan::{Deed, Plan, Subject, plan};
use super::snapshot::{KnownClient, KnownMapping, KnownProxy, Snapshot};
use super::wanted::Wanted;
use crate::store::{ClientPatch, Ground, MappingPatch, ProxyPatch};

fn ip(last: u8) -> ClientIp {
    format!("192.168.2.{last}").parse().unwrap()
}

fn proxy_entry(name: &str) -> ProxyEntry {
    ProxyEntry {
        name: name.to_owned(),
        scheme: Scheme::Http,
        host: "proxy.example".parse().unwrap(),
        port: 1080,
        username: Some("bob".to_owned()),
        password: Password::Is(Secret::new("correct horse")),
        enabled: true,
        note: String::new(),
        labels: BTreeMap::new(),
    }
}

fn mapping_entry(proxy: &str) -> MappingEntry {
    MappingEntry {
        proxy: proxy.to_owned(),
        priority: 100,
        target: Target::Original,
        enabled: true,
        expect: Expect::default(),
        exclusive: false,
    }
}

fn client_entry(last: u8, proxies: &[&str]) -> ClientEntry {
    let mappings = proxies.iter().map(|proxy| mapping_entry(proxy)).collect();
    ClientEntry { name: format!("phone {last}"), ip_cidr: ip(last), mac: None, note: String::new(), mappings }
}

fn document(proxies: Vec<ProxyEntry>, clients: Vec<ClientEntry>) -> Document {
    Document { version: VERSION, proxies: Some(proxies), clients: Some(clients), tunnel_clients: None }
}

fn ground(forwarders: &PortRange) -> Ground {
    let range = PortRange::spanning(10_000, 32_000);
    Ground { range, forwarders: forwarders.clone(), tcp: [].into(), udp: [].into() }
}

fn planned(document: Document, now: &Snapshot) -> Plan {
    plan(&Wanted::of(document, now).unwrap(), now)
}

/// What is once a document was applied to nothing.
fn made(document: Document) -> Snapshot {
    let mut now = Snapshot::default();
    let plan = planned(document, &now);
    carry_out(&mut now, &plan);
    now
}

/// As the store does it, and as strict: what is to go must be free, what is new must have its place.
fn carry_out(now: &mut Snapshot, plan: &Plan) {
    for step in &plan.steps {
        let new_id = Uuid::now_v7();
        match (&step.subject, &step.deed) {
            (Subject::Mapping(ip, proxy), Deed::RemoveMapping(id)) => {
                let removed = now.clients.get_mut(ip).unwrap().mappings.remove(proxy).unwrap();
                assert_eq!(removed.id, *id);
            }
            (Subject::Client(ip), Deed::RemoveClient(id)) => {
                let removed = now.clients.remove(ip).unwrap();
                assert_eq!((removed.id, removed.mappings.len()), (*id, 0));
            }
            (Subject::Proxy(name), Deed::RemoveProxy(id)) => {
                assert_eq!(now.users(name).count(), 0);
                assert_eq!(now.proxies.remove(name).unwrap().id, *id);
            }
            (Subject::Proxy(name), Deed::CreateProxy(new)) => {
                let entry = ProxyEntry {
                    name: new.name.clone(),
                    scheme: new.scheme,
                    host: new.host.clone(),
                    port: new.port,
                    username: new.username.clone(),
                    password: new.password.clone().map_or(Password::None, Password::Is),
                    enabled: new.enabled,
                    note: new.note.clone(),
                    labels: new.labels.clone(),
                };
                let known = KnownProxy { id: ProxyId(new_id), entry, elsewhere: [].into() };
                assert_eq!(now.proxies.insert(name.clone(), known), None);
            }
            (Subject::Proxy(name), Deed::ChangeProxy(id, patch, _)) => {
                let known = now.proxies.get_mut(name).unwrap();
                assert_eq!(known.id, *id);
                change_proxy(&mut known.entry, patch.clone());
            }
            (Subject::Client(ip), Deed::CreateClient(new)) => {
                let known = KnownClient {
                    id: ClientId(new_id),
                    name: new.name.clone(),
                    mac: new.mac,
                    note: new.note.clone(),
                    has_port: false,
                    mappings: BTreeMap::new(),
                };
                assert_eq!(now.clients.insert(*ip, known), None);
            }
            (Subject::Client(ip), Deed::ChangeClient(id, patch, _)) => {
                let known = now.clients.get_mut(ip).unwrap();
                assert_eq!(known.id, *id);
                let ClientPatch { name, mac, note, .. } = patch.clone();
                set(&mut known.name, name);
                set(&mut known.mac, mac);
                set(&mut known.note, note);
            }
            (Subject::Mapping(ip, proxy), Deed::CreateMapping(entry)) => {
                assert!(now.proxies.contains_key(proxy));
                let client = now.clients.get_mut(ip).unwrap();
                client.has_port = true;
                let known = KnownMapping { id: MappingId(new_id), entry: entry.clone() };
                assert_eq!(client.mappings.insert(proxy.clone(), known), None);
            }
            (Subject::Mapping(ip, proxy), Deed::ChangeMapping(id, patch, _)) => {
                let known = now.clients.get_mut(ip).unwrap().mappings.get_mut(proxy).unwrap();
                assert_eq!(known.id, *id);
                let MappingPatch { priority, target, enabled, expect, exclusive, .. } = patch.clone();
                set(&mut known.entry.priority, priority);
                set(&mut known.entry.target, target);
                set(&mut known.entry.enabled, enabled);
                set(&mut known.entry.expect, expect);
                set(&mut known.entry.exclusive, exclusive);
            }
            (subject, deed) => panic!("{subject:?} with {deed:?}"),
        }
    }
}

fn change_proxy(entry: &mut ProxyEntry, patch: ProxyPatch) {
    set(&mut entry.scheme, patch.scheme);
    set(&mut entry.host, patch.host);
    set(&mut entry.port, patch.port);
    set(&mut entry.username, patch.username);
    set(&mut entry.password, patch.password.map(|given| given.map_or(Password::None, Password::Is)));
    set(&mut entry.enabled, patch.enabled);
    set(&mut entry.note, patch.note);
    set(&mut entry.labels, patch.labels);
    assert!(entry.username.is_some() || entry.password == Password::None, "a password needs a user name");
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

prop_compose! {
    fn a_proxy(name: String)(
        scheme in prop::sample::select(vec![Scheme::Http, Scheme::Https, Scheme::Socks5]),
        port in 1..4_u16,
        login in prop::option::of(("[ab]", prop::option::of("[xy]"))),
        enabled: bool,
        note in "[mn]?",
        labels in prop::collection::btree_map("[kl]", "[vw]", 0..2),
    ) -> ProxyEntry {
        let (username, password) = login.map_or((None, None), |(user, password)| (Some(user), password));
        let password = password.map_or(Password::None, |password| Password::Is(Secret::new(password)));
        let host = "proxy.example".parse().unwrap();
        ProxyEntry { name: name.clone(), scheme, host, port, username, password, enabled, note, labels }
    }
}

type Way = (u16, bool, bool, Expect, bool);

prop_compose! {
    fn an_expectation()(
        exit_ip in prop::option::of(prop::sample::select(vec!["203.0.113.9", "203.0.113.0/24"])),
        country in prop::option::of(Just("NL")),
        stable: bool,
    ) -> Expect {
        let exit_ip = exit_ip.map(|net| net.parse().unwrap());
        Expect { exit_ip, country: country.map(|two| two.parse().unwrap()), stable }
    }
}

prop_compose! {
    fn a_client(last: u8, proxies: Vec<String>)(
        name in "[pq]",
        mac in prop::option::of(Just("02:00:5e:10:00:03".parse().unwrap())),
        note in "[mn]?",
        used in prop::sample::subsequence(proxies.clone(), 0..=proxies.len()).prop_shuffle(),
        ways in prop::collection::vec((0..3_u16, any::<bool>(), any::<bool>(), an_expectation(), any::<bool>()), 4),
    ) -> ClientEntry {
        let way = |(proxy, (priority, hostname, enabled, expect, exclusive)): (&String, &Way)| MappingEntry {
            proxy: proxy.clone(),
            priority: *priority,
            target: if *hostname { Target::Hostname } else { Target::Original },
            enabled: *enabled,
            expect: *expect,
            exclusive: *exclusive,
        };
        let mappings = used.iter().zip(&ways).map(way).collect();
        ClientEntry { name, ip_cidr: ip(last), mac, note, mappings }
    }
}

/// Up to four proxies and five clients, in any order: few enough for two documents to have much
/// in common.
fn a_document() -> impl Strategy<Value = Document> {
    let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).into();
    let some = |names: Vec<String>| prop::sample::subsequence(names, 0..=4).prop_shuffle();
    let addresses = prop::sample::subsequence(vec![1, 2, 3, 4, 5_u8], 0..=5).prop_shuffle();
    (some(names), addresses).prop_flat_map(|(names, addresses)| {
        let proxies: Vec<_> = names.iter().cloned().map(a_proxy).collect();
        let clients: Vec<_> = addresses.into_iter().map(|last| a_client(last, names.clone())).collect();
        (proxies, clients).prop_map(|(proxies, clients)| document(proxies, clients))
    })
}

/// What documents say, whatever the order in which they say it.
fn content(document: &Document) -> Document {
    let mut sorted = document.clone();
    if let Some(proxies) = &mut sorted.proxies {
        proxies.sort_by_key(|entry| entry.name.clone());
    }
    // Of which these documents say nothing.
    sorted.tunnel_clients = None;
    if let Some(clients) = &mut sorted.clients {
        clients.sort_by_key(|entry| entry.ip_cidr);
        for client in clients {
            client.mappings.sort_by_key(|mapping| mapping.proxy.clone());
        }
    }
    sorted
}

/// The same with every password told: an export says nothing of a password where there is no user.
fn told(document: &Document) -> Document {
    let mut document = content(document);
    for entry in document.proxies.iter_mut().flatten() {
        if entry.username.is_none() {
            entry.password = Password::Untold;
        }
    }
    document
}
