//! Tunnels of a document: what it says is true once it is applied, and can be undone.

use pgw_core::ids::{TunnelClientId, TunnelId};
use pgw_core::tunnel::{PortSpan, Protocol};

use super::*;
use crate::declarative::snapshot::{KnownTunnel, KnownTunnelClient};
use crate::declarative::tunnel_plan::TunnelDeed;
use crate::declarative::tunnels::{Kept, LoginEntry, Named, TunnelClientEntry, TunnelEntry};
use crate::declarative::{prepare, undo};
use crate::store::{AllowedPort, NewLogin, Wish};
use crate::tunnels::wish;

/// As the store does it, and as strict as its indexes.
fn carry_out(now: &mut Snapshot, plan: &Plan) {
    for step in &plan.steps {
        if let Deed::Tunnels(TunnelDeed::Change(_, patch, _)) = &step.deed {
            let Subject::Tunnel(client, name) = &step.subject else { panic!("{:?}", step.subject) };
            let known = now.tunnel_clients.get_mut(client).unwrap().tunnels.get_mut(name).unwrap();
            if patch.public_port.is_some() || patch.protocol.is_some() {
                known.entry.public_port = None;
            }
            if patch.host.is_some() {
                known.entry.host = Some(known.id.to_string());
            }
        }
    }
    for step in &plan.steps {
        match (&step.subject, &step.deed) {
            (Subject::Tunnel(client, name), Deed::Tunnels(TunnelDeed::Remove(id))) => {
                let client = now.tunnel_clients.get_mut(client).unwrap();
                assert_eq!(client.tunnels.remove(name).unwrap().id, *id);
            }
            (Subject::TunnelClient(name), Deed::Tunnels(TunnelDeed::RemoveClient(id))) => {
                let gone = now.tunnel_clients.remove(name).unwrap();
                assert_eq!((gone.id, gone.tunnels.len()), (*id, 0));
            }
            (Subject::TunnelClient(name), Deed::Tunnels(TunnelDeed::ChangeClient(id, patch, _))) => {
                let known = now.tunnel_clients.get_mut(name).unwrap();
                assert_eq!(known.id, *id);
                set(&mut known.own.note, patch.note.clone());
                set(&mut known.own.enabled, patch.enabled);
                set(&mut known.own.max_tunnels, patch.max_tunnels);
                let words = |spans: Vec<PortSpan>| spans.into_iter().map(AllowedPort::from).collect();
                set(&mut known.own.allowed_ports, patch.allowed_ports.clone().map(words));
            }
            (Subject::TunnelClient(name), Deed::Tunnels(TunnelDeed::CreateClient(entry))) => {
                let fresh = || Kept {
                    id: TunnelClientId(Uuid::now_v7()),
                    token: crate::credentials::hashed(&Secret::new("t")),
                };
                let kept = entry.kept.clone().unwrap_or_else(fresh);
                let own = TunnelClientEntry { kept: Some(kept.clone()), ..entry.clone() };
                let known =
                    KnownTunnelClient { id: kept.id, own, tunnels: BTreeMap::new(), asked: Vec::new() };
                assert_eq!(now.tunnel_clients.insert(name.clone(), known), None);
            }
            (Subject::Tunnel(client, name), Deed::Tunnels(TunnelDeed::Change(id, patch, _))) => {
                let known = now.tunnel_clients.get_mut(client).unwrap().tunnels.get_mut(name).unwrap();
                assert_eq!(known.id, *id);
                let moves = patch.public_port.is_some() || patch.protocol.is_some();
                let mut is = known.entry.wish();
                wish::patch(&mut is, (**patch).clone());
                let named = Named {
                    name: name.clone(),
                    enabled: patch.enabled.unwrap_or(known.entry.enabled),
                    public_port: if moves { patch.public_port } else { known.entry.public_port }.unwrap_or(0),
                    verify: patch.verified.map(|verified| !verified).or(known.entry.verify),
                };
                known.entry = TunnelEntry::new(named, is);
            }
            (Subject::Tunnel(client, name), Deed::Tunnels(TunnelDeed::Create(entry))) => {
                let id = TunnelId(Uuid::now_v7());
                let verify = Some(entry.verify.unwrap_or(true));
                let known = KnownTunnel { id, entry: TunnelEntry { verify, ..(**entry).clone() } };
                let client = now.tunnel_clients.get_mut(client).unwrap();
                assert_eq!(client.tunnels.insert(name.clone(), known), None);
            }
            (subject, deed) => panic!("{subject:?} with {deed:?}"),
        }
        assert_unique(now);
    }
}

fn assert_unique(now: &Snapshot) {
    let all = || now.tunnel_clients.values().flat_map(|client| client.tunnels.values());
    for one in all() {
        for other in all().filter(|other| other.id != one.id) {
            let same_route = one.entry.route().is_some() && one.entry.route() == other.entry.route();
            let same_port =
                one.entry.public_port.is_some() && one.entry.public_port == other.entry.public_port;
            let overlaps = one.entry.protocol.overlaps(other.entry.protocol);
            let collide = same_route || (same_port && overlaps);
            assert!(!collide, "{one:?} and {other:?}");
        }
    }
}

prop_compose! {
    fn a_tunnel(name: String)(
        protocol in prop::sample::select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Both, Protocol::Http]),
        port in prop::option::of(10_000..10_004_u16),
        host in "[xyz]",
        verify in prop::option::of(any::<bool>()),
        enabled: bool,
        local_port in 1..3_u16,
        password in prop::option::of("[pq]"),
    ) -> TunnelEntry {
        let is_http = protocol == Protocol::Http;
        let login = |password| NewLogin { username: "bob".to_owned(), password: Some(Secret::new(password)) };
        let basic_auth = password.filter(|_| is_http).map(login).into_iter().collect();
        let host = if is_http { host } else { String::new() };
        let wish = Wish { protocol, host, local_port, basic_auth, ..blank() };
        let public_port = port.filter(|_| !is_http).unwrap_or(0);
        TunnelEntry::new(Named { name: name.clone(), enabled, public_port, verify }, wish)
    }
}

prop_compose! {
    fn a_machine(name: String)(
        note in "[mn]?",
        tunnels in prop::sample::subsequence(vec!["a", "b", "c"], 0..=3)
            .prop_flat_map(|names| names.into_iter().map(|name| a_tunnel(name.to_owned())).collect::<Vec<_>>()),
        max_tunnels in 2..4_u32,
    ) -> TunnelClientEntry {
        TunnelClientEntry {
            name: name.clone(), note, enabled: true, allowed_ports: vec![], max_tunnels,
            max_connections: 9, bandwidth: None, tunnels, kept: None,
        }
    }
}

fn machines() -> impl Strategy<Value = Document> {
    let names = prop::sample::subsequence(vec!["m", "n"], 0..=2).prop_shuffle();
    let some = names
        .prop_flat_map(|names| names.into_iter().map(|name| a_machine(name.to_owned())).collect::<Vec<_>>());
    some.prop_map(|tunnel_clients| Document {
        version: VERSION,
        proxies: None,
        clients: None,
        tunnel_clients: Some(tunnel_clients),
    })
}

/// The machine tells of what tunnels listen on as it does of others.
fn ground_at(now: &Snapshot) -> Ground {
    let all = || now.tunnel_clients.values().flat_map(|client| client.tunnels.values());
    let held = |has: fn(Protocol) -> bool| {
        let ports = all().filter(|known| has(known.entry.protocol));
        ports.filter_map(|known| known.entry.public_port).collect()
    };
    let range = PortRange::spanning(10_000, 10_005);
    let forwarders = PortRange::spanning(15_001, 15_999);
    Ground { range, forwarders, tcp: held(Protocol::has_tcp), udp: held(Protocol::has_udp) }
}

/// None: it cannot be, which is told.
fn applied(document: &Document, now: &Snapshot) -> Option<(Snapshot, Plan)> {
    let plan = prepare(document.clone(), now, &ground_at(now)).ok()?;
    let mut then = now.clone();
    carry_out(&mut then, &plan);
    Some((then, plan))
}

/// Everything that it says, and nothing besides, is so.
fn assert_true(document: &Document, now: &Snapshot) {
    let said = document.tunnel_clients.iter().flatten();
    let names: Vec<_> = said.clone().map(|entry| entry.name.clone()).collect();
    assert_eq!(names.len(), now.tunnel_clients.len());
    for entry in said {
        let known = &now.tunnel_clients[&entry.name];
        assert_eq!((&known.own.note, known.own.max_tunnels), (&entry.note, entry.max_tunnels));
        assert_eq!(known.tunnels.len(), entry.tunnels.len());
        for wanted in &entry.tunnels {
            let is = &known.tunnels[&wanted.name].entry;
            assert_eq!(is.public_port.is_some(), is.protocol != Protocol::Http);
            assert_eq!(is.host.is_some(), is.protocol == Protocol::Http);
            let public_port = wanted.public_port.or(is.public_port);
            let verify = wanted.verify.or(is.verify);
            assert_eq!(is, &TunnelEntry { public_port, verify, ..wanted.clone() });
        }
    }
}

proptest! {
    #[test]
    fn what_a_document_says_of_tunnels_is_true_then_and_said_again_changes_nothing(
        a in machines(), b in machines()
    ) {
        let Some((now, _)) = applied(&a, &Snapshot::default()) else { return Ok(()) };
        assert_true(&a, &now);
        let Some((now, _)) = applied(&b, &now) else { return Ok(()) };
        assert_true(&b, &now);
        for document in [b, now.export(true), now.export(false)] {
            let (_, plan) = applied(&Document { proxies: None, clients: None, ..document }, &now).unwrap();
            prop_assert!(plan.steps.is_empty(), "{:?}", plan.steps);
        }
    }

    #[test]
    fn what_was_done_to_tunnels_is_undone_whatever_others_did_elsewhere(
        a in machines(), b in machines(), c in a_machine("other".to_owned())
    ) {
        let Some((before, _)) = applied(&a, &Snapshot::default()) else { return Ok(()) };
        let Some((now, forth)) = applied(&b, &before) else { return Ok(()) };
        let kept = serde_json::to_string(&Wanted::before(&forth, &before)).unwrap();
        let kept: Wanted = serde_json::from_str(&kept).unwrap();
        let mut alone = now.clone();
        let back = undo(kept.clone(), &alone, &ground_at(&alone)).unwrap();
        carry_out(&mut alone, &back);
        prop_assert_eq!(alone.export(true), before.export(true));
        // Somebody makes one more, and it may have what they had.
        let mut document = now.export(true);
        document.tunnel_clients.get_or_insert_default().push(c);
        let document = Document { proxies: None, clients: None, ..document };
        let Some((mut now, _)) = applied(&document, &now) else { return Ok(()) };
        let others = now.tunnel_clients["other"].clone();
        let back = undo(kept, &now, &ground_at(&now)).unwrap();
        carry_out(&mut now, &back);
        prop_assert_eq!(&now.tunnel_clients["other"], &others);
    }
}

#[test]
fn a_password_of_a_website_is_kept_and_never_told() {
    let bob = |password| LoginEntry { username: "bob".to_owned(), password };
    let shop = |login| {
        let wish = Wish { protocol: Protocol::Http, host: "shop".to_owned(), ..blank() };
        let named = Named { name: "shop".to_owned(), enabled: true, public_port: 0, verify: None };
        TunnelEntry { basic_auth: vec![login], ..TunnelEntry::new(named, wish) }
    };
    let of = |tunnel| Document {
        tunnel_clients: Some(vec![TunnelClientEntry {
            name: "pi".to_owned(),
            note: String::new(),
            enabled: true,
            allowed_ports: vec![],
            max_tunnels: 1,
            max_connections: 1,
            bandwidth: None,
            tunnels: vec![tunnel],
            kept: None,
        }]),
        proxies: None,
        clients: None,
        version: VERSION,
    };
    let new = Wanted::of(of(shop(bob(Password::Untold))), &Snapshot::default()).unwrap_err();
    assert_eq!(new[0].pointer, "/tunnel_clients/0/tunnels/0/basic_auth");
    let (now, _) =
        applied(&of(shop(bob(Password::Is(Secret::new("hunter2"))))), &Snapshot::default()).unwrap();
    let (_, same) = applied(&of(shop(bob(Password::Untold))), &now).unwrap();
    assert!(same.steps.is_empty());
    let (_, other) = applied(&of(shop(bob(Password::Is(Secret::new("another"))))), &now).unwrap();
    let told = serde_json::to_string(&other.told()).unwrap();
    assert!(told.contains("basic_auth") && !told.contains("hunter2") && !told.contains("another"), "{told}");
}

fn blank() -> Wish {
    Wish {
        protocol: Protocol::Tcp,
        host: String::new(),
        path: String::new(),
        header: None,
        local_host: "127.0.0.1".to_owned(),
        local_port: 80,
        bandwidth: None,
        max_connections: None,
        max_per_visitor: None,
        requests_per_minute: None,
        visitor_allow: vec![],
        basic_auth: vec![],
        compression: false,
        proxy_protocol: false,
        udp_idle_s: 30,
    }
}
