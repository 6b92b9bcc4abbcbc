//! Documents, applied and taken back, on a real database.

use std::time::Duration;

use pgw_core::exit::Expect;
use pgw_core::ids::ApplyId;
use pgw_core::tunnel::{Filter, PortConflict, Protocol};

use super::*;
use crate::declarative::Refused;
use crate::declarative::document::{ClientEntry, Document, MappingEntry, Password, ProxyEntry, VERSION};
use crate::declarative::tunnels::{LoginEntry, TunnelClientEntry, TunnelEntry};
use crate::store::applies::{Applied, ApplyState, Terms};

fn entry(last: u16, proxies: &[&str]) -> ClientEntry {
    let mapping = |proxy: &&str| MappingEntry {
        proxy: (*proxy).to_owned(),
        priority: 100,
        target: Target::Original,
        enabled: true,
        expect: Expect { stable: true, ..Expect::default() },
        exclusive: false,
    };
    ClientEntry {
        name: format!("phone {last}"),
        ip_cidr: format!("10.0.{}.{}", last / 250, 1 + last % 250).parse().unwrap(),
        mac: None,
        note: String::new(),
        mappings: proxies.iter().map(mapping).collect(),
    }
}

fn proxy(name: &str) -> ProxyEntry {
    let NewProxy { name, scheme, host, port, username, enabled, note, labels, .. } = new_proxy(name);
    let password = Password::Is(Secret::new("hunter2"));
    ProxyEntry { name, scheme, host, port, username, password, enabled, note, labels }
}

fn document(proxies: &[&str], clients: Vec<ClientEntry>) -> Document {
    let proxies = proxies.iter().map(|name| proxy(name)).collect();
    Document {
        version: VERSION,
        proxies: Some(proxies),
        clients: Some(clients),
        tunnel_clients: Some(vec![]),
    }
}

pub(super) fn ground(forwarders: PortRange) -> Ground {
    let range = PortRange::spanning(20_000, 20_010);
    Ground { range, forwarders, tcp: [20_001].into(), udp: [].into() }
}

async fn apply(store: &dyn Store, document: Document, confirm_within: Option<Duration>) -> Applied {
    let terms = Terms { ground: ground(ports()), confirm_within };
    store.apply(document, &terms).await.unwrap().unwrap()
}

pub(crate) async fn what_a_document_says_is_what_is_exported_then(store: Arc<dyn Store>) {
    let first = document(&["a", "b"], vec![entry(1, &["a", "b"]), entry(2, &["b"]), entry(3, &[])]);
    apply(&*store, first.clone(), None).await;
    assert_eq!(store.snapshot().await.unwrap().export(true), first);
    let mut second = document(&["b", "c"], vec![entry(1, &["b"]), entry(3, &["c"]), entry(4, &["b", "c"])]);
    for entry in second.proxies.iter_mut().flatten().filter(|entry| entry.name == "b") {
        (entry.port, entry.password) = (1, Password::Is(Secret::new("another")));
    }
    let done = apply(&*store, second.clone(), None).await;
    assert_eq!(store.snapshot().await.unwrap().export(true), second);
    let plans = store.plans().await.unwrap();
    let going: Vec<_> = plans.iter().filter(|plan| plan.going).map(|plan| plan.client.id).collect();
    assert_eq!(going.len(), 1, "it holds its port until it is closed");
    assert!(done.touched.closed.contains(&going[0]));
}

pub(crate) async fn rows_that_a_document_does_not_change_are_not_written(store: Arc<dyn Store>) {
    let clients: Vec<_> = (0..20).map(|last| entry(last, &["a"])).collect();
    apply(&*store, document(&["a"], clients.clone()), None).await;
    let query = ListQuery { limit: 100, ..ListQuery::default() };
    let (before, mappings) =
        (store.clients(&query).await.unwrap().items, store.mappings(&query).await.unwrap().items);
    let mut changed = clients;
    changed[7].note = "changed".to_owned();
    let done = apply(&*store, document(&["a"], changed), None).await;
    let id = before.iter().find(|client| client.name == "phone 7").unwrap().id;
    assert_eq!((done.plan.steps.len(), done.plan.kept), (1, 40));
    assert_eq!(done.touched.opened.union(&done.touched.closed).copied().collect::<Vec<_>>(), [id]);
    assert!(done.touched.redialled.is_empty() && done.touched.needed.is_empty());
    let after = store.clients(&query).await.unwrap().items;
    let others = |clients: Vec<Client>| clients.into_iter().filter(|c| c.id != id).collect::<Vec<_>>();
    assert_eq!(others(after), others(before));
    assert_eq!(store.mappings(&query).await.unwrap().items, mappings);
}

pub(crate) async fn an_apply_that_has_to_be_confirmed_is_undone_only_until_it_is(store: Arc<dyn Store>) {
    let before = document(&["a", "b"], vec![entry(1, &["a"]), entry(2, &["b"])]);
    apply(&*store, before.clone(), None).await;
    let after = document(&["b"], vec![entry(2, &["b"]), entry(3, &["b"])]);
    for confirmed in [false, true] {
        let done = apply(&*store, after.clone(), Some(Duration::from_secs(60))).await;
        let record = done.record.unwrap();
        assert_eq!(record.state, ApplyState::Waiting);
        assert_eq!(store.last_apply().await.unwrap().unwrap(), record);
        let terms = Terms { ground: ground(ports()), confirm_within: None };
        let second = store.apply(before.clone(), &terms).await.unwrap();
        assert!(matches!(second, Err(Refused::Conflict(Conflict::ApplyPending { .. }))));
        if confirmed {
            assert_eq!(store.confirm_apply(record.id).await.unwrap().state, ApplyState::Confirmed);
        }
        let undone = store.roll_back(record.id, &ground(ports())).await.unwrap();
        assert_eq!(undone.is_none(), confirmed);
        let is = store.snapshot().await.unwrap().export(true);
        assert_eq!(is, if confirmed { after.clone() } else { before.clone() }, "passwords included");
        assert!(store.roll_back(record.id, &ground(ports())).await.unwrap().is_none(), "never twice");
    }
    not_found(store.confirm_apply(ApplyId(uuid::Uuid::now_v7())).await);
}

pub(crate) async fn a_thousand_devices_are_made_whole_in_one_piece_of_work(store: Arc<dyn Store>) {
    let names: Vec<String> = (0..1000).map(|n| format!("exit {n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ports = PortRange::spanning(15001, 16500);
    let clients = (0..1000).map(|n| entry(n, &[names[usize::from(n)]])).collect();
    let whole = document(&names, clients);
    let terms = Terms { ground: ground(ports.clone()), confirm_within: None };
    let made = store.apply(whole.clone(), &terms).await.unwrap().unwrap();
    assert_eq!(made.plan.steps.len(), 3000);
    let now = store.snapshot().await.unwrap();
    let plan = crate::declarative::prepare(whole, &now, &ground(ports)).unwrap();
    assert_eq!((plan.steps.len(), plan.kept), (0, 3000));
}

fn tunnel(name: &str, protocol: Protocol, port: Option<u16>) -> TunnelEntry {
    let is_http = protocol == Protocol::Http;
    let login = LoginEntry { username: "bob".to_owned(), password: Password::Is(Secret::new("hunter2")) };
    TunnelEntry {
        name: name.to_owned(),
        protocol,
        public_port: port,
        host: is_http.then(|| format!("{name}.example")),
        path: None,
        header: None,
        local_host: "127.0.0.1".to_owned(),
        local_port: 22,
        enabled: true,
        verify: Some(false),
        bandwidth: Some(1000),
        max_connections: None,
        max_per_visitor: Some(2),
        requests_per_minute: None,
        visitor_allow: vec!["203.0.113.0/24".parse().unwrap()],
        basic_auth: if is_http { vec![login] } else { vec![] },
        compression: false,
        proxy_protocol: false,
        udp_idle_s: 30,
    }
}

fn machine(name: &str, tunnels: Vec<TunnelEntry>) -> TunnelClientEntry {
    TunnelClientEntry {
        name: name.to_owned(),
        note: String::new(),
        enabled: true,
        allowed_ports: vec![],
        max_tunnels: 3,
        max_connections: 100,
        bandwidth: None,
        tunnels,
        kept: None,
    }
}

fn machines(tunnel_clients: Vec<TunnelClientEntry>) -> Document {
    Document { version: VERSION, proxies: None, clients: None, tunnel_clients: Some(tunnel_clients) }
}

async fn exported(store: &dyn Store) -> Vec<TunnelClientEntry> {
    store.snapshot().await.unwrap().export(true).tunnel_clients.unwrap()
}

pub(crate) async fn tunnels_are_as_a_document_says_and_as_they_were_when_it_is_undone(store: Arc<dyn Store>) {
    let ssh = tunnel("ssh", Protocol::Both, Some(20_000));
    let before = vec![
        machine("office", vec![tunnel("shop", Protocol::Http, None), ssh.clone()]),
        machine("pi", vec![tunnel("sip", Protocol::Udp, Some(20_001))]),
    ];
    let done = apply(&*store, machines(before.clone()), None).await;
    assert_eq!((done.plan.steps.len(), done.touched.tunnels), (5, true));
    assert_eq!(exported(&*store).await, before);
    let ids = async || {
        let now = store.snapshot().await.unwrap();
        let ids = now.tunnel_clients.iter().map(|(name, known)| (name.clone(), known.id));
        ids.collect::<BTreeMap<_, _>>()
    };
    let first = ids().await;
    let desired = store.desired_tunnels(&Filter::open()).await.unwrap();
    assert_eq!((desired.tunnels.len(), desired.clients.len()), (3, 2));
    // Of what is not said, passwords and ports and what was verified stay.
    let mut untold = before.clone();
    for entry in untold.iter_mut().flat_map(|machine| &mut machine.tunnels) {
        (entry.public_port, entry.verify) = (None, None);
        entry.basic_auth.iter_mut().for_each(|login| login.password = Password::Untold);
    }
    let same = apply(&*store, machines(untold), None).await;
    assert_eq!((same.plan.steps.len(), same.plan.kept, same.touched.tunnels), (0, 5, false));
    let closed = TunnelEntry { verify: Some(true), local_port: 23, ..ssh };
    let after = machines(vec![machine("office", vec![closed])]);
    let done = apply(&*store, after.clone(), Some(Duration::from_secs(60))).await;
    assert_eq!(exported(&*store).await, after.tunnel_clients.unwrap());
    assert_eq!(
        store.desired_tunnels(&Filter::open()).await.unwrap().tunnels.len(),
        0,
        "it waits for a code again"
    );
    let ground = ground(ports());
    store.roll_back(done.record.unwrap().id, &ground).await.unwrap().unwrap();
    assert_eq!(exported(&*store).await, before, "passwords included");
    assert_eq!(ids().await, first, "a machine that was removed comes in again by the token that it has");
    let tokens = |desired: &pgw_core::tunnel::Desired| {
        desired.clients.iter().map(|client| client.token.clone()).collect::<Vec<_>>()
    };
    assert_eq!(tokens(&store.desired_tunnels(&Filter::open()).await.unwrap()), tokens(&desired));
}

pub(crate) async fn what_a_document_takes_from_one_tunnel_another_may_have(store: Arc<dyn Store>) {
    let [a, b] = [20_003, 20_004].map(Some);
    let shop = |name: &str, host: &str| TunnelEntry {
        host: Some(host.to_owned()),
        ..tunnel(name, Protocol::Http, None)
    };
    let one = vec![tunnel("x", Protocol::Tcp, a), tunnel("y", Protocol::Tcp, b)];
    let two = vec![shop("v", "v.example"), shop("w", "w.example")];
    apply(&*store, machines(vec![machine("one", one), machine("two", two)]), None).await;
    let one = vec![tunnel("x", Protocol::Tcp, b), tunnel("y", Protocol::Tcp, a)];
    let two = vec![shop("v", "w.example"), shop("w", "v.example")];
    let changed = vec![machine("one", one), machine("two", two)];
    apply(&*store, machines(changed.clone()), None).await;
    assert_eq!(exported(&*store).await, changed, "they have changed places");
    // A port goes to another client's in the same document.
    let moved = vec![machine("one", vec![]), machine("three", vec![tunnel("z", Protocol::Both, a)])];
    apply(&*store, machines(moved.clone()), None).await;
    let mut sorted = exported(&*store).await;
    sorted.sort_by_key(|machine| machine.name.clone());
    assert_eq!(sorted, moved);
    // Somebody has it when the document is undone: another will do.
    let done = apply(&*store, machines(vec![machine("one", vec![])]), Some(Duration::from_secs(60))).await;
    let one = store.snapshot().await.unwrap().tunnel_clients["one"].id;
    let wish = tunnel("z", Protocol::Both, a).wish();
    let taking = NewTunnel {
        tunnel_client_id: one,
        name: "taken".to_owned(),
        enabled: true,
        verified: true,
        code: None,
        public_port: 20_003,
        wish,
    };
    let ground = ground(ports());
    store.create_tunnel(taking, &ground).await.unwrap();
    store.roll_back(done.record.unwrap().id, &ground).await.unwrap().unwrap();
    let three = &store.snapshot().await.unwrap().tunnel_clients["three"];
    assert_eq!(three.tunnels["z"].entry.public_port, Some(20_000), "20001 is a program's");
}

pub(crate) async fn ports_that_a_document_cannot_have_are_told_by_code_before_and_when_it_is_applied(
    store: Arc<dyn Store>,
) {
    let own = tunnel("own", Protocol::Tcp, Some(20_005));
    apply(&*store, machines(vec![machine("pi", vec![own.clone()])]), None).await;
    let before = exported(&*store).await;
    let fits = |port| tunnel("new", Protocol::Tcp, Some(port));
    let few = |tunnels| TunnelClientEntry {
        allowed_ports: vec![AllowedPort::Span("20005-20007".to_owned())],
        max_tunnels: 1,
        ..machine("pi", tunnels)
    };
    for (entry, want) in [
        (machine("pi", vec![own.clone(), fits(20_005)]), PortConflict::PortInUse),
        (machine("pi", vec![own.clone(), fits(20_001)]), PortConflict::PortInUse),
        (machine("pi", vec![own.clone(), fits(15_001)]), PortConflict::PortReserved),
        (few(vec![fits(20_008)]), PortConflict::PortNotAllowed),
        (few(vec![own.clone(), fits(20_006)]), PortConflict::PortQuota),
    ] {
        let ground = ground(ports());
        let document = machines(vec![entry]);
        let now = store.snapshot().await.unwrap();
        let told = crate::declarative::prepare(document.clone(), &now, &ground).unwrap_err();
        let expected = Conflict::PortOf { tunnel: "pi → new".to_owned(), conflict: want };
        assert_eq!(told, Refused::Conflict(expected.clone()));
        let terms = Terms { ground, confirm_within: None };
        let refused = store.apply(document, &terms).await.unwrap();
        assert!(matches!(refused, Err(Refused::Conflict(conflict)) if conflict == expected));
        assert_eq!(exported(&*store).await, before);
    }
}
