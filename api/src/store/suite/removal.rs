use super::*;

pub(crate) async fn a_thing_in_use_is_removed_only_with_cascade(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (one, mapping) = mapped(&*store, 1, &proxy).await;
    let (two, _) = mapped(&*store, 2, &proxy).await;
    let in_use = |what, mappings| Conflict::InUse { what, mappings };
    assert_eq!(conflict(store.remove_proxy(proxy.id, false, None).await), in_use("proxy", 2));
    assert_eq!(conflict(store.remove_client(one.id, false, None).await), in_use("client", 1));
    store.client(one.id).await.unwrap();
    store.mapping(mapping.id).await.unwrap();

    assert_eq!(clients(store.remove_proxy(proxy.id, true, None).await), [one.id, two.id]);
    not_found(store.proxy(proxy.id).await);
    not_found(store.upstream(proxy.id).await);
    not_found(store.mapping(mapping.id).await);
    not_found(store.remove_proxy(proxy.id, true, None).await);
    assert!(store.upstreams().await.unwrap().is_empty());
    store.remove_client(one.id, false, None).await.unwrap();
    not_found(store.client(one.id).await);
    not_found(store.remove_client(one.id, false, None).await);
    let all = ListQuery { limit: 10, ..ListQuery::default() };
    assert_eq!(store.clients(&all).await.unwrap().items.len(), 1);
    assert!(store.proxies(&all).await.unwrap().items.is_empty());
    assert!(store.mappings(&all).await.unwrap().items.is_empty());
}

pub(crate) async fn a_going_mapping_keeps_its_port_until_its_removal_is_finished(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (one, first) = mapped(&*store, 1, &proxy).await;
    let (_, second) = mapped(&*store, 2, &proxy).await;
    assert_eq!((first.port, second.port), (15001, 15002));

    assert_eq!(store.remove_mapping(first.id, None).await.unwrap().client, one.id);
    let plan = store.plan(one.id).await.unwrap().unwrap();
    assert!(!plan.going && plan.port == Some(15001) && plan.routes[0].going);
    assert_eq!(mapped(&*store, 3, &proxy).await.1.port, 15003, "15001 still has a forwarder");

    store.finish_removal(one.id, &[first.id]).await.unwrap();
    let plan = store.plan(one.id).await.unwrap().unwrap();
    assert!(plan.port.is_none() && plan.routes.is_empty());
    assert_eq!(mapped(&*store, 4, &proxy).await.1.port, 15001);
}

pub(crate) async fn a_name_and_an_address_can_be_used_again_at_once(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (old, mapping) = mapped(&*store, 3, &proxy).await;
    store.remove_mapping(mapping.id, None).await.unwrap();
    let again = store.create_mapping(between(&old, &proxy), &ports()).await.unwrap();
    assert_eq!(again.port, mapping.port);
    store.remove_client(old.id, true, None).await.unwrap();
    store.remove_proxy(proxy.id, true, None).await.unwrap();
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (new, fresh) = mapped(&*store, 3, &proxy).await;
    assert_ne!(new.id, old.id);
    assert_ne!(fresh.port, mapping.port, "the old device's forwarder may still be there");
}

pub(crate) async fn a_removal_that_is_finished_twice_or_for_others_touches_nothing_else(
    store: Arc<dyn Store>,
) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let other = store.create_proxy(new_proxy("de2")).await.unwrap();
    let (one, first) = mapped(&*store, 1, &proxy).await;
    let (two, second) = mapped(&*store, 2, &proxy).await;
    let backup = store.create_mapping(between(&one, &other), &ports()).await.unwrap();
    store.remove_mapping(first.id, None).await.unwrap();
    for _ in 0..2 {
        // Not going, somebody else's, and going: only the last of them may go.
        store.finish_removal(one.id, &[backup.id, second.id, first.id]).await.unwrap();
    }
    assert_eq!(store.mapping(backup.id).await.unwrap().port, 15001, "the last mapping keeps the port");
    store.mapping(second.id).await.unwrap();
    store.client(one.id).await.unwrap();
    assert_eq!(store.plan(two.id).await.unwrap().unwrap().routes.len(), 1);
    assert_eq!(store.plan(one.id).await.unwrap().unwrap().routes.len(), 1);
}

pub(crate) async fn a_proxy_goes_when_its_last_client_is_done(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (one, first) = mapped(&*store, 1, &proxy).await;
    let (two, second) = mapped(&*store, 2, &proxy).await;
    store.remove_proxy(proxy.id, true, None).await.unwrap();
    store.remove_client(one.id, false, None).await.unwrap();
    store.finish_removal(one.id, &[first.id]).await.unwrap();
    assert!(store.plan(one.id).await.unwrap().is_none());
    assert_eq!(clients(store.clients_of_proxy(proxy.id).await), [two.id]);
    let plan = store.plan(two.id).await.unwrap().unwrap();
    assert_eq!(plan.routes[0].proxy.upstream.name, "de1", "what is going can still be read");
    store.finish_removal(two.id, &[second.id]).await.unwrap();
    assert!(store.clients_of_proxy(proxy.id).await.unwrap().is_empty());
    store.client(two.id).await.unwrap();
}

pub(crate) async fn plans_are_in_failover_order_and_hold_what_is_going(store: Arc<dyn Store>) {
    let mut proxies = Vec::new();
    for name in ["late", "early", "equal", "going"] {
        proxies.push(store.create_proxy(new_proxy(name)).await.unwrap());
    }
    let client = store.create_client(new_client(1)).await.unwrap();
    let mut mappings = Vec::new();
    for (proxy, priority) in proxies.iter().zip([20, 5, 20, 1]) {
        let new = NewMapping { priority, ..between(&client, proxy) };
        mappings.push(store.create_mapping(new, &ports()).await.unwrap());
    }
    let unmapped = store.create_client(new_client(2)).await.unwrap();
    store.remove_mapping(mappings[3].id, None).await.unwrap();
    store.remove_client(unmapped.id, false, None).await.unwrap();

    let plans = store.plans().await.unwrap();
    assert_eq!(plans.len(), 2);
    let names: Vec<(&str, bool)> =
        plans[0].routes.iter().map(|route| (route.proxy.upstream.name.as_str(), route.going)).collect();
    assert_eq!(names, [("going", true), ("early", false), ("late", false), ("equal", false)]);
    assert!(plans[1].going && plans[1].port.is_none() && plans[1].routes.is_empty());
    let one = store.plan(client.id).await.unwrap().unwrap();
    assert_eq!(format!("{one:?}"), format!("{:?}", plans[0]), "both ways of asking agree");
    store.finish_removal(unmapped.id, &[]).await.unwrap();
    assert!(store.plan(unmapped.id).await.unwrap().is_none());
}
