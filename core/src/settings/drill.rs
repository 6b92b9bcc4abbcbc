//! How often the leak drill is held (`PGW_DRILL_INTERVAL`).

use std::time::Duration;

use super::{Reader, parse_duration};

const USUAL: Duration = Duration::from_secs(3_600);
/// More often would tell nobody more, and costs a little each time.
const SHORTEST: Duration = Duration::from_secs(10);

pub(super) fn read_interval(r: &mut Reader<'_>) -> Option<Duration> {
    let allowed = "off, or a time of 10s or more, such as 30m or 1h";
    r.read("PGW_DRILL_INTERVAL", Some(USUAL), allowed, |v| match v {
        "off" => Some(None),
        _ => parse_duration(v).filter(|time| *time >= SHORTEST).map(Some),
    })
}
