//! Every value that was measured, by style, measure and number of clients.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::bench::stats::{median, percentile, ratio};

/// How a ruleset says who is who.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Style {
    /// Ours: the rules are the same whoever is registered.
    Sets,
    /// What scripts write.
    Rules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    /// Milliseconds of one nft that loads everything.
    Load,
    /// KiB by which the kernel's own memory grew.
    Memory,
    /// Milliseconds of one nft that adds or removes one client.
    Added,
    /// With the look for what is to be removed.
    Removed,
    /// New connections a second: of a mapped device, by the redirect, and of one that is not
    /// registered, forwarded.
    Redirected,
    Forwarded,
    /// Milliseconds from the call to the agent until the kernel has it, and until it is confirmed.
    InKernel,
    Confirmed,
}

#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<(Style, Measure, usize), Vec<f64>>);

impl Style {
    pub(super) const ALL: [Self; 2] = [Self::Sets, Self::Rules];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sets => "pgw: sets and maps",
            Self::Rules => "a rule per client",
        }
    }
}

impl Samples {
    pub(super) fn add(&mut self, style: Style, measure: Measure, clients: usize, value: f64) {
        self.0.entry((style, measure, clients)).or_default().push(value);
    }

    fn of(&self, style: Style, measure: Measure, clients: usize) -> &[f64] {
        self.0.get(&(style, measure, clients)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn median(&self, style: Style, measure: Measure, clients: usize) -> Option<f64> {
        median(self.of(style, measure, clients))
    }

    pub(super) fn p99(&self, style: Style, measure: Measure, clients: usize) -> Option<f64> {
        percentile(self.of(style, measure, clients), 99)
    }

    /// What many clients have of what one has.
    pub(super) fn kept(&self, style: Style, measure: Measure, clients: usize) -> Option<f64> {
        ratio(self.of(style, measure, clients), self.of(style, measure, 1))
    }

    pub(super) fn json(&self) -> Value {
        let mut all = Map::new();
        for ((style, measure, clients), values) in &self.0 {
            all.insert(format!("{style:?}, {measure:?}, {clients}"), json!(values));
        }
        Value::Object(all)
    }
}
