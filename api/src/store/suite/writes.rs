use pgw_core::health::HealthStatus;
use pgw_core::mac::Mac;
use pgw_core::state::{MappingState, Verdict};
use uuid::Uuid;

use super::*;

pub(crate) async fn what_is_written_is_read_back(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    assert_eq!(store.proxy(proxy.id).await.unwrap(), proxy);
    assert_eq!(
        (
            proxy.name.as_str(),
            proxy.scheme,
            proxy.host.as_str(),
            proxy.port,
            proxy.has_password,
            proxy.enabled
        ),
        ("de1", Scheme::Socks5, "proxy.example", 1080, true, true)
    );
    assert_eq!(proxy.labels["country"], "de");
    let patch = ProxyPatch { note: Some("other".into()), enabled: Some(false), ..ProxyPatch::default() };
    let patched = store.update_proxy(proxy.id, patch).await.unwrap();
    assert_eq!((patched.note.as_str(), patched.enabled, &patched.name), ("other", false, &proxy.name));
    assert_eq!(store.proxy(proxy.id).await.unwrap(), patched);

    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    assert_eq!(store.client(client.id).await.unwrap(), client);
    assert_eq!(client.ip_cidr.to_string(), "192.168.2.3/32");
    assert_eq!(store.mapping(mapping.id).await.unwrap(), mapping);
    assert_eq!((mapping.port, mapping.state, mapping.applied_at), (15001, MappingState::Pending, None));
    let patch = ClientPatch { name: Some("tv".into()), ..ClientPatch::default() };
    assert_eq!(store.update_client(client.id, patch).await.unwrap().name, "tv");
    let mac: Mac = "02:00:5e:10:00:03".parse().unwrap();
    let renamed = || ClientPatch { name: Some("tv".into()), ..ClientPatch::default() };
    for (mac, kept) in [(Some(Some(mac)), Some(mac)), (None, Some(mac)), (Some(None), None)] {
        store.update_client(client.id, ClientPatch { mac, ..renamed() }).await.unwrap();
        assert_eq!(store.client(client.id).await.unwrap().mac, kept);
    }
    for last in [5, 6] {
        let alias = store.create_client(NewClient { mac: Some(mac), ..new_client(last) }).await.unwrap();
        assert_eq!(alias.mac, Some(mac), "one device may have several addresses");
    }
    let patch = MappingPatch { priority: Some(7), target: Some(Target::Hostname), ..MappingPatch::default() };
    let patched = store.update_mapping(mapping.id, patch).await.unwrap();
    assert_eq!((patched.priority, patched.target, patched.reason), (7, Target::Hostname, mapping.reason));

    not_found(store.proxy(ProxyId(Uuid::nil())).await);
    not_found(store.update_client(ClientId(Uuid::nil()), ClientPatch::default()).await);
    not_found(store.remove_mapping(MappingId(Uuid::nil()), None).await);
    not_found(store.revoke_token(TokenId(Uuid::nil())).await);
    assert!(store.plan(ClientId(Uuid::nil())).await.unwrap().is_none());
    store.ping().await.unwrap();
}

pub(crate) async fn names_addresses_and_pairs_are_unique_among_what_is_there(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let other = store.create_proxy(new_proxy("de2")).await.unwrap();
    assert_eq!(conflict(store.create_proxy(new_proxy("de1")).await), Conflict::NameTaken("proxy"));
    let patch = ProxyPatch { name: Some("de1".into()), ..ProxyPatch::default() };
    assert_eq!(conflict(store.update_proxy(other.id, patch).await), Conflict::NameTaken("proxy"));
    assert_eq!(store.proxy(other.id).await.unwrap(), other, "a refused change changes nothing");

    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    let same_name = NewClient { ip_cidr: "192.168.2.9".parse().unwrap(), ..new_client(3) };
    store.create_client(same_name).await.expect("two devices may have one name");
    let same_address = NewClient { name: "tv".into(), ..new_client(3) };
    assert_eq!(conflict(store.create_client(same_address).await), Conflict::AddressTaken);
    let moved = store.create_client(new_client(4)).await.unwrap();
    let patch = ClientPatch { ip_cidr: Some(client.ip_cidr), ..ClientPatch::default() };
    assert_eq!(conflict(store.update_client(moved.id, patch).await), Conflict::AddressTaken);

    assert_eq!(conflict(store.create_mapping(between(&client, &proxy), &ports()).await), Conflict::PairTaken);
    let second = store.create_mapping(between(&client, &other), &ports()).await.unwrap();
    assert_eq!(second.port, mapping.port, "one client, one port");
    let patch = MappingPatch { proxy_id: Some(proxy.id), ..MappingPatch::default() };
    assert_eq!(conflict(store.update_mapping(second.id, patch).await), Conflict::PairTaken);
}

pub(crate) async fn a_password_is_kept_for_dialling_and_never_without_a_user_name(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let credentials = |dial: ProxyDial| {
        dial.upstream.credentials.map(|both| (both.username, both.password.expose().to_owned()))
    };
    let want = Some(("bob".to_owned(), "hunter2".to_owned()));
    assert_eq!(credentials(store.upstream(proxy.id).await.unwrap()), want);
    assert_eq!(credentials(store.upstreams().await.unwrap().remove(0)), want);

    let alone = NewProxy { username: None, ..new_proxy("de2") };
    assert_eq!(conflict(store.create_proxy(alone).await), Conflict::PasswordAlone);
    let clear_user = ProxyPatch { username: Some(None), ..ProxyPatch::default() };
    assert_eq!(conflict(store.update_proxy(proxy.id, clear_user.clone()).await), Conflict::PasswordAlone);
    assert_eq!(credentials(store.upstream(proxy.id).await.unwrap()), want);

    let clear_both = ProxyPatch { password: Some(None), ..clear_user };
    assert!(!store.update_proxy(proxy.id, clear_both).await.unwrap().has_password);
    assert_eq!(credentials(store.upstream(proxy.id).await.unwrap()), None);
    let only_password = ProxyPatch { password: Some(Some(Secret::new("x"))), ..ProxyPatch::default() };
    assert_eq!(conflict(store.update_proxy(proxy.id, only_password).await), Conflict::PasswordAlone);
    let user = ProxyPatch { username: Some(Some("eve".into())), ..ProxyPatch::default() };
    store.update_proxy(proxy.id, user).await.unwrap();
    let want = Some(("eve".to_owned(), String::new()));
    assert_eq!(credentials(store.upstream(proxy.id).await.unwrap()), want);
}

pub(crate) async fn health_is_forgotten_when_a_proxy_is_dialled_in_another_way_only(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let good = Health { status: HealthStatus::Ok, latency_ms: Some(20), ..Health::default() };
    let same_way = ProxyPatch {
        name: Some("de9".into()),
        scheme: Some(proxy.scheme),
        host: Some(proxy.host.clone()),
        port: Some(proxy.port),
        username: Some(proxy.username.clone()),
        password: Some(Some(Secret::new("hunter2"))),
        enabled: Some(false),
        note: Some("new".into()),
        labels: Some(BTreeMap::new()),
        if_revision: None,
    };
    let other = ProxyPatch::default;
    for (what, patch, kept) in [
        ("the same again, and what is not dialled", same_way, true),
        ("scheme", ProxyPatch { scheme: Some(Scheme::Http), ..other() }, false),
        ("host", ProxyPatch { host: Some("other.example".parse().unwrap()), ..other() }, false),
        ("port", ProxyPatch { port: Some(1081), ..other() }, false),
        ("user name", ProxyPatch { username: Some(Some("eve".into())), ..other() }, false),
        ("password", ProxyPatch { password: Some(Some(Secret::new("other"))), ..other() }, false),
        ("no password", ProxyPatch { password: Some(None), ..other() }, false),
    ] {
        let found = store.upstream(proxy.id).await.unwrap().found(good.clone());
        store.record_health(&[found]).await.unwrap();
        let health = store.update_proxy(proxy.id, patch).await.unwrap().health;
        assert_eq!(health, if kept { good.clone() } else { Health::default() }, "{what}");
    }
}

pub(crate) async fn a_mapping_needs_a_client_and_a_proxy_that_are_there(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let going_proxy = store.create_proxy(new_proxy("de2")).await.unwrap();
    let (client, mapping) = mapped(&*store, 3, &going_proxy).await;
    store.remove_proxy(going_proxy.id, true, None).await.unwrap();
    not_found(store.mapping(mapping.id).await);
    let gone = between(&client, &going_proxy);
    assert_eq!(conflict(store.create_mapping(gone, &ports()).await), Conflict::Missing("proxy"));
    let mapping = store.create_mapping(between(&client, &proxy), &ports()).await.unwrap();
    let patch = MappingPatch { proxy_id: Some(going_proxy.id), ..MappingPatch::default() };
    assert_eq!(conflict(store.update_mapping(mapping.id, patch).await), Conflict::Missing("proxy"));
    store.remove_client(client.id, true, None).await.unwrap();
    assert_eq!(
        conflict(store.create_mapping(between(&client, &proxy), &ports()).await),
        Conflict::Missing("client")
    );
}

pub(crate) async fn tokens_are_found_by_hash_until_they_are_revoked(store: Arc<dyn Store>) {
    let new = |name: &str, byte| NewToken { name: name.into(), role: Role::Viewer, hash: [byte; 32] };
    let token = store.create_token(new("grafana", 1)).await.unwrap();
    assert_eq!(conflict(store.create_token(new("grafana", 2)).await), Conflict::NameTaken("token"));
    let found = store.token_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((found.id, found.name.as_str(), found.role), (token.id, "grafana", Role::Viewer));
    assert!(store.token_by_hash(&[2; 32]).await.unwrap().is_none());
    store.revoke_token(token.id).await.unwrap();
    let listed = ListQuery { limit: 10, ..ListQuery::default() };
    let revoked_at = store.tokens(&listed).await.unwrap().items[0].revoked_at;
    store.revoke_token(token.id).await.unwrap();
    assert!(revoked_at.is_some() && store.tokens(&listed).await.unwrap().items[0].revoked_at == revoked_at);
    assert!(store.token_was_made("grafana").await.unwrap() && !store.token_was_made("graf").await.unwrap());
    assert!(store.token_by_hash(&[1; 32]).await.unwrap().is_none());
    store.create_token(new("grafana", 3)).await.unwrap();
}

pub(crate) async fn a_port_outside_of_a_changed_range_is_given_up_for_one_inside(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (one, moved) = mapped(&*store, 1, &proxy).await;
    let (two, stays) = mapped(&*store, 2, &proxy).await;
    for id in [moved.id, stays.id] {
        let open = Verdict { state: MappingState::Applied, reason: "open through de1".into() };
        store.record_verdict(id, &open).await.unwrap();
    }
    store.keep_ports_within(&PortRange::spanning(15002, 15003)).await.unwrap();
    let port = async |id| store.plan(id).await.unwrap().unwrap().port;
    assert_eq!((port(one.id).await, port(two.id).await), (Some(15003), Some(15002)));
    let (moved, stays) = (store.mapping(moved.id).await.unwrap(), store.mapping(stays.id).await.unwrap());
    assert_eq!(
        (moved.state, moved.applied_at),
        (MappingState::Pending, None),
        "nobody serves its new port yet"
    );
    assert!(moved.reason.contains("15001") && moved.reason.contains("15003"), "{}", moved.reason);
    assert!(stays.state == MappingState::Applied && stays.applied_at.is_some());
    let down = Verdict { state: MappingState::Failed, reason: "proxy de1 is down".into() };
    store.record_verdict(moved.id, &down).await.unwrap();
    store.keep_ports_within(&PortRange::spanning(15004, 15005)).await.unwrap();
    assert_eq!(store.mapping(moved.id).await.unwrap().state, MappingState::Failed);

    let too_narrow = store.keep_ports_within(&PortRange::spanning(16000, 16000)).await;
    assert!(matches!(conflict(too_narrow), Conflict::PortsExhausted { .. }));
    assert_eq!((port(one.id).await, port(two.id).await), (Some(15005), Some(15004)), "all or nobody");
}
