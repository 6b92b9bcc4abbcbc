//! Who asked for a write.

use tokio::task_local;

task_local! {
    static CALLER: By;
}

/// Who asked for a write, in the words of the audit: `user alice`, `token ci`, `PGW_ADMIN_TOKEN`.
/// Nobody, where pgw does something by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct By(pub Option<String>);

impl By {
    pub fn named(who: impl Into<String>) -> Self {
        Self(Some(who.into()))
    }

    /// For whom this task works. It belongs to the call and not to each write, so that no handler
    /// can forget to hand it on; a task that is spawned works for nobody until it is told.
    pub fn current() -> Self {
        CALLER.try_with(Self::clone).unwrap_or_default()
    }

    /// Everything that is written in `work` is written for this one.
    pub async fn during<F: Future>(self, work: F) -> F::Output {
        CALLER.scope(self, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_works_for_whom_it_was_told_and_a_new_one_for_nobody() {
        let alice = By::named("user alice");
        assert_eq!(By::current(), By(None));
        alice
            .clone()
            .during(async {
                assert_eq!(By::current(), alice);
                assert_eq!(tokio::spawn(async { By::current() }).await.unwrap(), By(None));
                By(None).during(async { assert_eq!(By::current(), By(None)) }).await;
                assert_eq!(By::current(), alice);
            })
            .await;
        assert_eq!(By::current(), By(None));
    }
}
