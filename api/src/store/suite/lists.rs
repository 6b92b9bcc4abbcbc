use pgw_core::state::MappingState;

use super::*;

fn limit(limit: u32) -> ListQuery {
    ListQuery { limit, ..ListQuery::default() }
}

pub(crate) async fn pages_hold_everything_once_in_order(store: Arc<dyn Store>) {
    let mut made = Vec::new();
    for last in 1..=5 {
        made.push(store.create_client(new_client(last)).await.unwrap());
    }
    for size in 1..=6 {
        let mut seen = Vec::new();
        let mut query = limit(size);
        loop {
            let page = store.clients(&query).await.unwrap();
            assert!(page.items.len() <= size as usize);
            seen.extend(page.items);
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(seen, made, "pages of {size}");
    }
}

pub(crate) async fn a_client_is_known_as_its_whole_name_or_its_address(store: Arc<dyn Store>) {
    let named = |last: u8, name: &str| NewClient { name: name.into(), ..new_client(last) };
    let mut ids = Vec::new();
    for (last, name) in [(1, "tv"), (2, "tv 2"), (3, "twin"), (4, "twin"), (5, "twin")] {
        ids.push(store.create_client(named(last, name)).await.unwrap().id);
    }
    let known_as = async |known_as| store.clients_known_as(&known_as).await.unwrap();
    let address = store.client(ids[1]).await.unwrap().ip_cidr;
    assert_eq!(known_as(KnownAs::Name("tv".into())).await, ids[..1]);
    assert_eq!(known_as(KnownAs::Address(address)).await, ids[1..2]);
    assert_eq!(known_as(KnownAs::Name("twin".into())).await, ids[2..4], "two at the most");
    assert_eq!(known_as(KnownAs::Name(address.addr().to_string())).await, [], "an address is no name");
    store.remove_client(ids[0], false, None).await.unwrap();
    assert_eq!(known_as(KnownAs::Name("tv".into())).await, [], "what is going is not there");
}

pub(crate) async fn a_search_finds_part_of_a_text_literally(store: Arc<dyn Store>) {
    let proxy =
        store.create_proxy(NewProxy { note: "100% \\ a_b".into(), ..new_proxy("Frankfurt") }).await.unwrap();
    store.create_proxy(new_proxy("axb")).await.unwrap();
    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    let search = |q: &str| ListQuery { q: Some(q.to_owned()), ..limit(10) };
    for (q, want) in [
        ("frank", 1),
        ("proxy.ex", 2),
        ("100%", 1),
        ("%", 1),
        ("a_b", 1),
        ("\\", 1),
        ("nowhere", 0),
        ("' or 1=1 --", 0),
    ] {
        assert_eq!(store.proxies(&search(q)).await.unwrap().items.len(), want, "{q}");
    }
    for q in ["phone", "2.3/32"] {
        assert_eq!(store.clients(&search(q)).await.unwrap().items, vec![client.clone()], "{q}");
    }
    for q in ["phone", "192.168.2.3", "frankfurt", "proxy.example"] {
        assert_eq!(store.mappings(&search(q)).await.unwrap().items, vec![mapping.clone()], "{q}");
    }
}

pub(crate) async fn mappings_are_filtered_by_state_client_and_proxy(store: Arc<dyn Store>) {
    let de = store.create_proxy(new_proxy("de")).await.unwrap();
    let nl = store.create_proxy(new_proxy("nl")).await.unwrap();
    let (one, first) = mapped(&*store, 1, &de).await;
    let (_two, second) = mapped(&*store, 2, &nl).await;
    store
        .record_verdict(first.id, &Verdict { state: MappingState::Failed, reason: "proxy de is down".into() })
        .await
        .unwrap();
    let ids = async |query: ListQuery| {
        let page = store.mappings(&query).await.unwrap();
        page.items.into_iter().map(|mapping| mapping.id).collect::<Vec<_>>()
    };
    let all = limit(10);
    assert_eq!(ids(all.clone()).await, [first.id, second.id]);
    assert_eq!(ids(ListQuery { state: Some(MappingState::Failed), ..all.clone() }).await, [first.id]);
    assert_eq!(ids(ListQuery { state: Some(MappingState::Applied), ..all.clone() }).await, []);
    assert_eq!(ids(ListQuery { client_id: Some(one.id), ..all.clone() }).await, [first.id]);
    assert_eq!(ids(ListQuery { proxy_id: Some(nl.id), ..all.clone() }).await, [second.id]);
    assert_eq!(ids(ListQuery { proxy_id: Some(nl.id), client_id: Some(one.id), ..all }).await, []);
    assert_eq!(clients(store.clients_of_proxy(de.id).await), [one.id]);
}

async fn all(store: &dyn Store, sort: Sort, size: u32) -> Vec<Client> {
    let mut query = ListQuery { sort, ..limit(size) };
    let mut seen = Vec::new();
    loop {
        let page = store.clients(&query).await.unwrap();
        seen.extend(page.items);
        query.after = page.next;
        if query.after.is_none() {
            return seen;
        }
    }
}

pub(crate) async fn a_list_is_sorted_by_what_is_asked_for_and_of_equals_by_age(store: Arc<dyn Store>) {
    for (last, name) in [(9, "tv"), (10, "Phone"), (200, "tv"), (1, "alarm"), (30, "phone 2")] {
        store.create_client(NewClient { name: name.into(), ..new_client(last) }).await.unwrap();
    }
    let want = |by| match by {
        SortBy::Name => ["alarm 1", "Phone 10", "phone 2 30", "tv 9", "tv 200"],
        SortBy::Address => ["alarm 1", "tv 9", "Phone 10", "phone 2 30", "tv 200"],
        _ => ["tv 9", "Phone 10", "tv 200", "alarm 1", "phone 2 30"],
    };
    for by in [SortBy::Name, SortBy::Address, SortBy::Created] {
        for (descending, size) in [(false, 1), (false, 2), (false, 9), (true, 1), (true, 2), (true, 9)] {
            let clients = all(&*store, Sort { by, descending }, size).await;
            let shown = |client: &Client| format!("{} {}", client.name, client.ip_cidr.addr().octets()[3]);
            let mut found: Vec<String> = clients.iter().map(shown).collect();
            if descending {
                found.reverse();
            }
            assert_eq!(found, want(by), "{by:?} {descending} {size}");
        }
    }
    let changed = all(&*store, Sort::default(), 9).await.remove(1);
    store
        .update_client(changed.id, ClientPatch { note: Some("x".into()), ..ClientPatch::default() })
        .await
        .unwrap();
    let by_change = Sort { by: SortBy::Updated, descending: true };
    assert_eq!(all(&*store, by_change, 2).await[0].id, changed.id);
    let proxies = ["b", "a"].map(new_proxy);
    for (proxy, host) in proxies.into_iter().zip(["1.example", "2.example"]) {
        let proxy = store.create_proxy(NewProxy { host: host.parse().unwrap(), ..proxy }).await.unwrap();
        store.create_mapping(between(&changed, &proxy), &ports()).await.unwrap();
    }
    for (by, want) in [(SortBy::Name, "a"), (SortBy::Host, "b"), (SortBy::Updated, "b")] {
        let query = ListQuery { sort: Sort { by, descending: false }, ..limit(9) };
        assert_eq!(store.proxies(&query).await.unwrap().items[0].name, want, "{by:?}");
    }
    for by in [
        SortBy::Priority,
        SortBy::State,
        SortBy::Port,
        SortBy::ClientName,
        SortBy::ProxyName,
        SortBy::Updated,
        SortBy::Created,
    ] {
        let mut query = ListQuery { sort: Sort { by, descending: true }, ..limit(1) };
        let first = store.mappings(&query).await.unwrap();
        query.after = first.next;
        let second = store.mappings(&query).await.unwrap();
        assert_ne!(first.items[0].id, second.items[0].id, "{by:?}");
        assert_eq!(second.next, None);
    }
}

pub(crate) async fn a_page_goes_on_where_the_last_ended_whatever_came_or_went(store: Arc<dyn Store>) {
    let named = |last: u8, name: &str| NewClient { name: name.into(), ..new_client(last) };
    let mut made = Vec::new();
    for (last, name) in [(1, "b"), (2, "d"), (3, "f")] {
        made.push(store.create_client(named(last, name)).await.unwrap());
    }
    let mut query = ListQuery { sort: Sort { by: SortBy::Name, descending: false }, ..limit(2) };
    query.after = store.clients(&query).await.unwrap().next;
    store.remove_client(made[1].id, false, None).await.unwrap();
    for (last, name) in [(4, "a"), (5, "c"), (6, "e")] {
        store.create_client(named(last, name)).await.unwrap();
    }
    let names = |page: Page<Client>| page.items.into_iter().map(|client| client.name).collect::<Vec<_>>();
    assert_eq!(names(store.clients(&query).await.unwrap()), ["e", "f"]);
}
