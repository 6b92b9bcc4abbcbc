//! Who may ask: the API with the internal token, the operator's token of the environment, and
//! every token that the API vouches for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, Method};
use pgw_core::redact::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::api::{ApiError, Role, Voucher, internal_token};

/// So long a revoked token still reads here.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Each entry is an answer of the API; strangers with many tokens must not fill the memory.
const MOST_REMEMBERED: usize = 256;
/// Nor may they keep the API busy.
const MOST_QUESTIONS: usize = 4;
const LONGEST_TOKEN: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no known token was given; send Authorization: Bearer and a token of pgw-api")]
    Unknown,
    #[error("this token may only read")]
    ReadsOnly,
    #[error("the token is not known here, and pgw-api cannot be asked: {0}")]
    CannotTell(ApiError),
}

pub struct Auth {
    token_file: PathBuf,
    admin_token: Option<Secret>,
    voucher: Arc<dyn Voucher>,
    questions: Semaphore,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    internal: Option<Secret>,
    /// By digest, so that no token of somebody else is kept here.
    answers: HashMap<[u8; 32], (Instant, Option<Role>)>,
}

impl Auth {
    pub fn new(token_file: PathBuf, admin_token: Option<Secret>, voucher: Arc<dyn Voucher>) -> Self {
        let questions = Semaphore::new(MOST_QUESTIONS);
        Self { token_file, admin_token, voucher, questions, memory: Mutex::default() }
    }

    pub(super) async fn admit(&self, header: Option<&HeaderValue>, method: &Method) -> Result<(), Refusal> {
        let token = header.and_then(bearer).ok_or(Refusal::Unknown)?;
        match self.role_of(token).await? {
            Some(Role::Admin) => Ok(()),
            Some(Role::Viewer) if matches!(*method, Method::GET | Method::HEAD) => Ok(()),
            Some(Role::Viewer) => Err(Refusal::ReadsOnly),
            None => Err(Refusal::Unknown),
        }
    }

    async fn role_of(&self, token: &str) -> Result<Option<Role>, Refusal> {
        if self.admin_token.as_ref().is_some_and(|known| same(known, token)) {
            return Ok(Some(Role::Admin));
        }
        if self.memory().internal.as_ref().is_some_and(|known| same(known, token)) {
            return Ok(Some(Role::Admin));
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(answer) = self.remembered(&digest) {
            return Ok(answer);
        }
        // The API may have made it, or made it anew, since it was last read.
        if let Ok(internal) = internal_token(&self.token_file).await {
            let matches = same(&internal, token);
            self.memory().internal = Some(internal);
            if matches {
                return Ok(Some(Role::Admin));
            }
        }
        // It is never closed; were it, one question more would do no harm.
        let _place = self.questions.acquire().await.ok();
        if let Some(answer) = self.remembered(&digest) {
            return Ok(answer);
        }
        let answer = self.voucher.role_of(token).await.map_err(Refusal::CannotTell)?;
        self.remember(digest, answer);
        Ok(answer)
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<Option<Role>> {
        let memory = self.memory();
        let (at, answer) = memory.answers.get(digest)?;
        (at.elapsed() < REMEMBERED).then_some(*answer)
    }

    fn remember(&self, digest: [u8; 32], answer: Option<Role>) {
        let answers = &mut self.memory().answers;
        if answers.len() >= MOST_REMEMBERED {
            answers.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        }
        if answers.len() >= MOST_REMEMBERED {
            answers.clear();
        }
        answers.insert(digest, (Instant::now(), answer));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let fits = (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(token)
}

/// In a time that does not depend on how much of it is right.
fn same(known: &Secret, given: &str) -> bool {
    known.expose().as_bytes().ct_eq(given.as_bytes()).into()
}
