//! The numbers to reach.

use super::contestants::Contestant::{self, Quic, Rathole, Tls};
use super::samples::{Measure, Samples};
use crate::bench::report::Bound::{self, AtLeast, AtMost};
use crate::bench::report::Judged;
use crate::bench::stats::ratio;

/// Against rathole without encryption.
const AGAINST: [(&str, Measure, Bound); 8] = [
    ("bulk, one visitor takes", Measure::Down1, AtLeast(1.0)),
    ("bulk, eight visitors take", Measure::Down8, AtLeast(1.0)),
    ("bulk, one visitor gives", Measure::Up1, AtLeast(1.0)),
    ("bulk, eight visitors give", Measure::Up8, AtLeast(1.0)),
    ("CPU per GiB, one visitor takes", Measure::CpuDown1, AtMost(1.0)),
    ("CPU per GiB, eight visitors take", Measure::CpuDown8, AtMost(1.0)),
    ("CPU per GiB, one visitor gives", Measure::CpuUp1, AtMost(1.0)),
    ("CPU per GiB, eight visitors give", Measure::CpuUp8, AtMost(1.0)),
];

/// Against whoever of the peers is the best at it.
const BEST: [(&str, Measure, Bound); 3] = [
    ("new connections per second", Measure::Rate, AtLeast(1.3)),
    ("p99 of a request, one connection", Measure::P99At1, AtMost(1.0)),
    ("p99 of a request, 32 connections", Measure::P99At32, AtMost(1.0)),
];

pub(super) fn judge(samples: &Samples) -> Vec<Judged> {
    let against = AGAINST.map(|(what, measure, bound)| {
        Judged::new(what, bound, format!("× {}", Rathole.name()), samples.ratio(Tls, measure, Rathole))
    });
    let best = BEST.map(|(what, measure, bound)| {
        Judged::new(what, bound, "× the best peer", against_best(samples, measure, bound))
    });
    let stalled = ratio(samples.of(Tls, Measure::Stalled), samples.of(Tls, Measure::Free));
    let stalled = Judged::new("99 visitors beside a stalled one", AtLeast(0.95), "× those 99 alone", stalled);
    let lossy = samples.ratio(Tls, Measure::LossyUp8, Quic);
    let lossy = Judged::new(
        "bulk with 0.5 % loss, 50 ms away, eight visitors",
        AtLeast(2.0),
        "× one connection for all",
        lossy,
    );
    let whole = [2_500, 9_000].map(|size| {
        let value = samples.median(Tls, Measure::Whole(size));
        Judged::new(format!("datagrams of {size} bytes that come back whole"), AtLeast(1.0), "of all", value)
    });
    against.into_iter().chain(best).chain([stalled, lossy]).chain(whole).collect()
}

fn against_best(samples: &Samples, measure: Measure, bound: Bound) -> Option<f64> {
    let ratios = Contestant::PEERS.iter().filter_map(|peer| samples.ratio(Tls, measure, *peer));
    match bound {
        AtLeast(_) => ratios.min_by(f64::total_cmp),
        AtMost(_) => ratios.max_by(f64::total_cmp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Contestant::{Bore, RatholeNoise};

    #[test]
    fn goals_are_judged_by_the_others_of_the_same_run() {
        let mut samples = Samples::default();
        for (who, speed, p99) in
            [(Tls, 13.0, 0.9), (Rathole, 10.0, 1.0), (Bore, 9.0, 0.8), (RatholeNoise, 5.0, 3.0)]
        {
            samples.add(who, Measure::Rate, speed);
            samples.add(who, Measure::Down1, speed);
            samples.add(who, Measure::P99At1, p99);
        }
        samples.add(Tls, Measure::Free, 100.0);
        samples.add(Tls, Measure::Stalled, 94.0);
        let judged = judge(&samples);
        let verdict =
            |what: &str| judged.iter().find(|goal| goal.what.starts_with(what)).map(Judged::verdict);
        assert_eq!(verdict("bulk, one visitor takes"), Some("reached"));
        assert_eq!(verdict("new connections per second"), Some("reached"));
        assert_eq!(verdict("p99 of a request, one"), Some("**missed**"));
        assert_eq!(verdict("99 visitors"), Some("**missed**"));
        assert_eq!(verdict("datagrams of 9000"), Some("not measured"));
    }
}
