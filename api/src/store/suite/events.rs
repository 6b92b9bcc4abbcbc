use jiff::SignedDuration;
use pgw_core::health::{Health, HealthStatus};
use pgw_core::state::MappingState::{self, Applied, Failed, Pending};
use serde_json::Value;

use super::*;
use crate::events::{AgentState, Event, Kind, NewEvent};

async fn judged(store: &dyn Store, mapping: &Mapping, state: MappingState, reason: &str) {
    store.record_verdict(mapping.id, &Verdict { state, reason: reason.to_owned() }).await.unwrap();
}

/// What was told since then, and where that ends.
async fn since(store: &dyn Store, after: &mut i64, kinds: &[Kind]) -> Vec<Event> {
    let events = store.events_after(*after, 10_000).await.unwrap();
    *after = events.last().map_or(*after, |event| event.id);
    assert!(events.is_sorted_by_key(|event| event.id));
    events.into_iter().filter(|event| kinds.is_empty() || kinds.contains(&event.kind)).collect()
}

fn text<'a>(event: &'a Event, field: &str) -> &'a str {
    event.data[field].as_str().unwrap_or("-")
}

fn changes(events: &[Event]) -> Vec<String> {
    let told = |event: &Event| {
        let fields: Vec<&str> =
            event.data["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
        let by = event.by.as_deref().unwrap_or("nobody");
        format!(
            "{by}: {} {} {} [{}]",
            text(event, "what"),
            text(event, "action"),
            text(event, "name"),
            fields.join(" ")
        )
    };
    events.iter().map(told).collect()
}

pub(crate) async fn every_change_is_told_with_who_wanted_it_and_what_became_another(store: Arc<dyn Store>) {
    let mut seen = 0;
    let work = async {
        let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
        let (client, mapping) = mapped(&*store, 3, &proxy).await;
        let patch = ProxyPatch {
            name: Some("de2".into()),
            port: Some(proxy.port),
            password: Some(Some(Secret::new("another secret"))),
            ..ProxyPatch::default()
        };
        store.update_proxy(proxy.id, patch).await.unwrap();
        let moved = ClientPatch { note: Some("on the shelf".into()), ..ClientPatch::default() };
        store.update_client(client.id, moved.clone()).await.unwrap();
        store.update_client(client.id, moved).await.unwrap();
        let patch = MappingPatch { priority: Some(7), ..MappingPatch::default() };
        store.update_mapping(mapping.id, patch).await.unwrap();
        let token = NewToken { name: "ci".into(), role: Role::Viewer, hash: [7; 32] };
        let token = store.create_token(token).await.unwrap();
        store.revoke_token(token.id).await.unwrap();
        store.revoke_token(token.id).await.unwrap();
        store.remove_client(client.id, true, None).await.unwrap();
        store.remove_proxy(proxy.id, true, None).await.unwrap();
    };
    By::named("user alice").during(work).await;
    let told = since(&*store, &mut seen, &[Kind::Change]).await;
    let wanted = [
        "user alice: proxy created de1 []",
        "user alice: client created phone 3 []",
        "user alice: mapping created phone 3 by de1 []",
        "user alice: proxy updated de2 [name password]",
        "user alice: client updated phone 3 [note]",
        "user alice: mapping updated phone 3 by de2 [priority]",
        "user alice: token created ci []",
        "user alice: token revoked ci []",
        "user alice: mapping deleted phone 3 by de2 []",
        "user alice: client deleted phone 3 []",
        "user alice: proxy deleted de2 []",
    ];
    assert_eq!(changes(&told), wanted);
    assert!(told.iter().all(|event| event.gateway == "gw1" && !event.data.to_string().contains("secret")));
    assert!(told[2].client_id.is_some() && told[2].mapping_id.is_some() && told[2].proxy_id.is_some());
}

pub(crate) async fn what_did_not_happen_is_not_told(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let mut seen = 0;
    since(&*store, &mut seen, &[]).await;
    conflict(store.create_proxy(new_proxy("de1")).await);
    not_found(store.remove_client(ClientId(uuid::Uuid::nil()), true, None).await);
    assert_eq!(since(&*store, &mut seen, &[]).await, []);
    let (_, mapping) = mapped(&*store, 3, &proxy).await;
    since(&*store, &mut seen, &[]).await;
    for reason in ["waiting", "waiting still"] {
        judged(&*store, &mapping, Pending, reason).await;
    }
    assert_eq!(since(&*store, &mut seen, &[]).await, [], "another reason alone is no other state");
}

pub(crate) async fn a_state_is_told_when_it_changes_and_a_way_out_when_it_is_another(store: Arc<dyn Store>) {
    let (de, nl) = (
        store.create_proxy(new_proxy("de")).await.unwrap(),
        store.create_proxy(new_proxy("nl")).await.unwrap(),
    );
    let client = store.create_client(new_client(3)).await.unwrap();
    let mapping = async |proxy: &Proxy, priority| {
        let new = NewMapping { priority, ..between(&client, proxy) };
        store.create_mapping(new, &ports()).await.unwrap()
    };
    let (first, second) = (mapping(&de, 1).await, mapping(&nl, 2).await);
    let mut seen = 0;
    since(&*store, &mut seen, &[]).await;
    let ways = async |seen: &mut i64| -> Vec<String> {
        let told = since(&*store, seen, &[Kind::ClientExit]).await;
        told.iter().map(|event| format!("{}: {}", text(event, "proxy"), text(event, "reason"))).collect()
    };

    judged(&*store, &second, Applied, "open through nl").await;
    assert_eq!(ways(&mut seen).await, ["nl: open through nl"]);
    judged(&*store, &first, Applied, "open through de").await;
    assert_eq!(ways(&mut seen).await, ["de: open through de"]);
    judged(&*store, &second, Failed, "proxy nl is down").await;
    assert_eq!(ways(&mut seen).await, [""; 0], "nobody went that way");
    judged(&*store, &second, Applied, "open through nl").await;
    judged(&*store, &first, Failed, "proxy de is down: refused").await;
    assert_eq!(ways(&mut seen).await, ["nl: proxy de is down: refused"], "it tells why the other is left");
    judged(&*store, &second, Failed, "proxy nl is down, too").await;
    let told = since(&*store, &mut seen, &[]).await;
    let [state, closed] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((state.kind, closed.kind), (Kind::MappingState, Kind::ClientExit));
    let states = (text(state, "from"), text(state, "to"), text(state, "client"), text(state, "ip"));
    assert_eq!(states, ("APPLIED", "FAILED", "phone 3", "192.168.2.3"));
    assert_eq!((state.data["port"].as_u64(), state.mapping_id), (Some(15001), Some(second.id)));
    assert_eq!((&closed.data["open"], &closed.data["mapping_id"]), (&Value::Bool(false), &Value::Null));
    assert_eq!((closed.client_id, closed.mapping_id), (Some(client.id), None));
}

pub(crate) async fn whatever_closes_a_device_is_told_as_its_reason(store: Arc<dyn Store>) {
    let mut seen = 0;
    for (last, what) in (3..).zip(["removed", "proxy", "client", "moved", "another"]) {
        let proxy = store.create_proxy(new_proxy(what)).await.unwrap();
        let (client, mapping) = mapped(&*store, last, &proxy).await;
        judged(&*store, &mapping, Applied, "open").await;
        since(&*store, &mut seen, &[]).await;
        let to = |ip: &str| ClientPatch { ip_cidr: Some(ip.parse().unwrap()), ..ClientPatch::default() };
        let reason = match what {
            "removed" => {
                store.remove_mapping(mapping.id, None).await.unwrap();
                "its mapping was removed"
            }
            "proxy" => {
                store.remove_proxy(proxy.id, true, None).await.unwrap();
                "proxy proxy was removed"
            }
            "client" => {
                store.remove_client(client.id, true, None).await.unwrap();
                "it is no longer registered: its traffic is left alone"
            }
            "moved" => {
                store.update_client(client.id, to("192.168.2.99")).await.unwrap();
                "the device has a new address"
            }
            _ => {
                let other = store.create_proxy(new_proxy("other")).await.unwrap();
                let patch = MappingPatch { proxy_id: Some(other.id), ..MappingPatch::default() };
                store.update_mapping(mapping.id, patch).await.unwrap();
                "one of its mappings was changed"
            }
        };
        let told = since(&*store, &mut seen, &[Kind::ClientExit]).await;
        let [closed] = told.as_slice() else { panic!("{what}: {told:?}") };
        assert_eq!((text(closed, "reason"), &closed.data["open"]), (reason, &Value::Bool(false)), "{what}");
    }
}

pub(crate) async fn health_is_told_when_its_status_or_exit_is_another_and_exits_with_it(
    store: Arc<dyn Store>,
) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    judged(&*store, &mapping, Applied, "open").await;
    let mut seen = 0;
    since(&*store, &mut seen, &[]).await;
    let found = async |status, latency_ms, exit_ip: Option<&str>| {
        let exit_ip = exit_ip.map(str::to_owned);
        let health = Health { status, latency_ms: Some(latency_ms), exit_ip, ..Health::default() };
        let dial = store.upstream(proxy.id).await.unwrap();
        store.record_health(&[dial.found(health)]).await.unwrap();
    };
    found(HealthStatus::Ok, 10, Some("203.0.113.1")).await;
    found(HealthStatus::Ok, 20, Some("203.0.113.1")).await;
    found(HealthStatus::Ok, 30, Some("203.0.113.2")).await;
    found(HealthStatus::Degraded, 40, Some("203.0.113.2")).await;
    let told = since(&*store, &mut seen, &[]).await;
    let short: Vec<String> = told
        .iter()
        .map(|event| format!("{} {} {}", event.kind.as_str(), text(event, "to"), text(event, "exit_ip")))
        .collect();
    let wanted = [
        "proxy.health OK 203.0.113.1",
        "client.exit - 203.0.113.1",
        "proxy.health OK 203.0.113.2",
        "client.exit - 203.0.113.2",
        "proxy.health DEGRADED 203.0.113.2",
    ];
    assert_eq!(short, wanted);
    assert_eq!((told[1].client_id, told[1].proxy_id), (Some(client.id), Some(proxy.id)));
    let patch = ProxyPatch { port: Some(9), ..ProxyPatch::default() };
    store.update_proxy(proxy.id, patch).await.unwrap();
    let told = since(&*store, &mut seen, &[Kind::ProxyHealth]).await;
    assert_eq!(told.iter().map(|event| text(event, "to")).collect::<Vec<_>>(), ["UNKNOWN"]);
}

pub(crate) async fn the_journal_tells_where_a_client_got_out_at_a_time_and_why(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let before = Timestamp::now() - SignedDuration::from_secs(1);
    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    let (mut seen, mut told) = (0, Vec::new());
    for (state, reason) in [(Applied, "open"), (Failed, "down"), (Applied, "open again")] {
        // Times have milliseconds, and this is about different ones.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        judged(&*store, &mapping, state, reason).await;
        told.extend(since(&*store, &mut seen, &[Kind::ClientExit]).await);
    }
    assert_eq!(told.len(), 4, "registered, open, closed, open: {told:?}");
    for (n, event) in told.iter().enumerate() {
        let known = store.exit_at(client.id, event.at).await.unwrap();
        assert_eq!(known.because.as_ref(), Some(event), "at the moment itself it is true");
        assert_eq!(known.before.as_ref(), n.checked_sub(1).map(|n| &told[n]));
        assert_eq!((known.known_from, known.unwatched), (Some(told[0].at), None));
    }
    let early = store.exit_at(client.id, before).await.unwrap();
    assert_eq!((early.because, early.before, early.known_from), (None, None, Some(told[0].at)));
    let nobody = store.exit_at(ClientId(uuid::Uuid::nil()), Timestamp::now()).await.unwrap();
    assert_eq!((nobody.because, nobody.known_from), (None, None));
}

pub(crate) async fn a_time_in_which_nobody_watched_is_told_as_such(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    judged(&*store, &mapping, Applied, "open").await;
    let mut seen = 0;
    let last = since(&*store, &mut seen, &[]).await.pop().unwrap().at;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let between = Timestamp::now();
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    store.begin_watch("1.2.3").await.unwrap();
    let started = since(&*store, &mut seen, &[]).await;
    let [started] = started.as_slice() else { panic!("nobody's way out is another: {started:?}") };
    assert_eq!((started.kind, text(started, "version")), (Kind::Gateway, "1.2.3"));
    let known = store.exit_at(client.id, between).await.unwrap();
    assert_eq!(known.unwatched, Some(Unwatched { from: last, to: started.at }));
    assert!(known.because.is_some(), "what was last known is told all the same");
    let later = store.exit_at(client.id, started.at).await.unwrap();
    assert_eq!(later.unwatched, None);
}

pub(crate) async fn the_journal_is_read_by_what_it_tells_of_newest_first(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let made = async {
        let (client, mapping) = mapped(&*store, 3, &proxy).await;
        judged(&*store, &mapping, Applied, "open").await;
        (client, mapping)
    };
    let (client, mapping) = By::named("token ci").during(made).await;
    let (other, _) = mapped(&*store, 4, &proxy).await;
    store
        .record(&[NewEvent::agent(AgentState::Silent, "gone"), NewEvent::agent(AgentState::Answers, "")])
        .await
        .unwrap();
    let all = store.events_after(0, 1000).await.unwrap();
    let ids = async |query: JournalQuery| -> Vec<i64> {
        let mut ids = Vec::new();
        let mut query = JournalQuery { limit: 3, ..query };
        loop {
            let page = store.journal(&query).await.unwrap();
            assert!(page.items.len() <= 3);
            ids.extend(page.items.iter().map(|event| event.id));
            query.before = page.next;
            if page.next.is_none() {
                return ids;
            }
        }
    };
    let wanted = |which: &dyn Fn(&Event) -> bool| -> Vec<i64> {
        all.iter().rev().filter(|event| which(event)).map(|event| event.id).collect()
    };
    let query = JournalQuery::default;
    let cases: [(&str, JournalQuery, Vec<i64>); 9] = [
        ("everything", query(), wanted(&|_| true)),
        (
            "client",
            JournalQuery { client_id: Some(client.id), ..query() },
            wanted(&|e| e.client_id == Some(client.id)),
        ),
        (
            "another",
            JournalQuery { client_id: Some(other.id), ..query() },
            wanted(&|e| e.client_id == Some(other.id)),
        ),
        (
            "proxy",
            JournalQuery { proxy_id: Some(proxy.id), ..query() },
            wanted(&|e| e.proxy_id == Some(proxy.id)),
        ),
        (
            "mapping",
            JournalQuery { mapping_id: Some(mapping.id), ..query() },
            wanted(&|e| e.mapping_id == Some(mapping.id)),
        ),
        ("a kind", JournalQuery { kinds: vec![Kind::Agent], ..query() }, wanted(&|e| e.kind == Kind::Agent)),
        (
            "kinds",
            JournalQuery { kinds: vec![Kind::Agent, Kind::Change], ..query() },
            wanted(&|e| matches!(e.kind, Kind::Agent | Kind::Change)),
        ),
        (
            "who and what",
            JournalQuery {
                by: Some("token ci".into()),
                client_id: Some(client.id),
                kinds: vec![Kind::Change],
                ..query()
            },
            wanted(&|e| e.by.is_some() && e.kind == Kind::Change),
        ),
        (
            "a time",
            JournalQuery { from: Some(all[2].at), to: Some(all[2].at), ..query() },
            wanted(&|e| e.at == all[2].at),
        ),
    ];
    for (what, query, wanted) in cases {
        assert!(!wanted.is_empty(), "{what}");
        assert_eq!(ids(query).await, wanted, "{what}");
    }
    let future = JournalQuery { from: Some(Timestamp::now() + SignedDuration::from_hours(1)), ..query() };
    assert_eq!(ids(future).await, [0_i64; 0]);
}

pub(crate) async fn the_log_is_bounded_and_keeps_where_each_client_gets_out(store: Arc<dyn Store>) {
    let proxy = store.create_proxy(new_proxy("de1")).await.unwrap();
    let (client, mapping) = mapped(&*store, 3, &proxy).await;
    judged(&*store, &mapping, Applied, "open").await;
    let exit = store.exit_at(client.id, Timestamp::now()).await.unwrap().because.unwrap();
    let noise: Vec<NewEvent> = (0..40).map(|n| NewEvent::agent(AgentState::Warns, n.to_string())).collect();
    store.record(&noise).await.unwrap();
    let latest = store.log_ends().await.unwrap().latest;
    assert_eq!(store.log_ends().await.unwrap().oldest, 1);

    let long_ago = Timestamp::UNIX_EPOCH;
    assert_eq!(store.forget_events(long_ago, 1000, 500).await.unwrap(), 0, "all of it fits");
    let mut gone = 0;
    loop {
        match store.forget_events(long_ago, 10, 7).await.unwrap() {
            0 => break,
            some => {
                assert!(some <= 7);
                gone += some;
            }
        }
    }
    let left = store.events_after(0, 1000).await.unwrap();
    assert_eq!((left.len(), left[0].id), (11, exit.id), "ten, and the way out");
    assert_eq!(gone + 11, u64::try_from(latest).unwrap());
    assert_eq!(store.log_ends().await.unwrap(), LogEnds { oldest: latest - 9, latest });
    let known = store.exit_at(client.id, Timestamp::now()).await.unwrap();
    assert_eq!((known.because.as_ref(), known.before), (Some(&exit), None));

    let later = Timestamp::now() + SignedDuration::from_secs(1);
    assert_eq!(store.forget_events(later, 1000, 500).await.unwrap(), 10, "by age");
    assert_eq!(store.exit_at(client.id, later).await.unwrap().because, Some(exit));
    store.record(&noise[..1]).await.unwrap();
    assert_eq!(store.log_ends().await.unwrap().latest, latest + 1, "a number is never given twice");
}

/// Such as one that begins in 1970 at each boot, until somebody tells it the time.
pub(crate) async fn an_event_of_a_clock_that_was_behind_takes_none_before_it_along(store: Arc<dyn Store>) {
    let at = |at| NewEvent { at, ..NewEvent::agent(AgentState::Warns, "x") };
    let (now, age) = (Timestamp::now(), SignedDuration::from_hours(48));
    let old = now - SignedDuration::from_hours(72);
    let events = [old, old, now, Timestamp::UNIX_EPOCH, now].map(at);
    store.record(&events).await.unwrap();
    let all: Vec<i64> = store.events_after(0, 100).await.unwrap().iter().map(|event| event.id).collect();
    assert_eq!(store.forget_events(now - age, 1000, 500).await.unwrap(), 2, "those that are old");
    let left: Vec<i64> = store.events_after(0, 100).await.unwrap().iter().map(|event| event.id).collect();
    assert_eq!(left, all[2..]);
    assert_eq!(store.log_ends().await.unwrap().oldest, all[2]);
    assert_eq!(store.forget_events(now - age, 1000, 500).await.unwrap(), 0);
    let later = now + SignedDuration::from_secs(1);
    assert_eq!(store.forget_events(later, 1000, 500).await.unwrap(), 3, "it goes with the others");
}

pub(crate) async fn what_the_agent_tells_is_written_with_how_far_it_was_heard(store: Arc<dyn Store>) {
    assert_eq!(store.heard().await.unwrap(), None);
    let heard = |run, number| Heard { run: uuid::Uuid::from_u128(run), number };
    for (number, run) in [(1, 1), (2, 1), (1, 2)] {
        store.record_news(heard(run, number), &[NewEvent::agent(AgentState::Warns, "x")]).await.unwrap();
        assert_eq!(store.heard().await.unwrap(), Some(heard(run, number)));
    }
    assert_eq!(store.events_after(0, 100).await.unwrap().len(), 3);
}

pub(crate) async fn who_waits_for_what_is_written_is_told_of_each_commit(store: Arc<dyn Store>) {
    let mut written = store.written();
    written.borrow_and_update();
    store.create_client(new_client(3)).await.unwrap();
    assert!(written.has_changed().unwrap());
    written.borrow_and_update();
    conflict(store.create_client(new_client(3)).await);
    assert!(!written.has_changed().unwrap(), "nothing was committed");
}
