//! One forwarder's process, as far as its counters have been counted.

use std::collections::HashMap;

use pgw_core::control::{Carried, FwdTraffic, NameCount, Sum};
use pgw_core::ids::{ClientId, MappingId};
use tokio::time::Instant;
use uuid::Uuid;

/// Names of which it is remembered how far they have been counted: one that is missing for once,
/// because others were called more, is not counted again from its beginning.
const MOST_NAMES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Source {
    carried: HashMap<Option<MappingId>, Sum>,
    names: Names,
    /// It has counted on since this was last written down.
    pub(super) dirty: bool,
    pub(super) seen: Option<Seen>,
}

/// What it said last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) client: ClientId,
    pub(super) revision: Uuid,
    pub(super) open: u32,
    /// Since the time before; none if it was never asked before.
    pub(super) rate: Option<Rate>,
}

/// Bits in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) up: f64,
    pub(super) down: f64,
}

#[derive(Debug, Default)]
enum Names {
    /// How far this forwarder's names had been counted is not known any more: what it tells first
    /// is where counting begins.
    #[default]
    Unknown,
    Counted(HashMap<String, Sum>),
}

impl Source {
    /// Of a process that is seen for the first time: all that it has counted is news.
    pub(super) fn fresh() -> Self {
        Self { names: Names::Counted(HashMap::new()), ..Self::default() }
    }

    /// Of one that was known before this program began.
    pub(super) fn remembered(carried: &[Carried]) -> Self {
        let carried = carried.iter().map(|carried| (carried.mapping_id, carried.sum)).collect();
        Self { carried, ..Self::default() }
    }

    /// What it has carried since it was last heard.
    pub(super) fn hear(&mut self, told: &FwdTraffic, now: Instant) -> Vec<Carried> {
        let before = std::mem::take(&mut self.carried);
        let mut news = Vec::new();
        for carried in &told.carried {
            let sum = carried.sum.since(before.get(&carried.mapping_id).copied().unwrap_or_default());
            if !sum.is_nothing() {
                news.push(Carried { sum, ..*carried });
            }
            self.carried.insert(carried.mapping_id, carried.sum);
        }
        self.dirty |= !news.is_empty();
        let rate = self.seen.map(|seen| rate(&news, now.saturating_duration_since(seen.at).as_secs_f64()));
        self.seen = Some(Seen {
            at: now,
            client: told.client_id,
            revision: told.revision,
            open: told.open,
            rate: if told.last { Some(Rate::default()) } else { rate },
        });
        news
    }

    /// The same of its names, of which it was asked.
    pub(super) fn hear_names(&mut self, told: &[NameCount]) -> Vec<NameCount> {
        let all = || told.iter().map(|name| (name.name.clone(), name.sum));
        let Names::Counted(before) = &mut self.names else {
            self.names = Names::Counted(all().collect());
            return Vec::new();
        };
        let since = |name: &NameCount| {
            let sum = name.sum.since(before.get(&name.name).copied().unwrap_or_default());
            (!sum.is_nothing()).then(|| NameCount { name: name.name.clone(), sum })
        };
        let news = told.iter().filter_map(since).collect();
        before.extend(all());
        if before.len() > MOST_NAMES {
            *before = all().collect();
        }
        news
    }

    pub(super) fn knows(&self, mapping: MappingId) -> bool {
        self.carried.contains_key(&Some(mapping))
    }

    /// As it is written down.
    pub(super) fn counted(&self) -> Vec<Carried> {
        self.carried.iter().map(|(mapping_id, sum)| Carried { mapping_id: *mapping_id, sum: *sum }).collect()
    }
}

fn rate(news: &[Carried], seconds: f64) -> Rate {
    // Two answers at the same moment say nothing about speed.
    if seconds < 0.1 {
        return Rate::default();
    }
    let mut sum = Sum::default();
    news.iter().for_each(|carried| sum.add(carried.sum));
    #[expect(clippy::cast_precision_loss, reason = "a speed is not exact to the bit")]
    let bits = |bytes: u64| bytes as f64 * 8.0 / seconds;
    Rate { up: bits(sum.bytes_up), down: bits(sum.bytes_down) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in crate::telemetry) fn told(run: u64, carried: &[(u128, u64)]) -> FwdTraffic {
        let carried = carried.iter().map(|(mapping, bytes_down)| Carried {
            mapping_id: Some(MappingId(Uuid::from_u128(*mapping))),
            sum: Sum { connections: 1, bytes_up: 0, bytes_down: *bytes_down },
        });
        FwdTraffic {
            port: 15001,
            run,
            client_id: ClientId(Uuid::from_u128(7)),
            revision: Uuid::nil(),
            draining: false,
            last: false,
            open: 1,
            carried: carried.collect(),
            names: vec![],
        }
    }

    fn bytes(news: &[Carried]) -> Vec<u64> {
        news.iter().map(|carried| carried.sum.bytes_down).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_again_is_counted_once_and_what_was_forgotten_is_counted_anew() {
        let mut source = Source::fresh();
        let mut hear = |carried: &[(u128, u64)]| bytes(&source.hear(&told(1, carried), Instant::now()));
        assert_eq!(hear(&[(1, 100)]), [100]);
        assert_eq!(hear(&[(1, 100)]), [0_u64; 0]);
        assert_eq!(hear(&[(1, 150), (2, 5)]), [50, 5]);
        assert_eq!(hear(&[(2, 5)]), [0_u64; 0], "the first was at rest, and is forgotten");
        assert_eq!(hear(&[(1, 170), (2, 6)]), [170, 1], "and counts from zero when it comes again");
        assert_eq!(hear(&[(1, 20), (2, 6)]), [20], "so it does when it came again unnoticed");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_known_before_counts_on_from_there() {
        let before = told(1, &[(1, 100)]).carried;
        let mut source = Source::remembered(&before);
        assert_eq!(bytes(&source.hear(&told(1, &[(1, 130)]), Instant::now())), [30]);
        assert_eq!(source.counted(), told(1, &[(1, 130)]).carried);
    }

    #[tokio::test(start_paused = true)]
    async fn a_speed_is_what_moved_in_the_time_since_the_last_answer() {
        let mut source = Source::fresh();
        source.hear(&told(1, &[(1, 1_000_000)]), Instant::now());
        assert_eq!(source.seen.unwrap().rate, None, "nobody knows how long the first of them took");
        tokio::time::advance(Duration::from_secs(4)).await;
        source.hear(&told(1, &[(1, 1_001_000)]), Instant::now());
        assert_eq!(source.seen.unwrap().rate, Some(Rate { up: 0.0, down: 2000.0 }));
        tokio::time::advance(Duration::from_secs(4)).await;
        source.hear(&told(1, &[(1, 1_001_000)]), Instant::now());
        assert_eq!(source.seen.unwrap().rate, Some(Rate::default()));
    }

    #[test]
    fn names_count_from_what_was_heard_first_where_nobody_knows_how_far_they_were_counted() {
        let name = |name: &str, connections| NameCount {
            name: name.into(),
            sum: Sum { connections, bytes_up: 0, bytes_down: 0 },
        };
        let one = [name("*.a.example", 5)];
        let more = [name("*.a.example", 7), name("*.b.example", 1)];
        let news = [name("*.a.example", 2), name("*.b.example", 1)];
        let mut known = Source::remembered(&[]);
        assert_eq!(known.hear_names(&one), []);
        assert_eq!(known.hear_names(&more), news);
        let mut fresh = Source::fresh();
        assert_eq!(fresh.hear_names(&one), one);
        assert_eq!(fresh.hear_names(&[]), []);
        assert_eq!(fresh.hear_names(&more), news, "it was missing for once");
    }
}
