use pgw_core::control::{Carried, NameCount, Sum};
use pgw_core::health::HealthStatus;
use pgw_core::state::MappingState;

use super::*;
use crate::store::traffic::{
    Counted, HEALTH_STEPS, HealthQuery, HealthRow, HealthSum, NAMES_STEP, NamesRow, TRAFFIC_STEPS,
    TrafficQuery, TrafficRecord, TrafficRow,
};

const NOW: i64 = 1_800_000_000;

fn client(n: u128) -> ClientId {
    ClientId(uuid::Uuid::from_u128(n))
}

fn proxy(n: u128) -> ProxyId {
    ProxyId(uuid::Uuid::from_u128(n))
}

fn sum(connections: u64, bytes_up: u64, bytes_down: u64) -> Sum {
    Sum { connections, bytes_up, bytes_down }
}

fn row(step_s: i64, at: i64, of: u128, by: Option<u128>, sum: Sum) -> TrafficRow {
    TrafficRow { step_s, at, client: client(of), proxy: by.map(proxy), sum }
}

fn record(traffic: Vec<TrafficRow>) -> TrafficRecord {
    TrafficRecord { traffic, ..TrafficRecord::default() }
}

fn query(client: Option<ClientId>, proxy: Option<ProxyId>) -> TrafficQuery {
    TrafficQuery { step_s: 15, from: NOW, client, proxy }
}

pub(crate) async fn traffic_of_one_step_is_added_up_and_told_of_a_client_a_proxy_or_all(
    store: Arc<dyn Store>,
) {
    for _time in 0..2 {
        let rows = vec![
            row(15, NOW, 1, Some(1), sum(1, 10, 100)),
            row(15, NOW, 1, None, sum(1, 1, 1)),
            row(15, NOW, 2, Some(1), sum(0, 0, 1000)),
            row(15, NOW + 15, 1, Some(2), sum(0, 5, 0)),
            row(15, NOW - 15, 1, Some(1), sum(9, 9, 9)),
            row(300, NOW, 1, Some(1), sum(7, 7, 7)),
        ];
        store.record_traffic(&record(rows)).await.unwrap();
    }
    for (of, by, want) in [
        (None, None, vec![(NOW, sum(4, 22, 2202)), (NOW + 15, sum(0, 10, 0))]),
        (Some(client(1)), None, vec![(NOW, sum(4, 22, 202)), (NOW + 15, sum(0, 10, 0))]),
        (None, Some(proxy(1)), vec![(NOW, sum(2, 20, 2200))]),
        (Some(client(2)), Some(proxy(1)), vec![(NOW, sum(0, 0, 2000))]),
        (Some(client(2)), Some(proxy(2)), vec![]),
    ] {
        assert_eq!(store.traffic(&query(of, by)).await.unwrap(), want, "{of:?} {by:?}");
    }
}

pub(crate) async fn a_busy_minute_of_a_thousand_clients_is_written_and_no_number_is_too_large(
    store: Arc<dyn Store>,
) {
    let rows = (0..5_000).map(|n| row(15, NOW, n, Some(1), sum(1, u64::MAX, u64::MAX))).collect();
    store.record_traffic(&record(rows)).await.unwrap();
    let one = store.traffic(&query(Some(client(1)), None)).await.unwrap();
    assert!(one[0].1.bytes_up >= 1 << 53, "{one:?}");
    let few = (0..100).map(|n| row(15, NOW + 15, n, Some(1), sum(1, u64::MAX, 0))).collect();
    store.record_traffic(&record(few)).await.unwrap();
    let query = TrafficQuery { from: NOW + 15, ..query(None, None) };
    assert_eq!(store.traffic(&query).await.unwrap()[0].1.connections, 100);
}

pub(crate) async fn health_over_time_is_the_worst_of_each_step(store: Arc<dyn Store>) {
    let health = |status, latency_ms| HealthRow {
        step_s: 60,
        at: NOW,
        proxy: proxy(1),
        sum: HealthSum { answered: 1, latency_ms, worst: status },
    };
    for (status, latency) in [(HealthStatus::Ok, 10), (HealthStatus::Down, 0), (HealthStatus::Degraded, 20)] {
        let health = vec![health(status, latency)];
        store.record_traffic(&TrafficRecord { health, ..record(vec![]) }).await.unwrap();
    }
    let ask = async |from| {
        let query = HealthQuery { step_s: 60, from, proxy: proxy(1) };
        store.health_history(&query).await.unwrap()
    };
    let want = HealthSum { answered: 3, latency_ms: 30, worst: HealthStatus::Down };
    assert_eq!((ask(NOW).await, ask(NOW + 1).await), (vec![(NOW, want)], vec![]));
}

pub(crate) async fn how_far_was_counted_is_read_back_until_the_forwarder_is_gone(store: Arc<dyn Store>) {
    let counted = |run, bytes| Counted {
        port: 15001,
        run,
        carried: vec![
            Carried { mapping_id: None, sum: sum(1, 2, 3) },
            Carried { mapping_id: Some(MappingId(uuid::Uuid::from_u128(1))), sum: sum(1, 0, bytes) },
        ],
    };
    let write = async |record: TrafficRecord| store.record_traffic(&record).await.unwrap();
    write(TrafficRecord { counted: vec![counted(1, 5), counted(1 << 52, 6)], ..record(vec![]) }).await;
    write(TrafficRecord { counted: vec![counted(1, u64::MAX)], ..record(vec![]) }).await;
    let mut found = store.counted().await.unwrap();
    found.sort_by_key(|counted| counted.run);
    assert_eq!(found, [counted(1, u64::MAX), counted(1 << 52, 6)]);
    write(TrafficRecord { gone: vec![(15001, 1), (15002, 1)], ..record(vec![]) }).await;
    assert_eq!(store.counted().await.unwrap(), [counted(1 << 52, 6)]);
}

pub(crate) async fn names_are_replaced_and_those_of_removed_clients_are_forgotten(store: Arc<dyn Store>) {
    let kept = store.create_client(new_client(3)).await.unwrap();
    let gone = store.create_client(new_client(4)).await.unwrap();
    let names = |at, client, name: &str| NamesRow {
        at,
        client,
        names: vec![NameCount { name: name.into(), sum: sum(1, 2, 3) }],
    };
    let hour = NAMES_STEP.begin(NOW);
    let too_old = NAMES_STEP.begin(NOW - NAMES_STEP.kept) - NAMES_STEP.width;
    let (of_kept, of_gone) = (Some(kept.id), Some(gone.id));
    let write = async |names: Vec<NamesRow>, forget_at| {
        store.record_traffic(&TrafficRecord { names, forget_at, ..record(vec![]) }).await.unwrap();
    };
    write(vec![names(hour, of_kept, "*.first.example"), names(too_old, of_kept, "*.old.example")], None)
        .await;
    let new = [("*.a.example", of_kept), ("*.b.example", of_gone), ("*.c.example", None)];
    write(new.map(|(name, client)| names(hour, client, name)).to_vec(), None).await;
    assert_eq!(store.names(of_kept, 0).await.unwrap().len(), 2);
    assert_eq!(store.names(of_kept, hour).await.unwrap(), [names(hour, of_kept, "*.a.example")]);
    assert_eq!(store.names_of_hour(hour).await.unwrap().len(), 2, "without those of all together");

    store.remove_client(gone.id, false, None).await.unwrap();
    store.finish_removal(gone.id, &[]).await.unwrap();
    write(vec![], Some(NOW)).await;
    assert_eq!(store.names(of_kept, 0).await.unwrap(), [names(hour, of_kept, "*.a.example")]);
    assert_eq!(store.names(of_gone, 0).await.unwrap(), []);
    assert_eq!(store.names(None, 0).await.unwrap(), [names(hour, None, "*.c.example")]);
}

pub(crate) async fn what_is_too_old_is_forgotten_step_by_step(store: Arc<dyn Store>) {
    let (mut traffic, mut health) = (vec![], vec![]);
    for step in TRAFFIC_STEPS {
        // The step in which the window begins is needed, and the one before it is not.
        let first = step.begin(NOW - step.kept);
        for at in [first - step.width, first, step.begin(NOW)] {
            traffic.push(row(step.width, at, 1, Some(1), sum(1, 1, 1)));
        }
    }
    for step in HEALTH_STEPS {
        let first = step.begin(NOW - step.kept);
        for at in [first - step.width, first] {
            let sum = HealthSum { answered: 1, latency_ms: 1, worst: HealthStatus::Ok };
            health.push(HealthRow { step_s: step.width, at, proxy: proxy(1), sum });
        }
    }
    store.record_traffic(&TrafficRecord { health, ..record(traffic) }).await.unwrap();
    store.record_traffic(&TrafficRecord { forget_at: Some(NOW), ..record(vec![]) }).await.unwrap();
    for step in TRAFFIC_STEPS {
        let query = TrafficQuery { step_s: step.width, from: 0, client: None, proxy: None };
        let found: Vec<i64> = store.traffic(&query).await.unwrap().into_iter().map(|(at, _)| at).collect();
        assert_eq!(found, [step.begin(NOW - step.kept), step.begin(NOW)], "{step:?}");
    }
    for step in HEALTH_STEPS {
        let query = HealthQuery { step_s: step.width, from: 0, proxy: proxy(1) };
        let found = store.health_history(&query).await.unwrap();
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [step.begin(NOW - step.kept)]);
    }
}

pub(crate) async fn the_census_counts_what_is_there_and_owners_are_known_until_all_is_done(
    store: Arc<dyn Store>,
) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (open, mapping) = mapped(&*store, 3, &proxy).await;
    let (_, other) = mapped(&*store, 4, &proxy).await;
    store.create_client(new_client(5)).await.unwrap();
    let applied = Verdict { state: MappingState::Applied, reason: "open".into() };
    store.record_verdict(mapping.id, &applied).await.unwrap();
    let census = store.census().await.unwrap();
    assert_eq!((census.clients_open, census.clients_closed, census.clients_unmapped), (1, 1, 1));
    let mut states = census.mappings;
    states.sort_by_key(|(state, _)| format!("{state:?}"));
    assert_eq!(states, [(MappingState::Applied, 1), (MappingState::Pending, 1)]);
    let proxies: Vec<_> = census.proxies.iter().map(|p| (p.id, p.name.as_str(), p.enabled)).collect();
    assert_eq!(proxies, [(proxy.id, "de1", true)]);

    store.remove_mapping(other.id, None).await.unwrap();
    let owners = store.owners().await.unwrap();
    assert_eq!(owners.len(), 2, "what is going still carries something");
    let owner = owners.iter().find(|owner| owner.mapping == mapping.id).unwrap();
    assert_eq!((owner.client, owner.proxy, owner.port), (open.id, proxy.id, 15001));
    assert_eq!(
        (owner.client_name.as_str(), owner.client_ip.as_str(), owner.proxy_name.as_str()),
        ("phone 3", "192.168.2.3/32", "de1")
    );
    store.finish_removal(other.client_id, &[other.id]).await.unwrap();
    assert_eq!(store.owners().await.unwrap().len(), 1);
}
