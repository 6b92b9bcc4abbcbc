//! What a leak drill found: a device that is registered and closed tried every way out, and
//! somebody counted what came out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Of `POST /agent/drill`, and of the last drill in `GET /agent/status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drill {
    /// None before the first.
    #[serde(serialize_with = "crate::time::millis")]
    pub last_at: Option<Timestamp>,
    pub outcome: Option<Outcome>,
    /// When a drill last saw with its own eyes that closed is closed.
    #[serde(serialize_with = "crate::time::millis")]
    pub proven_closed_at: Option<Timestamp>,
    /// In one sentence.
    pub detail: String,
    pub took_ms: u64,
    pub kinds: Vec<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that was sent met the rules and nothing came out, while it would have come out if the
    /// device had not been closed.
    Closed,
    Leaked,
    /// Nothing is known: something is missing for the drill, or it saw too little.
    NotRun,
}

/// One way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kind {
    pub kind: String,
    /// By the closed device.
    pub sent: u64,
    /// Of these, what arrived at the rules.
    pub met: u64,
    /// Of these, what came out of the gateway.
    pub leaked: u64,
    /// Of as many that another sent, who is not closed, what came out: the proof that the way
    /// exists and that somebody was looking.
    pub control: u64,
    /// Why it was not tried, if so: the gateway has no such way.
    pub not_tried: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = include_str!("../tests/golden/drill.json");

    #[test]
    fn the_golden_drill_is_read_and_written_back_the_same() {
        let drill: Drill = serde_json::from_str(GOLDEN).unwrap();
        assert_eq!(drill.outcome, Some(Outcome::Closed));
        assert_eq!(serde_json::to_string_pretty(&drill).unwrap().trim(), GOLDEN.trim());
    }
}
