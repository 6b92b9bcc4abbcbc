use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use jiff::Timestamp;
use pgw_core::redact::Secret;
use pgw_core::tunnel::Enrolled;

use super::stand_in::{StandIn, session};
use super::*;
use crate::credentials::hashed;
use crate::store::open::Opening;
use crate::store::sqlite::SqliteStore;
use crate::store::{ListQuery, NewTunnelClient};

struct Place {
    link: Link,
    daemon: StandIn,
    client: TunnelClientId,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let opening = Opening::new("gw1", &dir.path().join("secret.key"));
        let store = SqliteStore::open(&dir.path().join("pgw.db"), &opening).await.unwrap();
        let new = NewTunnelClient {
            name: "pi".into(),
            gateway: None,
            note: String::new(),
            enabled: true,
            allowed_ports: Vec::new(),
            max_tunnels: 8,
            max_connections: 100,
            bandwidth: None,
            token: hashed(&Secret::new("of the operator")),
        };
        let store: Arc<dyn Store> = Arc::new(store);
        let client = store.create_tunnel_client(new).await.unwrap().id;
        let parts = Parts {
            store,
            door: stand_in::door(dir.path()),
            forwarders: PortRange::spanning(15_001, 15_999),
            health_token: Some(hashed(&Secret::new("internal"))),
            listening: stand_in::listening,
            reopened: Box::new(|| {}),
        };
        let (link, daemon) = (Link::new(parts, dir.path()), StandIn::start(dir.path()));
        assert_eq!(link.settle().await, Settled::Yes);
        let told = daemon.inside(|inside| inside.desired.health_token.clone());
        assert_eq!(told, Some(hashed(&Secret::new("internal"))));
        Self { link, daemon, client, _dir: dir }
    }
}

/// Drops it when it has been looked at so often.
async fn given_up_after(polls: usize, future: impl Future) {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|cx| {
        left -= 1;
        let is_over = future.as_mut().poll(cx).is_ready() || left == 0;
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn nothing_that_happened_is_lost_with_a_caller_who_goes_away() {
    let place = Place::new().await;
    let (link, client) = (&place.link, place.client);
    let often = 60;
    for n in 1..=often {
        let ended = Some("cable".to_owned());
        link.news().push(SessionNews { client, session: session(n), ended });
        given_up_after(usize::try_from(n).unwrap(), link.settle()).await;
    }
    assert_eq!(link.settle().await, Settled::Yes);
    let query = ListQuery { limit: 500, ..ListQuery::default() };
    let sessions = link.store.tunnel_sessions(client, None, &query).await.unwrap().items;
    assert_eq!(sessions.len(), usize::try_from(often).unwrap());
    assert!(link.news().is_empty());
}

#[tokio::test]
async fn a_code_that_was_used_in_time_counts_also_when_it_is_heard_of_too_late() {
    let place = Place::new().await;
    let (link, daemon, client) = (&place.link, &place.daemon, place.client);
    let enrolment =
        link.store.add_enrolment(client, hashed(&Secret::new("once")), Timestamp::UNIX_EPOCH).await.unwrap();
    let token = hashed(&Secret::new("its own"));
    daemon.inside(|inside| {
        inside.enrolled.push(Enrolled { enrolment, client, token: token.clone() });
        // As long as it was good, it stood in the document.
        inside.desired.revision = uuid::Uuid::from_u128(1);
    });
    assert_eq!(link.settle().await, Settled::Yes);
    assert_eq!(daemon.inside(|inside| inside.desired.clients[0].token.clone()), Some(token));
    assert!(link.store.tunnel_client(client).await.unwrap().enrolled);
}
