//! Users, their sessions, and answers that are kept.

use pgw_core::ids::UserId;

use super::*;

fn new_user(name: &str, role: Role) -> NewUser {
    NewUser { name: name.to_owned(), role, password: Secret::new(format!("$argon2id$of {name}")) }
}

async fn known(store: &dyn Store, name: &str) -> KnownUser {
    store.user_by_name(name).await.unwrap().unwrap()
}

pub(crate) async fn a_user_is_found_by_name_changed_and_gone(store: Arc<dyn Store>) {
    assert!(!store.has_users().await.unwrap());
    let alice = store.create_first_user(new_user("alice", Role::Admin)).await.unwrap();
    assert_eq!(conflict(store.create_first_user(new_user("eve", Role::Admin)).await), Conflict::SetUp);
    let taken = store.create_user(new_user("alice", Role::Viewer)).await;
    assert_eq!(conflict(taken), Conflict::NameTaken("user"));
    let bob = store.create_user(new_user("bob", Role::Operator)).await.unwrap();
    assert_eq!((alice.revision, alice.last_login_at), (1, None));
    assert_eq!(store.user(bob.id).await.unwrap(), bob);
    let found = known(store.as_ref(), "bob").await;
    assert_eq!((&found.user, found.password.expose()), (&bob, "$argon2id$of bob"));
    assert!(store.user_by_name("Bob").await.unwrap().is_none());

    let listed = store.users(&ListQuery { limit: 1, ..ListQuery::default() }).await.unwrap();
    assert_eq!((listed.items, listed.next.map(|cursor| cursor.id)), (vec![alice.clone()], Some(alice.id.0)));
    let query = ListQuery { limit: 9, q: Some("BO".into()), ..ListQuery::default() };
    assert_eq!(store.users(&query).await.unwrap().items, std::slice::from_ref(&bob));

    let patch = UserPatch { name: Some("robert".into()), role: Some(Role::Viewer), ..UserPatch::default() };
    let robert = store.update_user(bob.id, patch).await.unwrap();
    assert_eq!((robert.name.as_str(), robert.role, robert.revision), ("robert", Role::Viewer, 2));
    store.remove_user(bob.id, None).await.unwrap();
    not_found(store.user(bob.id).await);
    not_found(store.update_user(bob.id, UserPatch::default()).await);
    not_found(store.remove_user(UserId(uuid::Uuid::nil()), None).await);
}

pub(crate) async fn a_change_of_a_former_revision_changes_nothing(store: Arc<dyn Store>) {
    let alice = store.create_user(new_user("alice", Role::Viewer)).await.unwrap();
    let patch = |if_revision| UserPatch { name: Some("al".into()), if_revision, ..UserPatch::default() };
    let now = store.update_user(alice.id, patch(Some(1))).await.unwrap();
    assert_eq!(now.revision, 2);
    for stale in [
        store.update_user(alice.id, patch(Some(1))).await.map(drop),
        store.remove_user(alice.id, Some(1)).await,
    ] {
        assert!(matches!(stale, Err(StoreError::Stale { revision: 2 })), "{stale:?}");
    }
    assert_eq!(store.user(alice.id).await.unwrap(), now);
    store.remove_user(alice.id, Some(2)).await.unwrap();
}

pub(crate) async fn the_last_admin_is_neither_removed_nor_demoted(store: Arc<dyn Store>) {
    let alice = store.create_user(new_user("alice", Role::Admin)).await.unwrap();
    store.create_user(new_user("olga", Role::Operator)).await.unwrap();
    let demoted = || UserPatch { role: Some(Role::Operator), ..UserPatch::default() };
    assert_eq!(conflict(store.remove_user(alice.id, None).await), Conflict::LastAdmin);
    assert_eq!(conflict(store.update_user(alice.id, demoted()).await), Conflict::LastAdmin);
    let bob = store.create_user(new_user("bob", Role::Admin)).await.unwrap();
    store.update_user(alice.id, demoted()).await.unwrap();
    assert_eq!(conflict(store.remove_user(bob.id, None).await), Conflict::LastAdmin);
}

pub(crate) async fn a_session_ends_with_what_it_was_opened_for(store: Arc<dyn Store>) {
    store.create_user(new_user("root", Role::Admin)).await.unwrap();
    let alice = store.create_user(new_user("alice", Role::Admin)).await.unwrap();
    let open = async |hash: u8| {
        let session = store.open_session(&known(store.as_ref(), "alice").await, &[hash; 32]).await.unwrap();
        assert_eq!(session.unwrap().user.id, alice.id);
    };
    let there = async |hash: u8| store.session(&[hash; 32]).await.unwrap().is_some();
    open(1).await;
    open(2).await;
    store.end_session(&[1; 32]).await.unwrap();
    assert_eq!((there(1).await, there(2).await), (false, true));
    let before = known(store.as_ref(), "alice").await;
    assert!(before.user.last_login_at.is_some());
    for patch in [
        UserPatch { role: Some(Role::Viewer), ..UserPatch::default() },
        UserPatch { password: Some(Secret::new("$argon2id$another")), ..UserPatch::default() },
    ] {
        open(3).await;
        let harmless = UserPatch { name: Some("alice".into()), ..UserPatch::default() };
        store.update_user(alice.id, harmless).await.unwrap();
        assert!(there(3).await, "its user's name is no reason");
        store.update_user(alice.id, patch).await.unwrap();
        assert!(!there(3).await);
    }
    assert!(store.open_session(&before, &[4; 32]).await.unwrap().is_none(), "of a former password");
    open(5).await;
    store.remove_user(alice.id, None).await.unwrap();
    assert!(!there(5).await);
}

pub(crate) async fn sessions_are_forgotten_when_they_are_old_or_too_many(store: Arc<dyn Store>) {
    store.create_user(new_user("alice", Role::Admin)).await.unwrap();
    let alice = known(store.as_ref(), "alice").await;
    let open = async |hash: u8| store.open_session(&alice, &[hash; 32]).await.unwrap().unwrap();
    for hash in 0..40 {
        open(hash).await;
    }
    let mut kept = 0;
    for hash in 0..40 {
        kept += usize::from(store.session(&[hash; 32]).await.unwrap().is_some());
    }
    assert_eq!(kept, 32);
    let last = open(99).await;
    store.touch_session(&[99; 32]).await.unwrap();
    let (long_ago, soon) = (
        last.opened_at - jiff::SignedDuration::from_hours(1),
        last.opened_at + jiff::SignedDuration::from_secs(5),
    );
    store.forget_sessions(long_ago, long_ago).await.unwrap();
    assert!(store.session(&[99; 32]).await.unwrap().is_some());
    store.forget_sessions(soon, long_ago).await.unwrap();
    assert!(store.session(&[99; 32]).await.unwrap().is_none());
}

pub(crate) async fn an_answer_is_claimed_once_kept_and_given_to_the_same_request(store: Arc<dyn Store>) {
    let (key, request, other) = ([1; 32], [2; 32], [3; 32]);
    let claim = async |request: &[u8; 32]| store.claim_reply(&key, request).await.unwrap();
    let reply = Reply { status: 201, headers: vec![("location".into(), "/x".into())], body: "{}".into() };
    assert_eq!(claim(&request).await, Claim::Yours);
    assert_eq!(claim(&request).await, Claim::UnderWay);
    assert_eq!(claim(&other).await, Claim::OtherRequest);
    store.release_reply(&key).await.unwrap();
    assert_eq!(claim(&request).await, Claim::Yours);
    store.keep_reply(&key, &request, &reply).await.unwrap();
    assert_eq!(claim(&request).await, Claim::Replied(reply));
    assert_eq!(claim(&other).await, Claim::OtherRequest);
    assert_eq!(store.claim_reply(&[9; 32], &request).await.unwrap(), Claim::Yours);
}

pub(crate) async fn of_many_who_claim_the_same_answer_one_gets_it(store: Arc<dyn Store>) {
    let claims = (0..16).map(|_| store.claim_reply(&[1; 32], &[2; 32]));
    let claims = futures_util::future::join_all(claims).await;
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Ok(Claim::Yours))).count(), 1);
    assert_eq!(claims.iter().filter(|claim| matches!(claim, Ok(Claim::UnderWay))).count(), 15);
}
