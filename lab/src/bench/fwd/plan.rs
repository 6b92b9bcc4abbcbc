//! How long and how often.

use std::time::Duration;

use crate::bench::Options;

pub(crate) struct Plan {
    pub(crate) repeat: usize,
    pub(crate) bulk: Duration,
    pub(crate) rate: Duration,
    /// Connections that are tried at the same time, near and far.
    pub(crate) at_once: usize,
    pub(crate) at_once_far: usize,
    pub(crate) rate_far: Duration,
    /// Small answers one after the other.
    pub(crate) one_by_one: usize,
    pub(crate) warm: usize,
    pub(crate) ends: usize,
    /// Numbers of connections that say nothing, the largest last.
    pub(crate) held: Vec<usize>,
    /// Numbers of forwarders that do nothing.
    pub(crate) idle: &'static [usize],
    pub(crate) watch: Duration,
    /// After which what is only needed for a moment has been given back.
    pub(crate) settle: Duration,
    pub(crate) names: usize,
    pub(crate) misses: usize,
}

impl Plan {
    pub(crate) fn most_held(&self) -> usize {
        self.held.last().copied().unwrap_or_default()
    }

    pub(crate) fn of(options: &Options, most_held: usize) -> Self {
        let seconds = Duration::from_secs_f64;
        if options.quick {
            return Self {
                repeat: options.repeat,
                bulk: seconds(0.4),
                rate: seconds(0.4),
                at_once: 32,
                at_once_far: 64,
                rate_far: seconds(0.5),
                one_by_one: 50,
                warm: 3,
                ends: 1,
                held: vec![100, 500],
                idle: &[20],
                watch: seconds(1.0),
                settle: seconds(1.2),
                names: 200,
                misses: 3,
            };
        }
        Self {
            repeat: options.repeat,
            bulk: seconds(1.5),
            rate: seconds(1.5),
            at_once: 32,
            at_once_far: 256,
            rate_far: seconds(1.0),
            one_by_one: 500,
            warm: 10,
            ends: 3,
            held: vec![1_000, most_held],
            idle: &[100, 999],
            watch: seconds(5.0),
            settle: seconds(2.0),
            names: 2_000,
            misses: 10,
        }
    }
}
