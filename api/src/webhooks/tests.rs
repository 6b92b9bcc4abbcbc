use async_trait::async_trait;
use jiff::SignedDuration;
use pgw_core::redact::Secret;

use super::fake::{FakePost, failed};
use super::sign::Signed;
use super::*;
use crate::events::{AgentState, NewEvent, Pump};
use crate::store::open::Opening;
use crate::store::sqlite::SqliteStore;
use crate::store::{Events as _, NewWebhook, Webhook, WebhookPatch, Webhooks as _};

const URL: &str = "http://receiver.example/";

struct House {
    place: tempfile::TempDir,
    store: Arc<SqliteStore>,
    post: Arc<FakePost>,
    stop: CancellationToken,
}

impl House {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let opening = Opening::new("gw1", &place.path().join("secret.key"));
        let store = Arc::new(SqliteStore::open(&place.path().join("pgw.db"), &opening).await.unwrap());
        Self { place, store, post: Arc::default(), stop: CancellationToken::new() }
    }

    /// What pgw-api starts.
    async fn start(&mut self) {
        self.stop = CancellationToken::new();
        let bus = Arc::new(Bus::new("gw1", self.store.log_ends().await.unwrap().latest));
        let pump = Pump { store: self.store.clone(), bus: bus.clone() };
        let webhooks = Webhooks { store: self.store.clone(), bus, post: self.post.clone() };
        tokio::spawn(pump.run(self.stop.clone()));
        tokio::spawn(Arc::new(webhooks).run(self.stop.clone()));
    }

    async fn hook(&self, name: &str, url: &str, kinds: &[Kind]) -> WebhookId {
        let new = NewWebhook {
            name: name.to_owned(),
            url: url.to_owned(),
            kinds: kinds.to_vec(),
            enabled: true,
            secret: Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        };
        self.store.create_webhook(new).await.unwrap().id
    }

    async fn happens(&self, hours_ago: i64) -> i64 {
        let at = Timestamp::now() - SignedDuration::from_hours(hours_ago);
        let event = NewEvent { at, ..NewEvent::agent(AgentState::Silent, "gone") };
        self.store.record(&[event]).await.unwrap();
        self.store.log_ends().await.unwrap().latest
    }

    /// Until what is written down of it is as it should be.
    async fn until(&self, id: WebhookId, what: &str, good: impl Fn(&Webhook) -> bool) -> Webhook {
        let mut written = self.store.written();
        let waiting = async {
            loop {
                written.borrow_and_update();
                let now = self.store.webhook(id).await.unwrap();
                if good(&now) {
                    return now;
                }
                written.changed().await.unwrap();
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        match waited {
            Ok(webhook) => webhook,
            Err(_elapsed) => panic!("{what}: {:?}", self.store.webhook(id).await.unwrap()),
        }
    }

    async fn until_told(&self, id: WebhookId) -> Webhook {
        self.until(id, "all is told", |webhook| webhook.status.waiting == 0).await
    }
}

#[tokio::test]
async fn each_event_is_told_in_order_and_again_until_it_is_taken_also_over_a_restart() {
    let mut house = House::new().await;
    let id = house.hook("alarm", URL, &[Kind::Agent]).await;
    let (first, second) = (house.happens(0).await, house.happens(0).await);
    house.post.answers.lock().unwrap().push_back(failed("it answered 500"));
    house.start().await;
    let failing = house.until(id, "it fails", |webhook| webhook.status.failing_since.is_some()).await;
    assert_eq!(failing.status.last_error.as_deref(), Some("it answered 500"));
    let status = house.until_told(id).await.status;
    assert_eq!(house.post.ids(URL), [first, first, second]);
    assert_eq!((status.failing_since, status.last_error, status.last_ok_at.is_some()), (None, None, true));
    let messages: Vec<String> =
        house.post.told.lock().unwrap().iter().map(|told| told.message.clone()).collect();
    assert_eq!(messages[0], messages[1], "the same event is the same message");
    assert_ne!(messages[1], messages[2]);

    house.stop.cancel();
    let third = house.happens(0).await;
    house.start().await;
    house.until_told(id).await;
    assert_eq!(house.post.ids(URL), [first, first, second, third], "and nothing else again");
    assert!(house.place.path().exists());
}

#[tokio::test]
async fn one_that_hangs_keeps_nobody_else_waiting() {
    let mut house = House::new().await;
    let stuck = house.hook("stuck", "http://stuck.example/", &[]).await;
    *house.post.hangs.lock().unwrap() = Some("http://stuck.example/".to_owned());
    house.start().await;
    let other = house.hook("other", URL, &[Kind::Agent]).await;
    let events = [house.happens(0).await, house.happens(0).await];
    house.until_told(other).await;
    assert_eq!(house.post.ids(URL), events, "one that was made meanwhile is told from then on");
    assert!(house.store.webhook(stuck).await.unwrap().status.waiting >= 2);
}

#[tokio::test]
async fn who_wants_nothing_more_is_switched_off_and_it_is_told() {
    let mut house = House::new().await;
    let id = house.hook("alarm", URL, &[Kind::Agent]).await;
    let event = house.happens(0).await;
    house.post.answers.lock().unwrap().push_back(NotTaken::Gone);
    house.start().await;
    let off = house.until(id, "it is switched off", |webhook| !webhook.enabled).await;
    assert!(off.status.last_error.is_some_and(|why| why.contains("410")));
    house.happens(0).await;
    let on = WebhookPatch { enabled: Some(true), ..WebhookPatch::default() };
    house.store.update_webhook(id, on).await.unwrap();
    let later = house.happens(0).await;
    house.until_told(id).await;
    assert_eq!(house.post.ids(URL), [event, later], "what happened while it was off is told to nobody");
}

/// Says that it wants nothing more, while its operator gives the webhook another address, or removes it.
struct LeavesMeanwhile {
    store: Arc<SqliteStore>,
    id: WebhookId,
    address: Option<&'static str>,
}

#[async_trait]
impl Post for LeavesMeanwhile {
    async fn post(&self, _: &str, _: &Signed, _: Vec<u8>) -> Result<u16, NotTaken> {
        match self.address.map(str::to_owned) {
            Some(url) => {
                let moved = WebhookPatch { url: Some(url), ..WebhookPatch::default() };
                self.store.update_webhook(self.id, moved).await.unwrap();
            }
            None => self.store.remove_webhook(self.id, None).await.unwrap(),
        }
        Err(NotTaken::Gone)
    }
}

#[tokio::test]
async fn an_old_address_that_wants_nothing_more_does_not_switch_off_the_new_one() {
    for address in [Some("http://new.example/"), None] {
        let house = House::new().await;
        let id = house.hook("alarm", URL, &[Kind::Agent]).await;
        house.happens(0).await;
        let post = Arc::new(LeavesMeanwhile { store: house.store.clone(), id, address });
        let bus = Arc::new(Bus::new("gw1", house.store.log_ends().await.unwrap().latest));
        Teller::begin(id, house.store.clone(), bus, post).await;
        match (house.store.webhook(id).await, address) {
            (Ok(moved), Some(address)) => {
                assert_eq!((moved.url.as_str(), moved.enabled), (address, true));
                assert_eq!(
                    moved.status.last_error, None,
                    "what the old address said is not said of the new one"
                );
            }
            (gone, address) => assert!(matches!(gone, Err(StoreError::NotFound(_))) && address.is_none()),
        }
    }
}

#[tokio::test]
async fn what_nobody_took_for_a_day_is_given_up_and_it_is_said() {
    let mut house = House::new().await;
    let id = house.hook("alarm", URL, &[Kind::Agent]).await;
    let old = house.happens(30).await;
    house.happens(25).await;
    let fresh = house.happens(1).await;
    house.post.answers.lock().unwrap().push_back(failed("it answered 500"));
    house.start().await;
    let status = house.until_told(id).await.status;
    assert_eq!(
        (status.given_up, house.post.ids(URL)),
        (2, vec![old, fresh]),
        "but each was tried or its queue was"
    );
}
