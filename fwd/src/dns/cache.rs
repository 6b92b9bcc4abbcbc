//! What the client's resolvers answered, for as long as it is true: one cache for one client,
//! bounded in entries and in bytes. Who was not asked for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::{Answer, Key};

const MAX_ENTRIES: usize = 1_000;
const MAX_BYTES: usize = 1 << 20;
/// What an entry takes beside its bytes.
const OVERHEAD: usize = 400;

#[derive(Default)]
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// The keys by their last use.
    order: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    answer: Arc<Answer>,
    since: Instant,
    used: u64,
}

impl Cache {
    /// What is known, and for how long it has been.
    pub(super) fn get(&mut self, key: &Key) -> Option<(Arc<Answer>, Duration)> {
        let entry = self.entries.get_mut(key)?;
        let age = entry.since.elapsed();
        if age >= entry.answer.lifetime {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        if let Some(key) = self.order.remove(&entry.used) {
            self.order.insert(self.uses, key);
        }
        entry.used = self.uses;
        Some((entry.answer.clone(), age))
    }

    pub(super) fn put(&mut self, key: &Key, answer: Arc<Answer>) {
        self.remove(key);
        let size = size(key, &answer);
        if answer.lifetime.is_zero() || size > MAX_BYTES {
            return;
        }
        while self.entries.len() >= MAX_ENTRIES || self.bytes + size > MAX_BYTES {
            let Some((_, oldest)) = self.order.pop_first() else { return };
            self.remove(&oldest);
        }
        self.uses += 1;
        self.bytes += size;
        self.order.insert(self.uses, key.clone());
        self.entries.insert(key.clone(), Entry { answer, since: Instant::now(), used: self.uses });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.used);
            self.bytes -= size(key, &entry.answer);
        }
    }
}

fn size(key: &Key, answer: &Answer) -> usize {
    key.size() + answer.wire.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::super::message::{Heard, hear};
    use super::*;
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};

    fn key(name: &str) -> Key {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        let Heard::Question(question) = hear(&message.to_vec().unwrap()) else { panic!() };
        question.key
    }

    fn answer(bytes: usize, seconds: u64) -> Arc<Answer> {
        Arc::new(Answer { wire: vec![0; bytes], lifetime: Duration::from_secs(seconds) })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_told_for_as_long_as_it_is_true_and_no_longer() {
        let mut cache = Cache::default();
        cache.put(&key("a.test."), answer(10, 60));
        cache.put(&key("never.test."), answer(10, 0));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(cache.get(&key("A.TEST.")).unwrap().1, Duration::from_secs(59));
        assert!(cache.get(&key("never.test.")).is_none());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(cache.get(&key("a.test.")).is_none());
        assert_eq!((cache.entries.len(), cache.order.len(), cache.bytes), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_cache_is_bounded_and_keeps_what_is_asked_for() {
        for (count, bytes) in [(MAX_ENTRIES * 2, 10), (100, 60_000)] {
            let mut cache = Cache::default();
            cache.put(&key("kept.test."), answer(10, 60));
            for n in 0..count {
                cache.put(&key(&format!("n{n}.test.")), answer(bytes, 60));
                assert!(cache.get(&key("kept.test.")).is_some());
                assert!(cache.entries.len() <= MAX_ENTRIES && cache.bytes <= MAX_BYTES);
                assert_eq!(cache.entries.len(), cache.order.len());
            }
            assert!(cache.get(&key("n0.test.")).is_none());
        }
        let mut cache = Cache::default();
        cache.put(&key("huge.test."), answer(MAX_BYTES, 60));
        assert_eq!(cache.bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_newer_answer_takes_the_place_of_the_older_one() {
        let mut cache = Cache::default();
        for bytes in [100, 10] {
            cache.put(&key("a.test."), answer(bytes, 60));
        }
        assert_eq!((cache.entries.len(), cache.order.len()), (1, 1));
        assert_eq!(cache.get(&key("a.test.")).unwrap().0.wire.len(), 10);
        assert_eq!(cache.bytes, 10 + OVERHEAD + key("a.test.").size());
    }
}
