//! What is counted of the traffic (`PGW_TELEMETRY_INTERVAL`, `PGW_METRICS_CLIENTS`).

use std::time::Duration;

use super::{Reader, parse_duration};

const USUAL: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_secs(1);
/// What is written down is gathered for a minute.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn read_interval(r: &mut Reader<'_>) -> Duration {
    r.read("PGW_TELEMETRY_INTERVAL", USUAL, "a time from 1s to 60s, such as 5s", |v| {
        parse_duration(v).filter(|time| (SHORTEST..=LONGEST).contains(time))
    })
}

pub(super) fn read_clients(r: &mut Reader<'_>) -> bool {
    r.read("PGW_METRICS_CLIENTS", false, "true or false", |v| v.parse().ok())
}
