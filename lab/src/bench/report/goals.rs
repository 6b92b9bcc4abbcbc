//! What was to be reached, and what was.

use serde::Serialize;

use super::number;

/// A value is to be on one side of this.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// A goal, and the value that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Judged {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    /// Behind both numbers: what they are a multiple or an amount of.
    pub(crate) unit: String,
    pub(crate) value: Option<f64>,
    pub(crate) reached: Option<bool>,
}

impl Judged {
    pub(crate) fn new(
        what: impl Into<String>,
        bound: Bound,
        unit: impl Into<String>,
        value: Option<f64>,
    ) -> Self {
        let reached = value.map(|value| match bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        });
        Self { what: what.into(), bound, unit: unit.into(), value, reached }
    }

    pub(crate) fn wanted(&self) -> String {
        let (sign, bound) = match self.bound {
            Bound::AtMost(most) => ('≤', most),
            Bound::AtLeast(least) => ('≥', least),
        };
        format!("{sign} {} {}", number(bound), self.unit).trim_end().to_owned()
    }

    pub(crate) fn verdict(&self) -> &'static str {
        match self.reached {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "not measured",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_bound_and_never_without_a_value() {
        for (bound, value, verdict) in [
            (Bound::AtMost(1.15), Some(1.15), "reached"),
            (Bound::AtMost(1.15), Some(1.16), "**missed**"),
            (Bound::AtLeast(0.9), Some(0.9), "reached"),
            (Bound::AtLeast(0.9), Some(0.89), "**missed**"),
            (Bound::AtMost(1.15), None, "not measured"),
        ] {
            assert_eq!(Judged::new("it", bound, "×", value).verdict(), verdict, "{bound:?} {value:?}");
        }
    }
}
