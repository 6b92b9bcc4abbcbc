use pgw_core::state::MappingState;

use super::*;

fn presence() -> Presence {
    Presence { version: "1.2.3", ports: PortRange::spanning(15001, 15010), started_at: Timestamp::UNIX_EPOCH }
}

pub(crate) async fn a_gateway_shows_itself_with_what_it_has(store: Arc<dyn Store>) {
    assert_eq!(store.gateways().await.unwrap(), []);
    for _ in 0..2 {
        store.show_presence(&presence()).await.unwrap();
    }
    let proxies = [
        store.create_proxy(new_proxy("de")).await.unwrap(),
        store.create_proxy(new_proxy("nl")).await.unwrap(),
    ];
    let (one, first) = mapped(&*store, 1, &proxies[0]).await;
    let (_, failed) = mapped(&*store, 2, &proxies[0]).await;
    let (_, removed) = mapped(&*store, 3, &proxies[0]).await;
    store.create_mapping(between(&one, &proxies[1]), &ports()).await.unwrap();
    for (id, state) in [(first.id, MappingState::Applied), (failed.id, MappingState::Failed)] {
        store.record_verdict(id, &Verdict { state, reason: "so".into() }).await.unwrap();
    }
    store.remove_mapping(removed.id, None).await.unwrap();
    let gateways = store.gateways().await.unwrap();
    let [gateway] = gateways.as_slice() else { panic!("{gateways:?}") };
    assert_eq!((gateway.name.as_str(), gateway.version.as_str()), (store.gateway(), "1.2.3"));
    assert!(gateway.online && gateway.started_at == Timestamp::UNIX_EPOCH);
    let states = (gateway.applied, gateway.pending, gateway.failed);
    assert_eq!((gateway.clients, states, gateway.ports_free), (3, (1, 1, 1), 7), "a going port is not free");
    assert_eq!((one.gateway.as_str(), first.gateway.as_str()), (store.gateway(), store.gateway()));
}

pub(crate) async fn a_client_cannot_be_given_to_a_gateway_that_is_not_there(store: Arc<dyn Store>) {
    let elsewhere = NewClient { gateway: Some("nowhere".into()), ..new_client(1) };
    assert_eq!(conflict(store.create_client(elsewhere).await), Conflict::Missing("gateway"));
    let here = NewClient { gateway: Some(store.gateway().to_owned()), ..new_client(1) };
    assert_eq!(store.create_client(here).await.unwrap().gateway, store.gateway());
}
