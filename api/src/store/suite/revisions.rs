use pgw_core::health::HealthStatus;
use pgw_core::state::MappingState;

use super::*;

pub(crate) async fn each_change_by_an_operator_is_another_revision_and_nothing_else_is(
    store: Arc<dyn Store>,
) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (client, mapping) = mapped(&*store, 1, &proxy).await;
    assert_eq!((proxy.revision, client.revision, mapping.revision), (1, 1, 1));
    let found = store.upstream(proxy.id).await.unwrap();
    let healthy = Health { status: HealthStatus::Ok, ..Health::default() };
    store.record_health(&[found.found(healthy)]).await.unwrap();
    let verdict = Verdict { state: MappingState::Applied, reason: "open".into() };
    store.record_verdict(mapping.id, &verdict).await.unwrap();
    let moved = ClientPatch { ip_cidr: Some("192.168.2.77".parse().unwrap()), ..ClientPatch::default() };
    assert_eq!(store.update_client(client.id, moved).await.unwrap().revision, 2);
    assert_eq!(store.proxy(proxy.id).await.unwrap().revision, 1, "health is no change by an operator");
    assert_eq!(store.mapping(mapping.id).await.unwrap().revision, 1, "and neither is a state");
    for revision in 2..4 {
        let patch = ProxyPatch { note: Some(revision.to_string()), ..ProxyPatch::default() };
        assert_eq!(store.update_proxy(proxy.id, patch).await.unwrap().revision, revision);
        let patch = MappingPatch { priority: u16::try_from(revision).ok(), ..MappingPatch::default() };
        assert_eq!(store.update_mapping(mapping.id, patch).await.unwrap().revision, revision);
    }
}

pub(crate) async fn a_change_that_changes_nothing_is_no_revision_and_no_event(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (client, mapping) = mapped(&*store, 1, &proxy).await;
    let new = NewUser { name: "ann".into(), role: Role::Admin, password: Secret::new("a hash") };
    let user = store.create_user(new.clone()).await.unwrap();
    let found = store.upstream(proxy.id).await.unwrap();
    let healthy = Health { status: HealthStatus::Ok, ..Health::default() };
    store.record_health(&[found.found(healthy)]).await.unwrap();
    let verdict = Verdict { state: MappingState::Applied, reason: "open".into() };
    store.record_verdict(mapping.id, &verdict).await.unwrap();
    let (proxy, mapping) = (store.proxy(proxy.id).await.unwrap(), store.mapping(mapping.id).await.unwrap());
    let log = store.log_ends().await.unwrap().latest;

    let same = ProxyPatch {
        name: Some(proxy.name.clone()),
        scheme: Some(proxy.scheme),
        host: Some(proxy.host.clone()),
        port: Some(proxy.port),
        username: Some(proxy.username.clone()),
        password: Some(found.upstream.credentials.map(|both| both.password)),
        enabled: Some(proxy.enabled),
        note: Some(proxy.note.clone()),
        labels: Some(proxy.labels.clone()),
        if_revision: None,
    };
    for patch in [ProxyPatch::default(), same] {
        assert_eq!(store.update_proxy(proxy.id, patch).await.unwrap(), proxy);
    }
    let same = ClientPatch {
        name: Some(client.name.clone()),
        ip_cidr: Some(client.ip_cidr),
        mac: Some(client.mac),
        note: Some(client.note.clone()),
        if_revision: None,
    };
    for patch in [ClientPatch::default(), same] {
        assert_eq!(store.update_client(client.id, patch).await.unwrap(), client);
    }
    let same = MappingPatch {
        proxy_id: Some(mapping.proxy_id),
        priority: Some(mapping.priority),
        target: Some(mapping.target),
        enabled: Some(mapping.enabled),
        expect: Some(mapping.expect),
        exclusive: Some(mapping.exclusive),
        accept_exit: true,
        if_revision: None,
    };
    for patch in [MappingPatch::default(), same] {
        assert_eq!(store.update_mapping(mapping.id, patch).await.unwrap(), mapping);
    }
    let same = UserPatch {
        name: Some(new.name),
        role: Some(new.role),
        password: Some(new.password),
        if_revision: None,
    };
    for patch in [UserPatch::default(), same] {
        assert_eq!(store.update_user(user.id, patch).await.unwrap(), user);
    }
    assert_eq!(store.log_ends().await.unwrap().latest, log);
}

pub(crate) async fn a_change_that_was_meant_for_another_revision_is_refused_and_changes_nothing(
    store: Arc<dyn Store>,
) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (client, mapping) = mapped(&*store, 1, &proxy).await;
    let (proxy_patch, client_patch, mapping_patch) =
        (ProxyPatch::default(), ClientPatch::default(), MappingPatch::default());
    for seen in [0, 2] {
        let if_revision = Some(seen);
        for refused in [
            store.update_proxy(proxy.id, ProxyPatch { if_revision, ..proxy_patch.clone() }).await.map(drop),
            store.remove_proxy(proxy.id, true, if_revision).await.map(drop),
            store
                .update_client(client.id, ClientPatch { if_revision, ..client_patch.clone() })
                .await
                .map(drop),
            store.remove_client(client.id, true, if_revision).await.map(drop),
            store
                .update_mapping(mapping.id, MappingPatch { if_revision, ..mapping_patch.clone() })
                .await
                .map(drop),
            store.remove_mapping(mapping.id, if_revision).await.map(drop),
        ] {
            assert!(matches!(refused, Err(StoreError::Stale { revision: 1 })), "{refused:?}");
        }
    }
    assert_eq!(store.proxy(proxy.id).await.unwrap(), proxy);
    assert_eq!(store.client(client.id).await.unwrap(), client);
    assert_eq!(store.mapping(mapping.id).await.unwrap(), mapping);
    let seen = Some(1);
    store.update_mapping(mapping.id, MappingPatch { if_revision: seen, ..mapping_patch }).await.unwrap();
    store.remove_client(client.id, true, seen).await.unwrap();
    store.remove_proxy(proxy.id, true, seen).await.unwrap();
}
