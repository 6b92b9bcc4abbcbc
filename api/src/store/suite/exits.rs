//! Who leaves by which address, and what is expected of it.

use std::net::IpAddr;

use pgw_core::health::{Health, HealthStatus};
use pgw_core::state::MappingState;

use super::*;

fn ip(last: u8) -> IpAddr {
    [203, 0, 113, last].into()
}

async fn exclusive(store: &dyn Store, mapping: &Mapping, exclusive: bool) {
    let patch = MappingPatch { exclusive: Some(exclusive), ..MappingPatch::default() };
    store.update_mapping(mapping.id, patch).await.unwrap();
}

/// Who is in the way, if anybody.
async fn takes(store: &dyn Store, mapping: &Mapping, last: u8) -> Option<String> {
    let refused = store.hold_exits(mapping.client_id, &[(mapping.id, ip(last))]).await.unwrap();
    refused.into_iter().map(|(_, holder)| holder.words(store.gateway())).next()
}

/// What the plan says that it holds, and who has held it for longer.
async fn holds(store: &dyn Store, mapping: &Mapping) -> Option<(IpAddr, Option<String>)> {
    let plan = store.plan(mapping.client_id).await.unwrap().unwrap();
    let route = plan.routes.into_iter().find(|route| route.mapping.id == mapping.id).unwrap();
    let all = store.plans().await.unwrap();
    let routes = all.iter().flat_map(|plan| &plan.routes);
    let same = routes.into_iter().find(|other| other.mapping.id == mapping.id).unwrap();
    assert_eq!(same.hold, route.hold, "one plan and all plans say the same");
    route.hold.map(|hold| (hold.exit_ip, hold.rival.map(|rival| rival.client)))
}

pub(crate) async fn an_address_that_is_not_to_be_shared_has_one_holder(store: Arc<dyn Store>) {
    let store = &*store;
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (_, one) = mapped(store, 1, &proxy).await;
    let (_, two) = mapped(store, 2, &proxy).await;
    let (_, three) = mapped(store, 3, &proxy).await;
    assert_eq!((takes(store, &one, 9).await, takes(store, &two, 9).await), (None, None), "they share it");
    exclusive(store, &three, true).await;
    assert_eq!(takes(store, &three, 9).await.as_deref(), Some("phone 1 (192.168.2.1)"));
    assert_eq!(takes(store, &three, 8).await, None);
    assert_eq!(takes(store, &one, 8).await.as_deref(), Some("phone 3 (192.168.2.3)"));
    assert_eq!(
        holds(store, &one).await,
        Some((ip(9), None)),
        "who may not go on to another keeps what it had"
    );

    // Whoever does not share any more gives way to who was there before, and those after to him.
    exclusive(store, &two, true).await;
    assert_eq!(holds(store, &one).await, Some((ip(9), None)));
    assert_eq!(holds(store, &two).await, Some((ip(9), Some("phone 1".into()))));
    let sharers = store.sharers_of_exit(two.id).await;
    assert_eq!(clients(sharers), [one.client_id]);
    exclusive(store, &two, false).await;
    exclusive(store, &one, true).await;
    assert_eq!(holds(store, &two).await, Some((ip(9), Some("phone 1".into()))));

    // It is given back with the word that it is closed, and not before.
    let say = async |mapping: &Mapping, state| {
        store.record_verdict(mapping.id, &Verdict { state, reason: "so".into() }).await.unwrap();
    };
    say(&one, MappingState::Pending).await;
    assert!(holds(store, &one).await.is_some());
    say(&one, MappingState::Failed).await;
    assert_eq!(holds(store, &one).await, None);
    assert_eq!(holds(store, &two).await, Some((ip(9), None)));
    assert_eq!(takes(store, &one, 9).await.as_deref(), Some("phone 2 (192.168.2.2)"));
    store.remove_mapping(three.id, None).await.unwrap();
    assert_eq!(
        takes(store, &one, 8).await.as_deref(),
        Some("phone 3 (192.168.2.3)"),
        "it is going, not gone"
    );
    store.finish_removal(three.client_id, &[three.id]).await.unwrap();
    assert_eq!(takes(store, &one, 8).await, None);
}

pub(crate) async fn of_many_who_want_an_address_for_themselves_one_gets_it(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let mut taking = Vec::new();
    for last in 1..=8 {
        let (_, mapping) = mapped(&*store, last, &proxy).await;
        exclusive(&*store, &mapping, true).await;
        let store = store.clone();
        taking.push(tokio::spawn(async move { takes(&*store, &mapping, 9).await }));
    }
    let mut got = 0;
    for taken in taking {
        got += usize::from(taken.await.unwrap().is_none());
    }
    assert_eq!(got, 1);
}

pub(crate) async fn what_is_expected_is_kept_and_the_address_with_which_it_opened_until_it_is_accepted(
    store: Arc<dyn Store>,
) {
    let store = &*store;
    let (de, fr) = (
        store.create_proxy(new_proxy("de1")).await.unwrap(),
        store.create_proxy(new_proxy("fr1")).await.unwrap(),
    );
    let client = store.create_client(new_client(1)).await.unwrap();
    let (exit_ip, country) = ("203.0.113.0/24".parse().ok(), "NL".parse().ok());
    let expect = Expect { exit_ip, country, stable: true };
    let new = NewMapping { expect, exclusive: true, ..between(&client, &de) };
    let made = store.create_mapping(new, &ports()).await.unwrap();
    assert_eq!((made.expect, made.exclusive, made.stable_exit_ip), (expect, true, None));
    let keep = MappingPatch::default;
    for (what, patch, stays) in [
        ("nothing of it", MappingPatch { priority: Some(7), ..keep() }, true),
        (
            "another country",
            MappingPatch { expect: Some(Expect { country: None, ..expect }), ..keep() },
            true,
        ),
        ("the same, switched on", MappingPatch { enabled: Some(true), ..keep() }, true),
        ("accepted", MappingPatch { accept_exit: true, ..keep() }, false),
        ("another proxy", MappingPatch { proxy_id: Some(fr.id), ..keep() }, false),
        ("not to stay any more", MappingPatch { expect: Some(Expect::default()), ..keep() }, false),
        ("to stay again", MappingPatch { expect: Some(expect), ..keep() }, true),
        ("switched off", MappingPatch { enabled: Some(false), ..keep() }, true),
        ("switched on", MappingPatch { enabled: Some(true), ..keep() }, false),
    ] {
        store.keep_exit(made.id, ip(9)).await.unwrap();
        store.keep_exit(made.id, ip(8)).await.unwrap();
        let stable = store.mapping(made.id).await.unwrap().expect.stable;
        let now = store.update_mapping(made.id, patch).await.unwrap();
        let want = (stays && stable).then_some(ip(9));
        assert_eq!(now.stable_exit_ip, want, "{what}: the first counts, until somebody accepts another");
    }
}

pub(crate) async fn an_exit_is_told_with_its_country_and_with_whose_it_is(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("nl1")).await.unwrap();
    let dial = store.upstream(proxy.id).await.unwrap();
    let (exit_ip, country) = (Some("203.0.113.9".to_owned()), "NL".parse().ok());
    let health = Health { status: HealthStatus::Ok, exit_ip, country, ..Health::default() };
    store.record_health(&[dial.found(health.clone())]).await.unwrap();
    assert_eq!(store.proxy(proxy.id).await.unwrap().health, health);
    let (_, mapping) = mapped(&*store, 3, &proxy).await;
    let applied = Verdict { state: MappingState::Applied, reason: "open".into() };
    store.record_verdict(mapping.id, &applied).await.unwrap();
    let events = store.events_after(0, 1_000).await.unwrap();
    let exit = events.iter().rfind(|event| event.kind == crate::events::Kind::ClientExit).unwrap();
    for (field, want) in
        [("client", "phone 3"), ("ip", "192.168.2.3"), ("exit_ip", "203.0.113.9"), ("country", "NL")]
    {
        assert_eq!(exit.data[field], want, "{field}");
    }
}
