use super::*;
use crate::events::{AgentState, Kind, NewEvent};

fn new_webhook(name: &str) -> NewWebhook {
    NewWebhook {
        name: name.to_owned(),
        url: "https://example.org/pgw".to_owned(),
        kinds: vec![Kind::MappingState, Kind::Agent],
        enabled: true,
        secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    }
}

async fn something_happens(store: &dyn Store) {
    store.record(&[NewEvent::agent(AgentState::Silent, "gone")]).await.unwrap();
}

pub(crate) async fn a_webhook_is_read_back_without_its_secret_and_changed_by_revision(store: Arc<dyn Store>) {
    let made = store.create_webhook(new_webhook("alarm")).await.unwrap();
    assert_eq!((made.revision, made.has_secret, made.kinds.len()), (1, true, 2));
    let listed = store.webhooks(&ListQuery { limit: 10, ..ListQuery::default() }).await.unwrap().items;
    assert_eq!(
        (listed.len(), listed[0].id, listed[0].status.clone()),
        (1, made.id, WebhookStatus::default())
    );
    let addressee = store.webhook_target(made.id).await.unwrap();
    assert_eq!(addressee.secret.expose(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    assert_eq!(conflict(store.create_webhook(new_webhook("alarm")).await), Conflict::NameTaken("webhook"));

    let patch = |if_revision| WebhookPatch { kinds: Some(vec![]), if_revision, ..WebhookPatch::default() };
    assert!(matches!(
        store.update_webhook(made.id, patch(Some(9))).await,
        Err(StoreError::Stale { revision: 1 })
    ));
    let changed = store.update_webhook(made.id, patch(Some(1))).await.unwrap();
    assert_eq!((changed.revision, changed.kinds), (2, vec![]));
    assert_eq!(store.update_webhook(made.id, patch(None)).await.unwrap().revision, 2, "nothing was another");
    assert!(matches!(store.remove_webhook(made.id, Some(1)).await, Err(StoreError::Stale { revision: 2 })));
    store.remove_webhook(made.id, Some(2)).await.unwrap();
    not_found(store.webhook(made.id).await);
    not_found(store.webhook_target(made.id).await);
}

pub(crate) async fn a_webhook_is_told_what_happens_after_it_was_made_and_from_where_it_was_told(
    store: Arc<dyn Store>,
) {
    something_happens(&*store).await;
    let id = store.create_webhook(new_webhook("alarm")).await.unwrap().id;
    let untold = async || {
        let told = store.webhook_target(id).await.unwrap().delivery.told;
        let events = store.own_events_after(told, 100).await.unwrap();
        (
            events.iter().map(|event| event.id).collect::<Vec<_>>(),
            store.webhook(id).await.unwrap().status.waiting,
        )
    };
    assert_eq!(untold().await, (vec![], 0), "the past is none of its business");
    for _ in 0..3 {
        something_happens(&*store).await;
    }
    store.create_client(new_client(3)).await.unwrap();
    let (events, waiting) = untold().await;
    assert_eq!((events.len(), waiting), (5, 3), "a client's registration and its way out are of other kinds");

    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let failing = Delivery {
        told: events[0],
        last_ok_at: Some(now),
        failing_since: Some(now),
        last_error: Some("it answered 500".into()),
        given_up: 2,
    };
    store.record_delivery(id, &failing).await.unwrap();
    assert_eq!(store.webhook_target(id).await.unwrap().delivery, failing);
    let status = store.webhook(id).await.unwrap().status;
    let wanted = WebhookStatus {
        last_ok_at: Some(now),
        failing_since: Some(now),
        last_error: Some("it answered 500".into()),
        waiting: 2,
        given_up: 2,
    };
    assert_eq!(status, wanted);

    let switched = |enabled| WebhookPatch { enabled: Some(enabled), ..WebhookPatch::default() };
    store.update_webhook(id, switched(false)).await.unwrap();
    something_happens(&*store).await;
    store.update_webhook(id, switched(true)).await.unwrap();
    assert_eq!(untold().await, (vec![], 0), "what happened while it was off wakes nobody");
    store.record_delivery(id, &failing).await.unwrap();
    assert_eq!(untold().await, (vec![], 0), "nor does a late word of a former time");
    something_happens(&*store).await;
    assert_eq!(untold().await.1, 1);
    store.remove_webhook(id, None).await.unwrap();
    store.record_delivery(id, &failing).await.unwrap();
}
