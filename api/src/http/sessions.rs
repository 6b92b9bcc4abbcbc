//! Sessions: who has logged in, and for how long that is believed.

use jiff::{SignedDuration, Timestamp};
use pgw_core::redact::Secret;

use super::auth::hash;
use super::error::Error;
use crate::credentials::random_text;
use crate::store::{KnownUser, Session, Store};

/// Without being used.
const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// However much it is used.
pub(super) const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So seldom is it written down that it is used.
const NOTED: SignedDuration = SignedDuration::from_mins(5);

/// A new session, and what its cookie holds. None: the password was changed just now.
pub(super) async fn open(store: &dyn Store, user: &KnownUser) -> Result<Option<(Session, Secret)>, Error> {
    let now = Timestamp::now();
    store.forget_sessions(now - IDLE, now - LONGEST).await?;
    let text = random_text()?;
    let session = store.open_session(user, &hash(text.expose())).await?;
    Ok(session.map(|session| (session, text)))
}

/// The session behind this hash, if there is one that still holds.
pub(super) async fn known(store: &dyn Store, hash: &[u8; 32]) -> Result<Option<Session>, Error> {
    let now = Timestamp::now();
    let session = store.session(hash).await?.filter(|session| holds(session, now));
    if session.as_ref().is_some_and(|session| now.duration_since(session.seen_at) > NOTED) {
        // A session is not refused because it cannot be written down that it is used.
        if let Err(error) = store.touch_session(hash).await {
            tracing::warn!(%error, "the use of a session cannot be noted");
        }
    }
    Ok(session)
}

pub(super) fn ends(session: &Session) -> Timestamp {
    session.opened_at + LONGEST
}

fn holds(session: &Session, now: Timestamp) -> bool {
    now < ends(session) && now < session.seen_at + IDLE
}

#[cfg(test)]
mod tests {
    use pgw_core::ids::UserId;

    use super::*;
    use crate::store::{Role, User};

    #[test]
    fn a_session_holds_while_it_is_used_and_no_longer_than_a_week() {
        let now = Timestamp::now();
        let user = User {
            id: UserId(uuid::Uuid::nil()),
            name: "alice".into(),
            role: Role::Viewer,
            revision: 1,
            last_login_at: None,
            created_at: now,
            updated_at: now,
        };
        let minute = SignedDuration::from_mins(1);
        for (opened, seen, want) in [
            (minute, minute, true),
            (IDLE * 3, IDLE - minute, true),
            (IDLE * 3, IDLE, false),
            (LONGEST - minute, minute, true),
            (LONGEST, minute, false),
        ] {
            let session = Session { user: user.clone(), opened_at: now - opened, seen_at: now - seen };
            assert_eq!(holds(&session, now), want, "opened {opened} ago, seen {seen} ago");
        }
    }
}
