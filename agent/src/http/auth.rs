//! Who may ask: the API with the internal token, the operator's token of the environment, and
//! everybody for whose token or session the API vouches. A viewer reads, an operator has a drill
//! made, and the rest is for admins.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Method, header};
use pgw_core::browser::{Asked, Whence, session_of};
use pgw_core::redact::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::api::{ApiError, Given, Role, Voucher, internal_token};

/// So long a revoked token still reads here; what writes is asked for each time.
const REMEMBERED: Duration = Duration::from_secs(5);
/// Who has logged out has left the desk.
const SESSION_REMEMBERED: Duration = Duration::from_secs(1);
/// Each entry is an answer of the API; strangers with many tokens must not fill the memory.
const MOST_REMEMBERED: usize = 256;
/// Nor may they keep the API busy.
const MOST_QUESTIONS: usize = 4;
const LONGEST_TOKEN: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no known token was given; send Authorization: Bearer and a token of pgw-api, or log in there")]
    Unknown,
    #[error("this needs the role {0}")]
    Needs(&'static str),
    #[error("a write with a session's cookie must come from a page of this gateway; programs send a token")]
    Foreign,
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

    /// `path` as the router knows it.
    pub(super) async fn admit(
        &self,
        headers: &HeaderMap,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let given = given(headers).ok_or(Refusal::Unknown)?;
        let role = self.role_of(given, method).await?.ok_or(Refusal::Unknown)?;
        let (least, word) = least(method, path);
        if role < least {
            return Err(Refusal::Needs(word));
        }
        // A cookie comes by itself, whoever's page has the browser ask.
        if matches!(given, Given::Session(_)) && !reads(method) && whence(headers) != Whence::Ours {
            return Err(Refusal::Foreign);
        }
        Ok(())
    }

    async fn role_of(&self, given: Given<'_>, method: &Method) -> Result<Option<Role>, Refusal> {
        if let Given::Token(token) = given
            && self.is_known(token).await
        {
            return Ok(Some(Role::Admin));
        }
        let digest = digest(given);
        let limit = match given {
            Given::Token(_) => REMEMBERED,
            Given::Session(_) => SESSION_REMEMBERED,
        };
        let remembered = || self.remembered(&digest, limit).filter(|_| reads(method));
        if let Some(answer) = remembered() {
            return Ok(answer);
        }
        // It is never closed; were it, one question more would do no harm.
        let _place = self.questions.acquire().await.ok();
        if let Some(answer) = remembered() {
            return Ok(answer);
        }
        let answer = self.voucher.role_of(given).await.map_err(Refusal::CannotTell)?;
        self.remember(digest, answer);
        Ok(answer)
    }

    /// Without the API: the operator's token, and the one that API and agent share.
    async fn is_known(&self, token: &str) -> bool {
        let is = |known: Option<&Secret>| known.is_some_and(|known| same(known, token));
        if is(self.admin_token.as_ref()) || is(self.memory().internal.as_ref()) {
            return true;
        }
        if self.remembered(&digest(Given::Token(token)), REMEMBERED).is_some() {
            return false;
        }
        // The API may have made it, or made it anew, since it was last read.
        let Ok(internal) = internal_token(&self.token_file).await else { return false };
        let matches = same(&internal, token);
        self.memory().internal = Some(internal);
        matches
    }

    fn remembered(&self, digest: &[u8; 32], limit: Duration) -> Option<Option<Role>> {
        let memory = self.memory();
        let (at, answer) = memory.answers.get(digest)?;
        (at.elapsed() < limit).then_some(*answer)
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

/// The least role for a call, and its word.
fn least(method: &Method, path: &str) -> (Role, &'static str) {
    match path {
        _ if reads(method) => (Role::Viewer, "viewer"),
        "/agent/drill" => (Role::Operator, "operator"),
        _ => (Role::Admin, "admin"),
    }
}

fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn whence(headers: &HeaderMap) -> Whence {
    Asked::of(|name| headers.get(name).and_then(|value| value.to_str().ok())).whence()
}

/// A token that is given counts, also if it is wrong; else the cookie.
fn given(headers: &HeaderMap) -> Option<Given<'_>> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return bearer(value).map(Given::Token);
    }
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    session_of(lines).map(Given::Session)
}

fn digest(given: Given<'_>) -> [u8; 32] {
    match given {
        Given::Token(token) => Sha256::digest(token).into(),
        Given::Session(session) => {
            Sha256::new().chain_update("session ").chain_update(session).finalize().into()
        }
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
