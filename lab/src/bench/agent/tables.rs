//! The numbers as a person wants to see them, and those to reach.

use super::Plan;
use super::samples::{Measure, Samples, Style};
use crate::bench::report::Bound::{AtLeast, AtMost};
use crate::bench::report::{Judged, Panel, Row, Table};

const BOTH: [(&str, Measure); 6] = [
    ("Everything loaded, ms", Measure::Load),
    ("One client added, ms of nft", Measure::Added),
    ("One client removed, ms of nft", Measure::Removed),
    ("New connections a second, of a mapped device", Measure::Redirected),
    ("New connections a second, of an unregistered device", Measure::Forwarded),
    ("Memory of the kernel, KiB", Measure::Memory),
];

pub(super) fn tables(samples: &Samples, plan: &Plan) -> Vec<Table> {
    let columns: Vec<String> = plan.sizes.iter().map(|clients| format!("with {clients}")).collect();
    let row = |name: &str, style: Style, value: &dyn Fn(usize) -> Option<f64>| Row {
        name: name.to_owned(),
        ours: style == Style::Sets,
        values: plan.sizes.iter().map(|clients| value(*clients)).collect(),
    };
    let mut tables: Vec<Table> = BOTH
        .iter()
        .map(|(heading, measure)| Table {
            heading: (*heading).to_owned(),
            columns: columns.clone(),
            rows: Style::ALL
                .iter()
                .map(|style| row(style.name(), *style, &|clients| samples.median(*style, *measure, clients)))
                .collect(),
        })
        .collect();
    let ours = Style::Sets;
    tables.push(Table {
        heading: "One client more or less, through pgw-agent, ms after it was called".to_owned(),
        columns,
        rows: vec![
            row("in the kernel, median", ours, &|n| samples.median(ours, Measure::InKernel, n)),
            row("in the kernel, p99", ours, &|n| samples.p99(ours, Measure::InKernel, n)),
            row("confirmed and saved, median", ours, &|n| samples.median(ours, Measure::Confirmed, n)),
            row("confirmed and saved, p99", ours, &|n| samples.p99(ours, Measure::Confirmed, n)),
        ],
    });
    tables.into_iter().filter_map(Table::measured).collect()
}

pub(super) fn panels(samples: &Samples, plan: &Plan) -> Vec<Panel> {
    let shown = [
        ("Everything loaded, ms (shorter is better)", Measure::Load),
        ("One client added, ms of nft (shorter is better)", Measure::Added),
        ("New connections a second, of a mapped device (longer is better)", Measure::Redirected),
        ("New connections a second, of an unregistered device (longer is better)", Measure::Forwarded),
    ];
    shown
        .map(|(title, measure)| {
            let all = plan.sizes.iter().flat_map(|clients| Style::ALL.map(|style| (style, *clients)));
            let bars = all.filter_map(|(style, clients)| {
                let value = samples.median(style, measure, clients)?;
                Some((format!("{}, {clients}", style.name()), value, style == Style::Sets))
            });
            Panel { title: title.to_owned(), bars: bars.collect() }
        })
        .into()
}

/// With the largest number of clients; how soon a change is there, with a thousand.
pub(super) fn goals(samples: &Samples) -> Vec<Judged> {
    const MOST: usize = 10_000;
    const MANY: usize = 1_000;
    let ours = Style::Sets;
    let median = |measure| samples.median(ours, measure, MOST);
    let kept = |measure| samples.kept(ours, measure, MOST);
    let with_one = "× with one client";
    vec![
        Judged::new("10000 clients: everything loaded", AtMost(150.0), "ms", median(Measure::Load)),
        Judged::new("10000 clients: one added", AtMost(20.0), "ms of nft", median(Measure::Added)),
        Judged::new("10000 clients: one removed", AtMost(20.0), "ms of nft", median(Measure::Removed)),
        Judged::new(
            "10000 clients: connections of a mapped device",
            AtLeast(0.95),
            with_one,
            kept(Measure::Redirected),
        ),
        Judged::new(
            "10000 clients: connections of an unregistered device",
            AtLeast(0.95),
            with_one,
            kept(Measure::Forwarded),
        ),
        Judged::new(
            "1000 clients: from the call to the agent to the kernel, p99",
            AtMost(50.0),
            "ms",
            samples.p99(ours, Measure::InKernel, MANY),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_neither_shown_nor_reached() {
        let plan = Plan { sizes: vec![1, 10_000], ..Plan::quick(1) };
        let mut samples = Samples::default();
        assert!(tables(&samples, &plan).is_empty());
        assert!(goals(&samples).iter().all(|goal| goal.verdict() == "not measured"));
        samples.add(Style::Sets, Measure::Redirected, 1, 1_000.0);
        samples.add(Style::Sets, Measure::Redirected, 10_000, 900.0);
        let [table] = tables(&samples, &plan).try_into().unwrap();
        assert_eq!(table.rows[0].values, [Some(1_000.0), Some(900.0)]);
        assert!(goals(&samples).iter().any(|goal| goal.verdict() == "**missed**"));
    }
}
