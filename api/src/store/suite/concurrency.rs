use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::*;

const MANY: u8 = 40;

pub(crate) async fn clients_that_come_at_the_same_time_get_different_lowest_ports(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let mut tasks = JoinSet::new();
    for last in 1..=MANY {
        let (store, proxy) = (store.clone(), proxy.clone());
        tasks.spawn(async move { mapped(&*store, last, &proxy).await.1.port });
    }
    let ports: BTreeSet<u16> = tasks.join_all().await.into_iter().collect();
    assert_eq!(ports, (15001..15001 + u16::from(MANY)).collect());
}

pub(crate) async fn of_many_equal_writes_one_wins_and_the_others_are_told(store: Arc<dyn Store>) {
    let mut tasks = JoinSet::new();
    for _ in 0..MANY {
        let store = store.clone();
        tasks.spawn(async move { store.create_client(new_client(1)).await });
    }
    let (won, told): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for other in told {
        assert!(matches!(conflict(other), Conflict::AddressTaken));
    }
}

pub(crate) async fn an_exhausted_range_says_so_and_changes_nothing(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let spare = store.create_proxy(new_proxy("de2")).await.unwrap();
    let narrow = PortRange::spanning(15001, 15002);
    let mut clients = Vec::new();
    for last in 1..=3 {
        clients.push(store.create_client(new_client(last)).await.unwrap());
    }
    for client in &clients[..2] {
        store.create_mapping(between(client, &proxy), &narrow).await.unwrap();
    }
    let refused = conflict(store.create_mapping(between(&clients[2], &proxy), &narrow).await);
    assert_eq!(refused, Conflict::PortsExhausted { range: "15001..15002".into() });
    assert!(refused.to_string().contains("15001..15002"));
    assert!(store.plan(clients[2].id).await.unwrap().unwrap().port.is_none());
    store.create_mapping(between(&clients[0], &spare), &narrow).await.unwrap();
}
