//! Every value that was measured, and what is made of them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::bench::report::Bound::AtMost;
use crate::bench::report::{Judged, Panel, Row, Table};
use crate::bench::stats::{median, percentile};

/// Milliseconds, but for the memory, which is MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    Page,
    PlanKeep,
    PlanChange,
    Open,
    Gone,
    Told,
    Made,
    AllOpen,
    ApiMemory,
    FollowedMemory,
    AgentMemory,
}

#[derive(Debug, Default)]
pub(super) struct Samples(BTreeMap<Measure, Vec<f64>>);

const TIMES: [(&str, Measure); 8] = [
    ("a page of a list", Measure::Page),
    ("a plan: nothing to do", Measure::PlanKeep),
    ("a plan: every client changed", Measure::PlanChange),
    ("one device, created → APPLIED", Measure::Open),
    ("one device, DELETE → 204", Measure::Gone),
    ("a change, until all readers of events are told", Measure::Told),
    ("all devices by one document, until it is answered", Measure::Made),
    ("all devices by one document, until all are APPLIED", Measure::AllOpen),
];

impl Samples {
    pub(super) fn add(&mut self, measure: Measure, since: Instant) {
        self.put(measure, since.elapsed().as_secs_f64() * 1e3);
    }

    pub(super) fn put(&mut self, measure: Measure, value: f64) {
        self.0.entry(measure).or_default().push(value);
    }

    fn of(&self, measure: Measure) -> &[f64] {
        self.0.get(&measure).map_or(&[], Vec::as_slice)
    }

    fn p99(&self, measure: Measure) -> Option<f64> {
        percentile(self.of(measure), 99)
    }

    pub(super) fn goals(&self) -> Vec<Judged> {
        let plan = [Measure::PlanKeep, Measure::PlanChange].map(|measure| self.p99(measure));
        let plan = plan.into_iter().flatten().reduce(f64::max);
        vec![
            Judged::new("a page of a list, p99", AtMost(20.0), "ms", self.p99(Measure::Page)),
            Judged::new("one device, created → APPLIED, p99", AtMost(300.0), "ms", self.p99(Measure::Open)),
            Judged::new("a plan of everything, p99", AtMost(500.0), "ms", plan),
            Judged::new("memory of pgw-api (RSS)", AtMost(60.0), "MiB", self.p99(Measure::ApiMemory)),
            Judged::new(
                "memory of pgw-api (RSS) with 500 readers",
                AtMost(60.0),
                "MiB",
                self.p99(Measure::FollowedMemory),
            ),
        ]
    }

    pub(super) fn tables(&self) -> Vec<Table> {
        let times = TIMES.map(|(name, measure)| Row {
            name: name.to_owned(),
            ours: true,
            values: vec![median(self.of(measure)), self.p99(measure), percentile(self.of(measure), 100)],
        });
        let memory = [
            ("pgw-api", Measure::ApiMemory),
            ("pgw-api, with 500 readers of events", Measure::FollowedMemory),
            ("pgw-agent", Measure::AgentMemory),
        ];
        let memory = memory.map(|(name, measure)| Row {
            name: name.to_owned(),
            ours: true,
            values: vec![median(self.of(measure))],
        });
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let tables = [
            Table {
                heading: "How long it takes, ms".to_owned(),
                columns: columns(&["median", "p99", "longest"]),
                rows: times.into(),
            },
            Table {
                heading: "Memory (RSS), MiB".to_owned(),
                columns: columns(&["after all of it"]),
                rows: memory.into(),
            },
        ];
        tables.into_iter().filter_map(Table::measured).collect()
    }

    pub(super) fn panels(&self) -> Vec<Panel> {
        let bars = |measures: &[(&str, Measure)]| {
            let bar =
                |(name, measure): &(&str, Measure)| Some(((*name).to_owned(), self.p99(*measure)?, true));
            measures.iter().filter_map(bar).collect()
        };
        let (single, _all) = TIMES.split_at(6);
        vec![Panel { title: "p99, ms (shorter is better)".to_owned(), bars: bars(single) }]
    }

    pub(super) fn json(&self) -> Value {
        Value::Object(
            self.0
                .iter()
                .map(|(measure, values)| (format!("{measure:?}"), json!(values)))
                .collect::<Map<_, _>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_neither_shown_nor_reached() {
        let mut samples = Samples::default();
        assert!(samples.tables().is_empty());
        assert!(samples.goals().iter().all(|goal| goal.verdict() == "not measured"));
        samples.put(Measure::Page, 21.0);
        samples.put(Measure::PlanKeep, 1.0);
        samples.put(Measure::PlanChange, 2.0);
        let verdicts: Vec<_> = samples.goals().iter().map(Judged::verdict).collect();
        assert_eq!(verdicts, ["**missed**", "not measured", "reached", "not measured", "not measured"]);
    }
}
