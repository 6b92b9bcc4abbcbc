use pgw_core::health::HealthStatus;
use pgw_core::state::MappingState::{self, Applied, Failed, Pending};

use super::*;

async fn judged(store: &dyn Store, id: MappingId, state: MappingState, reason: &str) -> Mapping {
    store.record_verdict(id, &Verdict { state, reason: reason.to_owned() }).await.unwrap();
    store.mapping(id).await.unwrap()
}

pub(crate) async fn applied_at_is_there_exactly_while_a_mapping_is_applied(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (_, mapping) = mapped(&*store, 3, &proxy).await;
    let opened = judged(&*store, mapping.id, Applied, "open through de1").await;
    assert!(opened.state == Applied && opened.applied_at.is_some());
    assert_eq!(opened.updated_at, mapping.updated_at, "only an operator updates");
    let slower = judged(&*store, mapping.id, Applied, "open through de1, which is slow").await;
    assert_eq!((slower.applied_at, slower.reason.ends_with("slow")), (opened.applied_at, true));
    for closed in [Failed, Pending] {
        let mapping = judged(&*store, mapping.id, closed, "because").await;
        assert_eq!((mapping.state, mapping.applied_at, mapping.reason.as_str()), (closed, None, "because"));
    }
    store.remove_mapping(mapping.id, None).await.unwrap();
    let late = Verdict { state: Applied, reason: "a verdict that comes late".into() };
    store.record_verdict(mapping.id, &late).await.unwrap();
}

pub(crate) async fn a_new_way_out_is_pending_again_and_one_switched_off_is_not_called_closed_before_it_is(
    store: Arc<dyn Store>,
) {
    let de = store.create_proxy(new_proxy("de")).await.unwrap();
    let nl = store.create_proxy(new_proxy("nl")).await.unwrap();
    let (client, mapping) = mapped(&*store, 3, &de).await;
    let keep = MappingPatch::default;
    for (what, patch, want) in [
        ("another priority", MappingPatch { priority: Some(1), ..keep() }, Applied),
        ("the same proxy", MappingPatch { proxy_id: Some(de.id), enabled: Some(true), ..keep() }, Applied),
        ("another proxy", MappingPatch { proxy_id: Some(nl.id), ..keep() }, Pending),
        ("switched off", MappingPatch { enabled: Some(false), ..keep() }, Applied),
        ("switched on", MappingPatch { enabled: Some(true), ..keep() }, Pending),
    ] {
        judged(&*store, mapping.id, Applied, "open").await;
        let patched = store.update_mapping(mapping.id, patch).await.unwrap();
        assert_eq!((patched.state, patched.applied_at.is_some()), (want, want == Applied), "{what}");
    }
    judged(&*store, mapping.id, Applied, "open").await;
    let rename =
        ClientPatch { name: Some("tv".into()), ip_cidr: Some(client.ip_cidr), ..ClientPatch::default() };
    store.update_client(client.id, rename).await.unwrap();
    assert_eq!(store.mapping(mapping.id).await.unwrap().state, Applied);
    let moved = ClientPatch { ip_cidr: Some("192.168.2.77".parse().unwrap()), ..ClientPatch::default() };
    store.update_client(client.id, moved).await.unwrap();
    assert_eq!(store.mapping(mapping.id).await.unwrap().state, Pending);
}

pub(crate) async fn health_is_remembered(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let health = Health {
        status: HealthStatus::Degraded,
        latency_ms: Some(1700),
        exit_ip: Some("203.0.113.9".into()),
        country: "NL".parse().ok(),
        checked_at: Some("2026-11-20T10:00:00.123Z".parse().unwrap()),
        error: Some("it did not answer in time".into()),
    };
    let found = store.upstream(proxy.id).await.unwrap().found(health.clone());
    store.record_health(std::slice::from_ref(&found)).await.unwrap();
    assert_eq!(store.proxy(proxy.id).await.unwrap().health, health);
    assert_eq!(store.upstream(proxy.id).await.unwrap().health, health);
    store.remove_proxy(proxy.id, false, None).await.unwrap();
    store.record_health(&[found]).await.unwrap();
}

pub(crate) async fn what_was_found_of_a_former_way_of_dialling_is_not_written_down(store: Arc<dyn Store>) {
    let (moved, other) = (store.create_proxy(new_proxy("de1")).await.unwrap(), new_proxy("de2"));
    let other = store.create_proxy(other).await.unwrap();
    let good = Health { status: HealthStatus::Ok, ..Health::default() };
    let found = async |proxy: &Proxy| store.upstream(proxy.id).await.unwrap().found(good.clone());
    let both = [found(&moved).await, found(&other).await];
    let patch = ProxyPatch { port: Some(1081), ..ProxyPatch::default() };
    store.update_proxy(moved.id, patch).await.unwrap();
    store.record_health(&both).await.unwrap();
    assert_eq!(store.proxy(moved.id).await.unwrap().health, Health::default());
    assert_eq!(store.proxy(other.id).await.unwrap().health, good, "the others are");
    store.record_health(&[found(&moved).await]).await.unwrap();
    assert_eq!(store.proxy(moved.id).await.unwrap().health, good);

    // Switched off and on again, it is a new thing too: nobody looked meanwhile.
    let before = found(&moved).await;
    for enabled in [false, true] {
        let patch = ProxyPatch { enabled: Some(enabled), ..ProxyPatch::default() };
        store.update_proxy(moved.id, patch).await.unwrap();
    }
    store.record_health(&[before]).await.unwrap();
    assert_eq!(store.proxy(moved.id).await.unwrap().health, Health::default());
}
