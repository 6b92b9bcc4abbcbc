//! What the operator was told, and may rely on whatever dies afterwards. A call that was not
//! answered may have been done or not, so it is nothing to rely on.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// By what was written: the fields that the answer confirmed, or that it is gone.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<String, Option<Value>>);

impl Told {
    /// A call is under way: nobody knows.
    pub(super) fn asked(&mut self, what: &str) {
        self.0.remove(what);
    }

    pub(super) fn answered(&mut self, what: &str, fields: Option<Value>) {
        self.0.insert(what.to_owned(), fields);
    }

    /// Is what is there now what was promised?
    pub(super) fn check(&self, what: &str, now: Option<&Value>) -> Result<()> {
        match (self.0.get(what), now) {
            (None, _) | (Some(None), None) => {}
            (Some(None), Some(there)) => anyhow::bail!("{what} was confirmed as gone, and is there: {there}"),
            (Some(Some(fields)), None) => anyhow::bail!("{what} was confirmed as {fields}, and is not there"),
            (Some(Some(fields)), Some(there)) => {
                let kept = fields.as_object().into_iter().flatten();
                let lost: Vec<_> = kept.filter(|(field, value)| there.get(field) != Some(value)).collect();
                ensure!(lost.is_empty(), "{what} was confirmed with {lost:?}, and is {there}");
            }
        }
        Ok(())
    }
}

/// As they are written down when they are confirmed.
pub(super) fn mapping_fields(mapping: &Value) -> Value {
    json!({ "enabled": mapping.get("enabled"), "priority": mapping.get("priority"), "port": mapping.get("port") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_confirmed_must_be_there_and_what_was_only_asked_for_may_be() {
        let (on, off) = (json!({"enabled": true, "note": ""}), json!({"enabled": false, "note": ""}));
        let mut told = Told::default();
        assert!(told.check("a", None).is_ok() && told.check("a", Some(&on)).is_ok(), "nothing was said");
        told.answered("a", Some(json!({"enabled": true})));
        assert!(told.check("a", Some(&on)).is_ok());
        assert!(told.check("a", Some(&off)).is_err() && told.check("a", None).is_err());
        told.answered("a", None);
        assert!(told.check("a", None).is_ok() && told.check("a", Some(&on)).is_err());
        told.asked("a");
        assert!(told.check("a", None).is_ok() && told.check("a", Some(&off)).is_ok());
    }
}
