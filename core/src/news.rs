//! What the agent tells of as it happens, and does not keep: others who change its tables, and
//! drills. `GET /agent/events` waits for it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::drill::Drill;

/// What came after a number that somebody knew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Of this run of the agent: the next one begins anew, with other numbers.
    pub run: Uuid,
    /// Of all that was ever told in this run; 0 before the first.
    pub last: u64,
    /// Oldest first. A number that is left out was forgotten before anybody asked.
    pub items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// From 1, without a gap.
    pub number: u64,
    #[serde(serialize_with = "crate::time::millis")]
    pub at: Timestamp,
    #[serde(flatten)]
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub enum What {
    Drift(Episode),
    Drill(Drill),
}

/// Others change the tables: told when it begins and when it is over, however often they do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    pub phase: Phase,
    /// The program that did it, if the kernel told its name.
    pub by: Option<String>,
    /// How often it had to be made right so far.
    pub repairs: u64,
    /// From the notice until the kernel held the rules again.
    pub healed_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Somebody has changed them, for the first time in a while.
    Began,
    /// They are right again after that first time.
    Healed,
    /// It is done again and again; the repairs are spaced out until it stops.
    Fighting,
    /// Nobody has done it for a while.
    Over,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../tests/golden/news.json");

    #[test]
    fn the_golden_news_are_read_and_written_back_the_same() {
        let news: News = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(serde_json::to_string_pretty(&news).unwrap().trim(), GOLDEN.trim());
        assert!(matches!(&news.items[0].what, What::Drift(episode) if episode.phase == Phase::Began));
        assert!(matches!(&news.items[1].what, What::Drill(drill) if drill.kinds.is_empty()));
    }
}
