//! Documents, applied and taken back, on a real database.

use std::time::Duration;

use pgw_core::exit::Expect;
use pgw_core::ids::ApplyId;

use super::*;
use crate::declarative::Refused;
use crate::declarative::document::{ClientEntry, Document, MappingEntry, Password, ProxyEntry, VERSION};
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
    Document { version: VERSION, proxies: Some(proxies), clients: Some(clients) }
}

async fn apply(store: &dyn Store, document: Document, confirm_within: Option<Duration>) -> Applied {
    let terms = Terms { ports: ports(), confirm_within };
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
        let terms = Terms { ports: ports(), confirm_within: None };
        let second = store.apply(before.clone(), &terms).await.unwrap();
        assert!(matches!(second, Err(Refused::Conflict(Conflict::ApplyPending { .. }))));
        if confirmed {
            assert_eq!(store.confirm_apply(record.id).await.unwrap().state, ApplyState::Confirmed);
        }
        let undone = store.roll_back(record.id, &ports()).await.unwrap();
        assert_eq!(undone.is_none(), confirmed);
        let is = store.snapshot().await.unwrap().export(true);
        assert_eq!(is, if confirmed { after.clone() } else { before.clone() }, "passwords included");
        assert!(store.roll_back(record.id, &ports()).await.unwrap().is_none(), "never twice");
    }
    not_found(store.confirm_apply(ApplyId(uuid::Uuid::now_v7())).await);
}

pub(crate) async fn a_thousand_devices_are_made_whole_in_one_piece_of_work(store: Arc<dyn Store>) {
    let names: Vec<String> = (0..1000).map(|n| format!("exit {n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ports = PortRange::spanning(15001, 16500);
    let clients = (0..1000).map(|n| entry(n, &[names[usize::from(n)]])).collect();
    let whole = document(&names, clients);
    let terms = Terms { ports: ports.clone(), confirm_within: None };
    let made = store.apply(whole.clone(), &terms).await.unwrap().unwrap();
    assert_eq!(made.plan.steps.len(), 3000);
    let now = store.snapshot().await.unwrap();
    let plan = crate::declarative::prepare(whole, &now, &ports).unwrap();
    assert_eq!((plan.steps.len(), plan.kept), (0, 3000));
}
