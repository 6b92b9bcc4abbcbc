//! Several gateways on one database do not need each other (G20).

use jiff::Timestamp;
use pgw_core::client::Client;
use pgw_core::exit::Expect;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::mapping::{Mapping, Target};
use pgw_core::ports::PortRange;
use pgw_core::proxy::Proxy;
use pgw_core::state::{MappingState, Verdict};

use super::*;
use crate::events::{AgentState, Kind, NewEvent};
use crate::store::{
    By, Conflict, Events as _, Gateways, KnownAs, ListQuery, NewClient, NewMapping, News, Presence,
    Webhooks as _,
};

const A_MOMENT: Duration = Duration::from_secs(10);

fn ports(base: u16) -> PortRange {
    PortRange::spanning(base, base + 9)
}

/// Two of them, each with ports of its own.
async fn two(place: &Place) -> [PostgresStore; 2] {
    let stores =
        [place.open_as("gw1", PATIENCE).await.unwrap(), place.open_as("gw2", PATIENCE).await.unwrap()];
    for (store, base) in stores.iter().zip([15001, 16001]) {
        let presence = Presence { version: "1", ports: ports(base), started_at: Timestamp::UNIX_EPOCH };
        store.show_presence(&presence).await.unwrap();
    }
    stores
}

fn client(gateway: Option<&str>) -> NewClient {
    NewClient {
        name: "tv".into(),
        ip_cidr: "192.168.2.3".parse().unwrap(),
        mac: None,
        note: String::new(),
        gateway: gateway.map(str::to_owned),
    }
}

async fn mapped(store: &PostgresStore, client: &Client, proxy: &Proxy) -> Mapping {
    let new = NewMapping {
        client_id: client.id,
        proxy_id: proxy.id,
        priority: 100,
        target: Target::Original,
        enabled: true,
        expect: Expect::default(),
        exclusive: false,
    };
    store.create_mapping(new, &ports(15001)).await.unwrap()
}

async fn next(neighbours: &mut Box<dyn crate::store::Neighbours>) -> News {
    loop {
        let news = tokio::time::timeout(A_MOMENT, neighbours.next()).await.expect("somebody wrote something");
        // Whatever is written is told in the log, too.
        if news != News::Events {
            return news;
        }
    }
}

#[tokio::test]
async fn each_gateway_has_its_own_clients_ports_and_health_and_shows_those_of_all() {
    let place = Place::new();
    let [one, two] = two(&place).await;
    let proxy = one.create_proxy(proxy()).await.unwrap();
    let (here, there) =
        (one.create_client(client(None)).await.unwrap(), two.create_client(client(None)).await.unwrap());
    assert_eq!((here.ip_cidr, here.gateway.as_str(), there.gateway.as_str()), (there.ip_cidr, "gw1", "gw2"));
    let again = one.create_client(client(Some("gw2"))).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::AddressTaken))), "{again:?}");
    let (first, second) = (mapped(&one, &here, &proxy).await, mapped(&one, &there, &proxy).await);
    assert_eq!((first.port, first.gateway.as_str()), (15001, "gw1"));
    assert_eq!(
        (second.port, second.gateway.as_str()),
        (16001, "gw2"),
        "a port of the gateway whose client it is"
    );

    for (store, own, name) in [(&one, &here, "gw1"), (&two, &there, "gw2")] {
        let ids = |plans: Vec<crate::store::ClientPlan>| {
            plans.into_iter().map(|plan| plan.client.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(store.plans().await.unwrap()), [own.id]);
        assert_eq!(store.clients_known_as(&KnownAs::Address(own.ip_cidr)).await.unwrap(), [own.id]);
        let all = ListQuery { limit: 10, ..ListQuery::default() };
        assert_eq!(store.clients(&all).await.unwrap().items, [here.clone(), there.clone()]);
        let own_only = ListQuery { gateway: Some(name.into()), ..all };
        assert_eq!(&store.clients(&own_only).await.unwrap().items[..], std::slice::from_ref(own));
        assert_eq!(store.mappings(&own_only).await.unwrap().items[0].client_id, own.id);
    }
    assert!(one.plan(there.id).await.unwrap().is_none(), "what becomes of it is not for others to do");

    let found = one.upstream(proxy.id).await.unwrap();
    let healthy = Health { status: HealthStatus::Ok, ..Health::default() };
    one.record_health(&[found.found(healthy.clone())]).await.unwrap();
    assert_eq!(one.proxy(proxy.id).await.unwrap().health, healthy);
    assert_eq!(two.proxy(proxy.id).await.unwrap().health, Health::default());
    let redialled = ProxyPatch { port: Some(1), ..ProxyPatch::default() };
    two.update_proxy(proxy.id, redialled).await.unwrap();
    assert_eq!(
        one.proxy(proxy.id).await.unwrap().health,
        Health::default(),
        "nobody has found anything of this way"
    );

    two.keep_ports_within(&ports(17001)).await.unwrap();
    assert_eq!(one.mapping(first.id).await.unwrap().port, 15001);
    assert_eq!(one.mapping(second.id).await.unwrap().port, 17001);
    let owners = one.remove_proxy(proxy.id, true, None).await.unwrap();
    assert_eq!(owners.iter().map(|owner| owner.gateway.as_str()).collect::<Vec<_>>(), ["gw1", "gw2"]);
}

#[tokio::test]
async fn a_gateway_hears_what_others_have_written_and_not_what_it_wrote_or_they_took_back() {
    let place = Place::new();
    let [one, two] = two(&place).await;
    let mut heard = two.neighbours().unwrap();
    assert!(two.neighbours().is_none(), "there is one to hear it");
    let proxy = one.create_proxy(proxy()).await.unwrap();
    assert_eq!(next(&mut heard).await, News::Redialled(proxy.id));
    let there = two.create_client(client(None)).await.unwrap();
    assert!(one.create_client(client(Some("gw2"))).await.is_err());
    let mapping = mapped(&one, &there, &proxy).await;
    assert_eq!(next(&mut heard).await, News::Client(there.id));
    let note = ProxyPatch { note: Some("x".into()), ..ProxyPatch::default() };
    one.update_proxy(proxy.id, note).await.unwrap();
    assert_eq!(next(&mut heard).await, News::Proxy(proxy.id));
    one.remove_mapping(mapping.id, None).await.unwrap();
    assert_eq!(next(&mut heard).await, News::Client(there.id));
}

#[tokio::test]
async fn a_gateway_that_could_not_hear_for_a_while_is_told_that_it_missed_something() {
    let place = Place::new();
    let [one, two] = two(&place).await;
    let mut heard = two.neighbours().unwrap();
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity
               where datname = current_database() and application_name = 'pgw-api gw2'";
    sqlx::query(cut).execute(&mut place.raw().await).await.unwrap();
    one.create_client(client(None)).await.unwrap();
    assert_eq!(next(&mut heard).await, News::Missed);
    let there = one.create_client(client(Some("gw2"))).await.unwrap();
    assert_eq!(next(&mut heard).await, News::Client(there.id));
    two.client(there.id).await.expect("the pools mend themselves as well");
}

#[tokio::test]
async fn a_name_belongs_to_one_gateway_while_that_one_runs() {
    let place = Place::new();
    let short = Duration::from_millis(200);
    let first = place.open_as("gw1", short).await.unwrap();
    let refused = place.open_as("gw1", short).await.err();
    let Some(OpenError::NameTaken { gateway, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(gateway, "gw1");
    let _other = place.open_as("gw2", short).await.unwrap();
    drop(first);
    place.open_as("gw1", PATIENCE).await.expect("nobody has the name any more");
}

#[tokio::test]
async fn gateways_that_start_at_once_make_the_tables_once() {
    let place = Place::new();
    let names: Vec<String> = (0..4).map(|n| format!("gw{n}")).collect();
    let opening = names.iter().map(|name| place.open_as(name, PATIENCE));
    for store in futures_util::future::join_all(opening).await {
        store.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_gateway_without_the_others_key_is_told_so_at_its_start() {
    let (place, elsewhere) = (Place::new(), tempfile::tempdir().unwrap());
    let _first = place.open_as("gw1", PATIENCE).await.unwrap();
    let key = elsewhere.path().join("secret.key");
    let open = async || {
        let url = Secret::new(place.database.url());
        PostgresStore::open(&url, &Opening::new("gw2", &key)).await.err()
    };
    assert!(matches!(open().await, Some(OpenError::Key(KeyError::Missing { .. }))));
    assert!(!key.exists(), "a key of its own would be none");
    std::fs::write(&key, [7; 32]).unwrap();
    let Some(OpenError::Key(wrong @ KeyError::Wrong { .. })) = open().await else {
        panic!("a wrong key opens nothing")
    };
    assert!(wrong.to_string().contains("another gateway"), "{wrong}");
    std::fs::copy(place.keys.path().join("secret.key"), &key).unwrap();
    assert!(open().await.is_none());
}

#[tokio::test]
async fn what_happens_on_one_gateway_is_read_by_all_in_one_order_and_told_by_itself() {
    let place = Place::new();
    let [one, two] = two(&place).await;
    let mut heard = two.neighbours().unwrap();
    let warning = |n: u32| [NewEvent::agent(AgentState::Warns, n.to_string())];
    for n in 0..10 {
        let (writes, says) = if n % 3 == 0 { (&two, "gw2") } else { (&one, "gw1") };
        writes.record(&warning(n)).await.unwrap();
        let written = one.events_after(0, 100).await.unwrap().pop().unwrap();
        assert_eq!((written.gateway.as_str(), &written.data["detail"]), (says, &n.to_string().into()));
        if says == "gw1" {
            let news = tokio::time::timeout(A_MOMENT, heard.next()).await;
            assert_eq!(news.expect("what is in the log is said to the others"), News::Events);
        }
    }
    let all = one.events_after(0, 100).await.unwrap();
    assert!(all.is_sorted_by_key(|event| event.id));
    assert_eq!(all, two.events_after(0, 100).await.unwrap());
    let own = two.own_events_after(0, 100).await.unwrap();
    assert!(own.len() == 4 && own.iter().all(|event| event.gateway == "gw2"), "each webhook is told once");
}

#[tokio::test]
async fn a_client_of_another_gateway_gets_out_there_whoever_changes_it() {
    let place = Place::new();
    let [one, two] = two(&place).await;
    let proxy = one.create_proxy(proxy()).await.unwrap();
    let there = two.create_client(client(None)).await.unwrap();
    let mapping = mapped(&two, &there, &proxy).await;
    let verdict = Verdict { state: MappingState::Applied, reason: "open".into() };
    two.record_verdict(mapping.id, &verdict).await.unwrap();
    By::named("user alice").during(one.remove_mapping(mapping.id, None)).await.unwrap();
    let told = one.events_after(0, 100).await.unwrap();
    let [change, closed] = told.last_chunk::<2>().unwrap();
    assert_eq!((change.kind, change.gateway.as_str()), (Kind::Change, "gw1"));
    assert_eq!((closed.kind, closed.gateway.as_str()), (Kind::ClientExit, "gw2"));
    assert!([change, closed].iter().all(|event| event.by.as_deref() == Some("user alice")));
}

#[tokio::test]
async fn a_gateway_whose_name_was_taken_while_it_could_not_hear_is_told_so_and_gets_it_back() {
    let place = Place::new();
    let store = place.open_as("gw1", Duration::from_millis(250)).await.unwrap();
    let mut heard = store.neighbours().unwrap();
    let (mut namesake, mut operator) = (place.raw().await, place.raw().await);
    // It waits in the line for the name before that is free.
    let taking = tokio::spawn(async move {
        let take = sqlx::query("select pg_advisory_lock(hashtextextended('gw1', $1))").bind(hearing::NAMES);
        take.execute(&mut namesake).await.unwrap();
        namesake
    });
    let waits = "select exists (select 1 from pg_locks where locktype = 'advisory' and not granted
        and database = (select oid from pg_database where datname = current_database()))";
    while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut operator).await.unwrap() {
        tokio::task::yield_now().await;
    }
    let cut = "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted
        and database = (select oid from pg_database where datname = current_database())";
    sqlx::query(cut).execute(&mut operator).await.unwrap();
    let namesake = taking.await.unwrap();
    assert_eq!(next(&mut heard).await, News::Doubled);
    drop(namesake);
    assert_eq!(next(&mut heard).await, News::Missed);
}
