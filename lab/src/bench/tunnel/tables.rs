//! The numbers as a person wants to see them.

use super::contestants::Contestant;
use super::plan::{Plan, SIZES};
use super::samples::{Measure, Samples};
use crate::bench::report::{Panel, Row, Table};
use crate::bench::stats::ratio;

/// How a value is shown.
#[derive(Clone, Copy)]
enum Show {
    /// As a multiple of what direct had in the same repetition.
    TimesDirect(Measure),
    /// Divided by this.
    Per(Measure, f64),
    /// As a part of another one of its own.
    Of(Measure, Measure),
}

use Show::{Of, Per, TimesDirect};

const GBIT: f64 = 1e9 / 8.0;
const MBIT: f64 = 1e6 / 8.0;

pub(super) fn tables(samples: &Samples, plan: &Plan) -> Vec<Table> {
    let bulk = |one: Measure, cpu1, eight: Measure, cpu8| {
        [
            ("1 visitor × direct", TimesDirect(one)),
            ("Gbit/s", Per(one, GBIT)),
            ("CPU s/GiB", Per(cpu1, 1.0)),
            ("8 visitors × direct", TimesDirect(eight)),
            ("Gbit/s", Per(eight, GBIT)),
            ("CPU s/GiB", Per(cpu8, 1.0)),
        ]
    };
    let mut datagrams = Vec::new();
    for size in SIZES {
        datagrams.push((format!("{size} bytes: whole"), Per(Measure::Whole(size), 1.0)));
        datagrams.push(("p50 µs".to_owned(), Per(Measure::DatagramP50(size), 1.0)));
    }
    let tables = [
        table(
            samples,
            "What visitors take",
            &bulk(Measure::Down1, Measure::CpuDown1, Measure::Down8, Measure::CpuDown8),
        ),
        table(
            samples,
            "What visitors give",
            &bulk(Measure::Up1, Measure::CpuUp1, Measure::Up8, Measure::CpuUp8),
        ),
        table(
            samples,
            "Requests of 64 bytes, and new connections",
            &[
                ("1 connection: per s", Per(Measure::Asked1, 1.0)),
                ("p50 µs", Per(Measure::P50At1, 1.0)),
                ("p99 µs", Per(Measure::P99At1, 1.0)),
                ("32: per s", Per(Measure::Asked32, 1.0)),
                ("p50 µs", Per(Measure::P50At32, 1.0)),
                ("p99 µs", Per(Measure::P99At32, 1.0)),
                ("99 beside a stalled one × alone", Of(Measure::Stalled, Measure::Free)),
                ("new conn/s", Per(Measure::Rate, 1.0)),
                ("× direct", TimesDirect(Measure::Rate)),
                ("CPU µs/conn", Per(Measure::CpuConnection, 1.0)),
            ],
        ),
        table(samples, "Datagrams there and back", &datagrams),
        table(
            samples,
            "50 ms away, and with 0.5 % of the packets lost",
            &[
                ("8 take, Mbit/s", Per(Measure::FarDown8, MBIT)),
                ("8 give, Mbit/s", Per(Measure::FarUp8, MBIT)),
                ("new conn/s", Per(Measure::FarRate, 1.0)),
                ("32 requests: p50 ms", Per(Measure::FarP50, 1.0)),
                ("p99 ms", Per(Measure::FarP99, 1.0)),
                ("lossy: 8 give, Mbit/s", Per(Measure::LossyUp8, MBIT)),
                ("32 requests: p99 ms", Per(Measure::LossyP99, 1.0)),
            ],
        ),
        table(
            samples,
            &format!("Memory of both programs, at {} connections that say nothing", plan.held),
            &[("PSS at rest MiB", Per(Measure::Rest, 1024.0)), ("PSS KiB/conn", Per(Measure::Pss, 1.0))],
        ),
    ];
    tables.into_iter().filter_map(Table::measured).collect()
}

fn table(samples: &Samples, heading: &str, columns: &[(impl ToString, Show)]) -> Table {
    let rows = Contestant::ALL.into_iter().filter(|who| samples.has(*who)).map(|who| Row {
        name: who.name().to_owned(),
        ours: who.is_ours(),
        values: columns.iter().map(|(_, show)| value(samples, who, *show)).collect(),
    });
    Table {
        heading: heading.to_owned(),
        columns: columns.iter().map(|(name, _)| name.to_string()).collect(),
        rows: rows.collect(),
    }
}

fn value(samples: &Samples, who: Contestant, show: Show) -> Option<f64> {
    match show {
        TimesDirect(measure) => samples.ratio(who, measure, Contestant::Direct),
        Per(measure, one) => samples.median(who, measure).map(|value| value / one),
        Of(measure, other) => ratio(samples.of(who, measure), samples.of(who, other)),
    }
}

pub(super) fn panels(samples: &Samples) -> Vec<Panel> {
    [
        ("One visitor takes, × direct (longer is better)", TimesDirect(Measure::Down1)),
        ("One visitor gives, × direct (longer is better)", TimesDirect(Measure::Up1)),
        ("CPU seconds per GiB that is taken (shorter is better)", Per(Measure::CpuDown1, 1.0)),
        ("New connections per second, × direct (longer is better)", TimesDirect(Measure::Rate)),
        ("p99 of a request, 32 connections, µs (shorter is better)", Per(Measure::P99At32, 1.0)),
        (
            "Eight visitors give with 0.5 % loss, 50 ms away, Mbit/s (longer is better)",
            Per(Measure::LossyUp8, MBIT),
        ),
    ]
    .map(|(title, show)| {
        let bar = |who: Contestant| Some((who.name().to_owned(), value(samples, who, show)?, who.is_ours()));
        Panel { title: title.to_owned(), bars: Contestant::ALL.into_iter().filter_map(bar).collect() }
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Options, Subject};

    #[test]
    fn only_what_was_measured_has_a_table_and_every_row_has_all_columns() {
        let plan = Plan::of(&Options { subject: Subject::Tunnel, quick: true, only: None, repeat: 1 });
        let mut samples = Samples::default();
        assert!(tables(&samples, &plan).is_empty());
        for (who, speed) in [(Contestant::Direct, 2e9), (Contestant::Tls, 1e9)] {
            samples.add(who, Measure::Down1, speed);
        }
        let tables = tables(&samples, &plan);
        let [bulk] = tables.as_slice() else { panic!("{tables:?}") };
        let [_direct, ours] = bulk.rows.as_slice() else { panic!("{bulk:?}") };
        assert_eq!(ours.values.len(), bulk.columns.len());
        assert_eq!(ours.values[..3], [Some(0.5), Some(8.0), None]);
    }
}
