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
        let patch = MappingPatch { priority: Some(7), ..MappingPatch::default() };
        assert_eq!(store.update_mapping(mapping.id, patch).await.unwrap().revision, revision);
    }
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
