//! Every value that was measured, by who and what, one per repetition.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde_json::{Map, Value, json};

use super::stats::{median, ratio};

#[derive(Debug)]
pub(crate) struct Samples<Who, What>(BTreeMap<Who, BTreeMap<What, Vec<f64>>>);

impl<Who, What> Default for Samples<Who, What> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Who: Copy + Ord, What: Copy + Ord + Debug> Samples<Who, What> {
    pub(crate) fn add(&mut self, who: Who, what: What, value: f64) {
        self.0.entry(who).or_default().entry(what).or_default().push(value);
    }

    /// What could not be measured keeps its place, so that repetitions stay side by side.
    pub(crate) fn fill(&mut self, who: Who, what: &[What], repetitions: usize) {
        for what in what {
            let values = self.0.entry(who).or_default().entry(*what).or_default();
            values.resize(values.len().max(repetitions), f64::NAN);
        }
    }

    pub(crate) fn of(&self, who: Who, what: What) -> &[f64] {
        self.0.get(&who).and_then(|values| values.get(&what)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn median(&self, who: Who, what: What) -> Option<f64> {
        median(self.of(who, what))
    }

    pub(crate) fn ratio(&self, who: Who, what: What, to: Who) -> Option<f64> {
        ratio(self.of(who, what), self.of(to, what))
    }

    pub(crate) fn has(&self, who: Who) -> bool {
        self.0.contains_key(&who)
    }

    pub(crate) fn json(&self, name: impl Fn(Who) -> &'static str) -> Value {
        let all = self.0.iter().map(|(who, values)| {
            let values: Map<String, Value> =
                values.iter().map(|(what, values)| (format!("{what:?}"), json!(values))).collect();
            (name(*who).to_owned(), Value::Object(values))
        });
        Value::Object(all.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_that_failed_leaves_the_others_side_by_side() {
        let mut samples = Samples::<u8, char>::default();
        for (at, direct) in [10.0, 20.0, 30.0].into_iter().enumerate() {
            samples.add(0, 'r', direct);
            if at != 1 {
                samples.add(1, 'r', direct * 2.0);
            }
            samples.fill(1, &['r'], at + 1);
        }
        assert_eq!(samples.ratio(1, 'r', 0), Some(2.0));
        assert_eq!(samples.median(1, 'r'), Some(40.0));
        assert_eq!(samples.median(2, 'r'), None);
        let written = samples.json(|who| if who == 0 { "direct" } else { "other" });
        assert_eq!(written["other"]["'r'"], json!([20.0, null, 60.0]));
    }
}
