//! What has happened and is not written down yet, in steps of several widths. Bounded: when it
//! cannot be written down for long, the oldest of the finest is given up first.

use std::collections::BTreeMap;

use pgw_core::control::Sum;

use crate::store::traffic::{HealthSum, Step};

/// Entries of one width. 1,000 clients that never rest make 4,000 in a minute.
const MOST: usize = 20_000;

pub(super) trait Gather: Copy {
    fn gather(&mut self, other: Self);
}

impl Gather for Sum {
    fn gather(&mut self, other: Self) {
        self.add(other);
    }
}

impl Gather for HealthSum {
    fn gather(&mut self, other: Self) {
        self.add(other);
    }
}

#[derive(Debug)]
pub(super) struct Series<K, V> {
    steps: [OfWidth<K, V>; 3],
}

/// By the second in which the step began.
type OfWidth<K, V> = (Step, BTreeMap<(i64, K), V>);

/// One entry of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<K, V> {
    pub(super) width: i64,
    pub(super) at: i64,
    pub(super) key: K,
    pub(super) value: V,
}

impl<K: Ord + Copy, V: Gather> Series<K, V> {
    pub(super) fn new(steps: [Step; 3]) -> Self {
        Self { steps: steps.map(|step| (step, BTreeMap::new())) }
    }

    pub(super) fn add(&mut self, second: i64, key: K, value: V) {
        for (step, entries) in &mut self.steps {
            put(entries, (step.begin(second), key), value);
        }
    }

    /// Everything, of every width; nothing is left.
    pub(super) fn take(&mut self) -> Vec<Entry<K, V>> {
        let mut all = Vec::new();
        for (Step { width, .. }, entries) in &mut self.steps {
            let entries = std::mem::take(entries).into_iter();
            all.extend(entries.map(|((at, key), value)| Entry { width: *width, at, key, value }));
        }
        all
    }

    /// What could not be written down, to what has come meanwhile.
    pub(super) fn put_back(&mut self, all: impl IntoIterator<Item = Entry<K, V>>) {
        for Entry { width, at, key, value } in all {
            let of_width = self.steps.iter_mut().find(|(step, _)| step.width == width);
            if let Some((_, entries)) = of_width {
                put(entries, (at, key), value);
            }
        }
    }

    pub(super) fn of_width(&self, width: i64) -> impl Iterator<Item = (i64, K, V)> {
        let entries = self.steps.iter().filter(move |(step, _)| step.width == width);
        entries.flat_map(|(_, entries)| entries.iter().map(|((at, key), value)| (*at, *key, *value)))
    }
}

fn put<K: Ord + Copy, V: Gather>(entries: &mut BTreeMap<(i64, K), V>, key: (i64, K), value: V) {
    entries.entry(key).and_modify(|known| known.gather(value)).or_insert(value);
    if entries.len() > MOST {
        entries.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Step; 3] =
        [Step { width: 10, kept: 100 }, Step { width: 100, kept: 1000 }, Step { width: 1000, kept: 10_000 }];

    fn one(bytes_up: u64) -> Sum {
        Sum { connections: 1, bytes_up, bytes_down: 0 }
    }

    fn total(series: &Series<u8, Sum>, width: i64) -> u64 {
        series.of_width(width).map(|(.., sum)| sum.bytes_up).sum()
    }

    #[test]
    fn each_byte_is_in_one_step_of_each_width() {
        let mut series = Series::new(STEPS);
        for second in [0, 9, 10, 99, 100, 1001] {
            series.add(second, 1, one(1));
            series.add(second, 2, one(10));
        }
        for (width, steps) in [(10, 5), (100, 3), (1000, 2)] {
            assert_eq!(total(&series, width), 66, "{width}");
            assert_eq!(series.of_width(width).count(), steps * 2, "{width}");
        }
    }

    #[test]
    fn what_could_not_be_written_down_is_added_to_what_came_meanwhile() {
        let mut series = Series::new(STEPS);
        series.add(5, 1, one(1));
        let taken = series.take();
        assert_eq!((taken.len(), total(&series, 10)), (3, 0));
        series.add(6, 1, one(2));
        series.put_back(taken);
        for width in [10, 100, 1000] {
            assert_eq!(
                series.of_width(width).collect::<Vec<_>>(),
                [(0, 1, Sum { connections: 2, bytes_up: 3, bytes_down: 0 })]
            );
        }
    }

    #[test]
    fn when_nothing_can_be_written_the_oldest_fine_steps_go_and_the_coarse_ones_stay() {
        let mut series = Series::new(STEPS);
        let steps = i64::try_from(MOST).unwrap() + 500;
        for step in 0..steps {
            series.add(step * 10, 1, one(1));
        }
        assert_eq!(series.of_width(10).count(), MOST);
        assert_eq!(series.of_width(10).next().unwrap().0, 5_000, "the oldest went");
        assert_eq!(total(&series, 1000), u64::try_from(steps).unwrap(), "and is in the coarse steps");
    }
}
