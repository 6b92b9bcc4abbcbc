//! How long and how often.

use std::time::Duration;

use crate::bench::Options;

/// Of datagrams: more than an Ethernet packet, and more than many programs have room for.
pub(super) const SIZES: [usize; 3] = [1_400, 2_500, 9_000];

pub(crate) struct Plan {
    pub(crate) repeat: usize,
    pub(crate) bulk: Duration,
    pub(crate) rate: Duration,
    pub(crate) at_once: usize,
    pub(crate) requests: Duration,
    pub(crate) datagrams: usize,
    pub(crate) bulk_far: Duration,
    pub(crate) held: usize,
    /// After which what is only needed for a moment has been given back.
    pub(crate) settle: Duration,
}

impl Plan {
    pub(crate) fn of(options: &Options) -> Self {
        let seconds = Duration::from_secs_f64;
        if options.quick {
            return Self {
                repeat: options.repeat,
                bulk: seconds(0.3),
                rate: seconds(0.4),
                at_once: 32,
                requests: seconds(0.3),
                datagrams: 10,
                bulk_far: seconds(0.6),
                held: 1_000,
                settle: seconds(1.0),
            };
        }
        Self {
            repeat: options.repeat,
            bulk: seconds(0.6),
            rate: seconds(0.6),
            at_once: 32,
            requests: seconds(0.6),
            datagrams: 100,
            bulk_far: seconds(1.0),
            held: 1_000,
            settle: seconds(2.0),
        }
    }
}
