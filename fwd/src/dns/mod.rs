//! DNS for the client: its questions, whomever it asked, are answered through its own
//! upstreams and by no other way (G2). No name is logged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgw_core::flag::FlagFile;
use tokio::sync::{OnceCell, Semaphore};

use crate::serve::{Shared, same_exits};
use cache::Cache;
use detours::Detours;
use exchange::exchange;
use idle::IdleWires;
use message::{Answer, Heard, Key, Question, hear};

mod cache;
mod detours;
mod exchange;
mod idle;
mod message;
pub(crate) mod tcp;
pub(crate) mod udp;
mod wire;

#[cfg(test)]
mod tests;

pub(crate) use message::Carrier;

/// DNS has this port, whoever is asked.
pub(crate) const PORT: u16 = 53;
/// Questions that wait for an answer; who asks more is not heard.
const MAX_QUESTIONS: usize = 256;
/// Questions that resolvers are asked at the same time. Each has one connection, and one more for each
/// moment of silence.
const MAX_EXCHANGES: usize = 16;

/// What a forwarder knows of its client's names.
pub(crate) struct Dns {
    state: Mutex<State>,
    questions: Semaphore,
    exchanges: Semaphore,
    idle: IdleWires,
    detours: Detours,
    /// No answer the last time: told once, and not with each question.
    failing: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What the rest was learnt under: answers may depend on the exit.
    flag: Option<Arc<FlagFile>>,
    cache: Cache,
    /// Questions under way: who asks the same waits for the same answer.
    asking: HashMap<Key, Shareable>,
}

type Shareable = Arc<OnceCell<Option<Arc<Answer>>>>;

/// Somebody's wait for an answer; who leaves last forgets the question.
struct Waiting<'a> {
    dns: &'a Dns,
    key: &'a Key,
    cell: Shareable,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            questions: Semaphore::new(MAX_QUESTIONS),
            exchanges: Semaphore::new(MAX_EXCHANGES),
            idle: IdleWires::default(),
            detours: Detours::default(),
            failing: AtomicBool::default(),
        }
    }
}

impl Dns {
    /// What was learnt, if it was learnt under the exits of this flag file; else nothing is.
    fn state(&self, flag: &Arc<FlagFile>) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.flag.as_ref().is_some_and(|then| Arc::ptr_eq(then, flag) || same_exits(then, flag)) {
            *state = State::default();
        }
        state.flag = Some(flag.clone());
        state
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.dns.state.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.cell.initialized() || Arc::strong_count(&self.cell) == 2;
        if last && state.asking.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell)) {
            state.asking.remove(self.key);
        }
    }
}

/// Closes connections that the flag file no longer wants, and old ones. Does not return.
pub(crate) async fn tend(shared: &Shared) {
    let mut flag = shared.flag.clone();
    loop {
        tokio::select! {
            changed = flag.changed() => if changed.is_err() {
                // Nobody is left who could change it.
                return std::future::pending().await;
            },
            () = shared.dns.idle.until_old() => {}
        }
        let now = flag.borrow_and_update().clone();
        shared.dns.idle.close_unwanted(&now);
        let _forgotten = shared.dns.state(&now);
    }
}

/// The answer to what the client sent; None when it gets none.
pub(crate) async fn answer(shared: &Shared, bytes: &[u8], carrier: Carrier) -> Option<Vec<u8>> {
    let question = match hear(bytes) {
        Heard::Question(question) => question,
        Heard::Refused(reply) => return Some(reply),
        Heard::Noise => return None,
    };
    shared.live.dns.questions.fetch_add(1, Ordering::Relaxed);
    let flag = shared.flag.borrow().clone();
    let reply = if flag.dns.is_none() {
        Err(question.refused())
    } else if let Some((answer, age)) = shared.dns.state(&flag).cache.get(&question.key) {
        shared.live.dns.from_cache.fetch_add(1, Ordering::Relaxed);
        Ok((answer, age))
    } else {
        look_up(shared, &flag, &question).await.map(|answer| (answer, Duration::ZERO))
    };
    match reply {
        Ok((answer, age)) => question.reply(&answer, age, carrier),
        Err(failed) => {
            shared.live.dns.failed.fetch_add(1, Ordering::Relaxed);
            failed
        }
    }
}

/// Asks the resolvers, once for all who ask the same. The error is what to say instead.
async fn look_up(
    shared: &Shared,
    flag: &Arc<FlagFile>,
    question: &Question,
) -> Result<Arc<Answer>, Option<Vec<u8>>> {
    // Above the bound silence is the answer: who asks again later is heard.
    let _place = shared.dns.questions.try_acquire().map_err(|_crowded| None)?;
    let key = &question.key;
    let cell = shared.dns.state(flag).asking.entry(key.clone()).or_default().clone();
    let waiting = Waiting { dns: &shared.dns, key, cell };
    let found = waiting.cell.get_or_init(|| fetch(shared, flag, key)).await.clone();
    found.ok_or_else(|| question.failed())
}

async fn fetch(shared: &Shared, flag: &Arc<FlagFile>, key: &Key) -> Option<Arc<Answer>> {
    let dns = &shared.dns;
    match Box::pin(exchange(shared, flag, key)).await {
        Ok(answer) => {
            if dns.failing.swap(false, Ordering::Relaxed) {
                tracing::info!(port = flag.port, client = %flag.client.name, "DNS questions are answered again");
            }
            let answer = Arc::new(answer);
            let now = shared.flag.borrow().clone();
            if same_exits(&now, flag) {
                dns.state(&now).cache.put(key, answer.clone());
            }
            Some(answer)
        }
        Err(error) => {
            if !dns.failing.swap(true, Ordering::Relaxed) {
                tracing::warn!(port = flag.port, client = %flag.client.name, error, "DNS questions have no answer");
            }
            None
        }
    }
}
