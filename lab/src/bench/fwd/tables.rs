//! The numbers as a person wants to see them.

use super::contestants::Contestant;
use super::plan::Plan;
use super::samples::{Measure, Samples};
use crate::bench::report::{Panel, Row, Table};

/// How a value is shown.
enum Show {
    /// As a multiple of what direct had in the same repetition.
    TimesDirect(Measure),
    /// Divided by this.
    Per(Measure, f64),
    /// Memory of so many connections, for each, with the kernel's.
    Whole(usize),
}

use Show::{Per, TimesDirect, Whole};

pub(super) fn tables(samples: &Samples, plan: &Plan) -> Vec<Table> {
    let tables = [
        table(
            samples,
            "Bulk",
            &[
                ("1 stream × direct", TimesDirect(Measure::Bulk1)),
                ("Gbit/s", Per(Measure::Bulk1, 1e9 / 8.0)),
                ("CPU s/GiB", Per(Measure::Cpu1, 1.0)),
                ("8 streams × direct", TimesDirect(Measure::Bulk8)),
                ("Gbit/s", Per(Measure::Bulk8, 1e9 / 8.0)),
                ("CPU s/GiB", Per(Measure::Cpu8, 1.0)),
            ],
        ),
        table(
            samples,
            "New connections, each for an answer of 512 bytes",
            &[
                ("conn/s × direct", TimesDirect(Measure::Rate)),
                ("conn/s", Per(Measure::Rate, 1.0)),
                ("CPU µs/conn", Per(Measure::CpuConnection, 1.0)),
                ("p50 µs", Per(Measure::P50, 1.0)),
                ("p99 µs", Per(Measure::P99, 1.0)),
                ("end of stream after µs", Per(Measure::End, 1.0)),
            ],
        ),
        table(
            samples,
            "The same, 50 ms away",
            &[
                ("cold, round trips", Per(Measure::Cold, 1.0)),
                ("warm, round trips", Per(Measure::Warm, 1.0)),
                ("p50 ms", Per(Measure::FarP50, 1.0)),
                ("p99 ms", Per(Measure::FarP99, 1.0)),
                ("conn/s × direct", TimesDirect(Measure::FarRate)),
                ("conn/s", Per(Measure::FarRate, 1.0)),
            ],
        ),
        table(samples, "Connections that say nothing", &held(plan)),
        idle(samples, plan),
        names(samples),
    ];
    tables.into_iter().filter_map(Table::measured).collect()
}

fn held(plan: &Plan) -> Vec<(String, Show)> {
    let mut columns = vec![("PSS at rest MiB".to_owned(), Per(Measure::Rest, 1024.0))];
    for count in &plan.held {
        columns.push((format!("at {count}: PSS KiB/conn"), Per(Measure::Pss(*count), 1.0)));
        columns.push(("with the kernel's".to_owned(), Whole(*count)));
        columns.push(("descriptors/conn".to_owned(), Per(Measure::Descriptors(*count), 1.0)));
    }
    columns
}

fn table(samples: &Samples, heading: &str, columns: &[(impl ToString, Show)]) -> Table {
    let rows = Contestant::ALL.into_iter().filter(|who| samples.has(*who)).map(|who| Row {
        name: who.name().to_owned(),
        ours: who.is_ours(),
        values: columns.iter().map(|(_, show)| value(samples, who, show)).collect(),
    });
    Table {
        heading: heading.to_owned(),
        columns: columns.iter().map(|(name, _)| name.to_string()).collect(),
        rows: rows.collect(),
    }
}

fn value(samples: &Samples, who: Contestant, show: &Show) -> Option<f64> {
    match show {
        TimesDirect(measure) => samples.ratio(who, *measure, Contestant::Direct),
        Whole(count) => samples.whole(who, *count),
        Per(measure, one) => samples.median(who, *measure).map(|value| value / one),
    }
}

fn idle(samples: &Samples, plan: &Plan) -> Table {
    let who = Contestant::FwdSocks;
    let rows = plan.idle.iter().map(|count| {
        let pss = samples.median(who, Measure::IdlePss(*count)).map(|kib| kib / 1024.0);
        let each = pss.zip(u32::try_from(*count).ok()).map(|(pss, count)| pss / f64::from(count));
        Row {
            name: format!("{count} forwarders"),
            ours: true,
            values: vec![pss, each, samples.median(who, Measure::IdleCpu(*count))],
        }
    });
    let columns = ["PSS MiB", "PSS MiB each", "CPU, % of a core"].map(str::to_owned).to_vec();
    Table { heading: "Forwarders that do nothing".to_owned(), columns, rows: rows.collect() }
}

fn names(samples: &Samples) -> Table {
    let measures = [Measure::NameP50, Measure::NameP99, Measure::NameCpu, Measure::NameMiss];
    let values = measures.map(|measure| samples.median(Contestant::FwdConnect, measure)).to_vec();
    let columns = ["p50 µs", "p99 µs", "CPU µs", "not cached, 50 ms away, round trips"];
    Table {
        heading: "Names".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: vec![Row { name: "pgw-fwd, from its cache".to_owned(), ours: true, values }],
    }
}

pub(super) fn panels(samples: &Samples, plan: &Plan) -> Vec<Panel> {
    let most = plan.most_held();
    [
        ("One stream, × direct (longer is better)".to_owned(), TimesDirect(Measure::Bulk1)),
        ("CPU seconds per GiB (shorter is better)".to_owned(), Per(Measure::Cpu1, 1.0)),
        ("New connections per second, × direct (longer is better)".to_owned(), TimesDirect(Measure::Rate)),
        ("CPU µs per new connection (shorter is better)".to_owned(), Per(Measure::CpuConnection, 1.0)),
        (
            "Round trips to the first answer, 50 ms away, warm (shorter is better)".to_owned(),
            Per(Measure::Warm, 1.0),
        ),
        (format!("PSS KiB per idle connection, at {most} (shorter is better)"), Per(Measure::Pss(most), 1.0)),
    ]
    .map(|(title, show)| {
        let bar = |who: Contestant| Some((who.name().to_owned(), value(samples, who, &show)?, who.is_ours()));
        Panel { title, bars: Contestant::ALL.into_iter().filter_map(bar).collect() }
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Options, Subject};

    #[test]
    fn only_what_was_measured_has_a_table_and_every_row_has_all_columns() {
        let plan = Plan::of(&Options { subject: Subject::Fwd, quick: true, only: None, repeat: 1 }, 500);
        let mut samples = Samples::default();
        assert!(tables(&samples, &plan).is_empty());
        for (who, speed) in [(Contestant::Direct, 2e9), (Contestant::FwdSocks, 3e9)] {
            samples.add(who, Measure::Bulk1, speed);
        }
        let tables = tables(&samples, &plan);
        let [bulk] = tables.as_slice() else { panic!("{tables:?}") };
        let [_direct, ours] = bulk.rows.as_slice() else { panic!("{bulk:?}") };
        assert_eq!(ours.values.len(), bulk.columns.len());
        assert_eq!(ours.values[..3], [Some(1.5), Some(24.0), None]);
    }
}
