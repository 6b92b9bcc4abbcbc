//! Passwords of people: argon2id. It takes memory and time, which is what it is for, so there is
//! one at a time, away from the threads that answer.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use pgw_core::redact::Secret;
use tokio::sync::Semaphore;

/// In characters. Shorter ones are guessed.
pub const SHORTEST_PASSWORD: usize = 12;
/// In characters. Nobody types more.
pub const LONGEST_PASSWORD: usize = 1024;
/// Each takes 19 MiB while it is at work.
const AT_A_TIME: usize = 1;

#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    #[error("a password cannot be hashed: {0}")]
    Hash(String),
    #[error("the process stops")]
    Stopping,
}

#[derive(Clone)]
pub struct Passwords {
    argon: Argon2<'static>,
    /// What a password is compared with whose user does not exist: that takes as long.
    nobodys: Secret,
    turns: Arc<Semaphore>,
}

impl Passwords {
    /// With the cost that is recommended today.
    pub fn new() -> Result<Self, PasswordError> {
        Self::costing(Params::default())
    }

    pub fn costing(params: Params) -> Result<Self, PasswordError> {
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobodys = hash(&argon, &Secret::new("nobody has this password"))?;
        Ok(Self { argon, nobodys, turns: Arc::new(Semaphore::new(AT_A_TIME)) })
    }

    /// As a PHC string, with a salt of its own.
    pub async fn hash(&self, password: Secret) -> Result<Secret, PasswordError> {
        self.in_turn(move |argon, _| hash(argon, &password)).await
    }

    /// Is this the password behind `known`? For nobody it never is.
    pub async fn verify(&self, password: Secret, known: Option<Secret>) -> Result<bool, PasswordError> {
        self.in_turn(move |argon, nobodys| {
            let parsed = PasswordHash::new(known.as_ref().unwrap_or(nobodys).expose());
            let parsed = parsed.map_err(|error| PasswordError::Hash(error.to_string()))?;
            let same = argon.verify_password(password.expose().as_bytes(), &parsed).is_ok();
            Ok(same && known.is_some())
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>, &Secret) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_closed| PasswordError::Stopping)?;
        let Self { argon, nobodys, .. } = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // Until it is done, also where nobody waits for it any more.
            let _turn = turn;
            work(&argon, &nobodys)
        });
        done.await.map_err(|_stopped| PasswordError::Stopping)?
    }
}

fn hash(argon: &Argon2<'static>, password: &Secret) -> Result<Secret, PasswordError> {
    let hashed = argon.hash_password(password.expose().as_bytes());
    hashed
        .map(|hashed| Secret::new(hashed.to_string()))
        .map_err(|error| PasswordError::Hash(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Passwords {
        Passwords::costing(Params::new(Params::MIN_M_COST, 1, 1, None).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let passwords = cheap();
        let password = || Secret::new("correct horse battery");
        let (one, two) =
            (passwords.hash(password()).await.unwrap(), passwords.hash(password()).await.unwrap());
        assert_ne!(one, two, "each has a salt of its own");
        assert!(one.expose().starts_with("$argon2id$v=19$"));
        assert!(passwords.verify(password(), Some(one.clone())).await.unwrap());
        assert!(!passwords.verify(Secret::new("correct horse batterz"), Some(one)).await.unwrap());
        assert!(passwords.verify(password(), Some(Secret::new("damaged"))).await.is_err());
    }

    #[tokio::test]
    async fn nobodys_password_is_compared_all_the_same_and_never_right() {
        assert!(!cheap().verify(Secret::new("nobody has this password"), None).await.unwrap());
    }

    #[test]
    fn the_usual_cost_is_the_recommended_one() {
        let nobodys = Passwords::new().unwrap().nobodys;
        assert!(nobodys.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "19 MiB, two passes");
    }
}
