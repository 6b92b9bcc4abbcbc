//! Times as documents tell them: all with as many digits, so that they stand below each other, and
//! their order is that of their texts.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Of a field that is a time, or may be one.
pub trait Told {
    fn told(&self) -> Option<String>;
}

impl Told for Timestamp {
    fn told(&self) -> Option<String> {
        Some(format!("{self:.3}"))
    }
}

impl Told for Option<Timestamp> {
    fn told(&self) -> Option<String> {
        self.as_ref().and_then(Told::told)
    }
}

/// For `#[serde(serialize_with = …)]`.
pub fn millis<T: Told, S: Serializer>(at: &T, to: S) -> Result<S::Ok, S::Error> {
    at.told().serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Row {
        #[serde(serialize_with = "millis")]
        at: Timestamp,
        #[serde(serialize_with = "millis")]
        maybe: Option<Timestamp>,
    }

    #[test]
    fn every_time_has_three_digits_and_none_is_null() {
        let at = Timestamp::from_millisecond(1_700_000_000_120).unwrap();
        for (maybe, want) in [(Some(Timestamp::UNIX_EPOCH), r#""1970-01-01T00:00:00.000Z""#), (None, "null")]
        {
            let told = serde_json::to_string(&Row { at, maybe }).unwrap();
            assert_eq!(told, format!(r#"{{"at":"2023-11-14T22:13:20.120Z","maybe":{want}}}"#));
        }
    }
}
