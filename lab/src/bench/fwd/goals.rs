//! The numbers to reach.

use super::contestants::Contestant::{self, *};
use super::samples::{Measure, Samples};
use crate::bench::report::Bound::{self, AtLeast, AtMost};
use crate::bench::report::Judged;
use crate::bench::stats::median;

/// Against one other.
const AGAINST: [(&str, Contestant, Measure, Bound, Contestant); 13] = [
    ("CPU per GiB, CONNECT", FwdConnect, Measure::Cpu1, AtMost(1.15), Bare),
    ("CPU per GiB, CONNECT", FwdConnect, Measure::Cpu1, AtMost(0.8), Haproxy),
    ("CPU per GiB, SOCKS5", FwdSocks, Measure::Cpu1, AtMost(1.15), Bare),
    ("CPU per GiB, SOCKS5", FwdSocks, Measure::Cpu1, AtMost(0.8), Haproxy),
    ("one stream, CONNECT", FwdConnect, Measure::Bulk1, AtLeast(0.9), Bare),
    ("one stream, CONNECT", FwdConnect, Measure::Bulk1, AtLeast(1.4), Haproxy),
    ("CPU per new connection, CONNECT", FwdConnect, Measure::CpuConnection, AtMost(1.15), Bare),
    ("CPU per new connection, SOCKS5", FwdSocks, Measure::CpuConnection, AtMost(1.15), Bare),
    ("new connections per second, CONNECT", FwdConnect, Measure::Rate, AtLeast(0.95), Bare),
    ("new connections per second, CONNECT", FwdConnect, Measure::Rate, AtLeast(1.2), RedsocksConnect),
    ("new connections per second, SOCKS5", FwdSocks, Measure::Rate, AtLeast(1.2), RedsocksSocks),
    ("p50 of a small request, CONNECT", FwdConnect, Measure::P50, AtMost(1.1), Bare),
    ("CPU per GiB, HTTPS upstream", FwdHttps, Measure::Cpu1, AtMost(0.8), HaproxyTls),
];

/// By itself: the unit, and what one of it is.
const ALONE: [(&str, Contestant, Measure, Bound, &str, f64); 9] = [
    ("end of stream, CONNECT", FwdConnect, Measure::End, AtMost(5.0), "ms", 1e3),
    ("far upstream, cold, CONNECT", FwdConnect, Measure::Cold, AtMost(2.2), "round trips", 1.0),
    ("far upstream, cold, SOCKS5", FwdSocks, Measure::Cold, AtMost(2.2), "round trips", 1.0),
    ("far upstream, warm, CONNECT", FwdConnect, Measure::Warm, AtMost(1.2), "round trips", 1.0),
    ("far upstream, warm, SOCKS5", FwdSocks, Measure::Warm, AtMost(1.2), "round trips", 1.0),
    (
        "idle forwarder, one of 999",
        FwdSocks,
        Measure::IdlePss(999),
        AtMost(700.0 / 999.0),
        "MiB PSS",
        1024.0 * 999.0,
    ),
    ("999 idle forwarders", FwdSocks, Measure::IdleCpu(999), AtMost(1.0), "% of a core", 1.0),
    ("DNS answer from the cache", FwdConnect, Measure::NameP50, AtMost(100.0), "µs", 1.0),
    ("DNS answer that is not cached", FwdConnect, Measure::NameMiss, AtMost(1.2), "round trips", 1.0),
];

/// With the largest number of connections that were held.
pub(super) fn judge(samples: &Samples, most_held: usize) -> Vec<Judged> {
    let against = AGAINST.map(|(what, who, measure, bound, other)| {
        let unit = format!("× {}", other.name());
        Judged::new(what, bound, unit, samples.ratio(who, measure, other))
    });
    let cheapest = Judged::new(
        "CPU per new connection, CONNECT",
        AtMost(1.0),
        "× the cheapest peer",
        cheapest_peer(samples).and_then(|cheapest| {
            samples.median(FwdConnect, Measure::CpuConnection).map(|ours| ours / cheapest)
        }),
    );
    let idle = [
        ("PSS", samples.median(FwdConnect, Measure::Pss(most_held)), 1.0, "KiB"),
        ("with the kernel's", samples.whole(FwdConnect, most_held), 7.0, "KiB"),
        ("descriptors", samples.median(FwdConnect, Measure::Descriptors(most_held)), 2.05, ""),
    ]
    .map(|(what, value, most, unit)| {
        Judged::new(format!("idle connection, one of {most_held}: {what}"), AtMost(most), unit, value)
    });
    let alone = ALONE.map(|(what, who, measure, bound, unit, one)| {
        Judged::new(what, bound, unit, samples.median(who, measure).map(|value| value / one))
    });
    // Alone, a forwarder shares its program's pages with nobody.
    let rest = median(samples.of(FwdConnect, Measure::Rest)).map(|kib| kib / 1024.0);
    let rest = Judged::new("idle forwarder, alone", AtMost(1.0), "MiB PSS", rest);
    against.into_iter().chain([cheapest]).chain(alone).chain(idle).chain([rest]).collect()
}

fn cheapest_peer(samples: &Samples) -> Option<f64> {
    let costs = Contestant::PEERS.iter().filter_map(|peer| samples.median(*peer, Measure::CpuConnection));
    costs.min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_the_others_of_the_same_run() {
        let mut samples = Samples::default();
        for (who, cost) in [(Bare, 0.2), (FwdConnect, 0.22), (Haproxy, 0.25)] {
            samples.add(who, Measure::Cpu1, cost);
        }
        for (who, cost) in [(FwdConnect, 110.0), (V2raySocks, 200.0), (Haproxy, 100.0)] {
            samples.add(who, Measure::CpuConnection, cost);
        }
        samples.add(FwdConnect, Measure::End, 90.0);
        let judged = judge(&samples, 10_000);
        let verdict = |what: &str, unit: &str| {
            judged.iter().find(|goal| goal.what == what && goal.unit == unit).map(Judged::verdict)
        };
        assert_eq!(verdict("CPU per GiB, CONNECT", "× bare splice relay"), Some("reached"));
        assert_eq!(verdict("CPU per GiB, CONNECT", "× HAProxy splice, SOCKS4"), Some("**missed**"));
        assert_eq!(verdict("CPU per new connection, CONNECT", "× the cheapest peer"), Some("**missed**"));
        assert_eq!(verdict("end of stream, CONNECT", "ms"), Some("reached"));
        assert_eq!(verdict("idle forwarder, alone", "MiB PSS"), Some("not measured"));
    }
}
