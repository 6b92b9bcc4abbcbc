//! Reads a request field by field and remembers everything that is wrong with it, so that an
//! operator who made three mistakes is told of three.

use serde_json::{Map, Value};

use super::error::{Error, FieldError};
use super::suggest;

/// A field's reader says why a value cannot be used, in words that follow the field's name.
pub(super) type Read<T> = Result<T, String>;

/// An answer that lists more mistakes than this helps nobody.
pub(super) const MOST_ERRORS: usize = 32;
/// As much of an unknown field's name as is said back.
const LONGEST_NAME_TOLD: usize = 64;

pub(super) struct Fields {
    given: Map<String, Value>,
    /// What has been asked for: what else is given is compared with it.
    asked: Vec<&'static str>,
    errors: Vec<FieldError>,
    /// Where in the body this object stands: a JSON pointer, empty for the body itself.
    place: String,
    /// What a field is called in the answer: a field, or a query parameter.
    kind: &'static str,
}

impl Fields {
    pub(super) fn of_body(given: Map<String, Value>) -> Self {
        Self::at(String::new(), given)
    }

    /// An object inside of a body.
    pub(super) fn at(place: String, given: Map<String, Value>) -> Self {
        Self { given, asked: Vec::new(), errors: Vec::new(), place, kind: "field" }
    }

    pub(super) fn of_query(given: Map<String, Value>) -> Self {
        Self { kind: "query parameter", ..Self::at(String::new(), given) }
    }

    pub(super) fn wrong(&mut self, field: &str, detail: impl Into<String>) {
        let FieldError { pointer, detail } = FieldError::new(field, detail);
        self.errors.push(FieldError { pointer: format!("{}{pointer}", self.place), detail });
    }

    pub(super) fn wrong_inside(&mut self, field: &str, key: &str, detail: impl Into<String>) {
        let FieldError { pointer, detail } = FieldError::new(&shortened(key), detail);
        self.errors.push(FieldError { pointer: format!("{}/{field}{pointer}", self.place), detail });
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.given.contains_key(field)
    }

    /// None when it is absent, or wrong, which is then remembered.
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Read<T>,
    ) -> Option<T> {
        match self.take(field)? {
            Value::Null => {
                self.wrong(field, "must not be null");
                None
            }
            value => self.read(field, &value, read),
        }
    }

    pub(super) fn required<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Read<T>,
    ) -> Option<T> {
        if !self.has(field) {
            self.wrong(field, "is missing");
        }
        self.optional(field, read)
    }

    /// `Some(None)` when it is null.
    pub(super) fn nullable<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&Value) -> Read<T>,
    ) -> Option<Option<T>> {
        match self.take(field)? {
            Value::Null => Some(None),
            value => self.read(field, &value, read).map(Some),
        }
    }

    /// An object inside of this one, in which everything that is wrong is told at its place. Null is
    /// an empty one.
    pub(super) fn object<T>(&mut self, field: &'static str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let inside = match self.take(field)? {
            Value::Null => Map::new(),
            Value::Object(inside) => inside,
            _ => {
                self.wrong(field, "must be an object");
                return None;
            }
        };
        let mut inside = Self::at(format!("{}/{field}", self.place), inside);
        let read = read(&mut inside);
        self.errors.extend(inside.mistakes());
        Some(read)
    }

    /// Nothing was wrong so far.
    pub(super) fn is_well(&self) -> bool {
        self.errors.is_empty()
    }

    /// A field that is read by its own rules.
    pub(super) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.asked.push(field);
        self.given.remove(field)
    }

    fn read<T>(&mut self, field: &str, value: &Value, read: impl FnOnce(&Value) -> Read<T>) -> Option<T> {
        read(value).map_err(|detail| self.wrong(field, detail)).ok()
    }

    /// What nobody has read is unknown; with it, everything that was wrong.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        let mut errors = self.mistakes();
        errors.truncate(MOST_ERRORS);
        if errors.is_empty() { Ok(()) } else { Err(Error::Validation(errors)) }
    }

    /// For an object that is one of many: all that is wrong with it, bounded by `MOST_ERRORS` of
    /// unknown names.
    pub(super) fn mistakes(&mut self) -> Vec<FieldError> {
        for name in std::mem::take(&mut self.given).keys().take(MOST_ERRORS) {
            let mut detail = format!("is not a {} that can be given here", self.kind);
            if let Some(meant) = suggest::nearest(name, self.asked.iter().copied()) {
                detail.push_str(&format!("; did you mean {meant}?"));
            }
            self.wrong(&shortened(name), detail);
        }
        std::mem::take(&mut self.errors)
    }

    /// For a value that must be there once all is well.
    pub(super) fn finish_with<T>(self, value: Option<T>) -> Result<T, Error> {
        self.finish()?;
        // A missing value has been remembered as missing or wrong, so `finish` has refused it.
        value.ok_or_else(|| Error::Validation(Vec::new()))
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(LONGEST_NAME_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::of_body(value.as_object().unwrap().clone())
    }

    fn number(value: &Value) -> Read<u64> {
        value.as_u64().ok_or_else(|| "is not a number".to_owned())
    }

    #[test]
    fn absent_null_right_and_wrong_are_told_apart() {
        let mut given = fields(json!({"null": null, "right": 1, "wrong": "x"}));
        assert_eq!(given.nullable("absent", number), None);
        assert_eq!(given.nullable("null", number), Some(None));
        assert_eq!(given.nullable("right", number), Some(Some(1)));
        assert_eq!(given.nullable("wrong", number), None);
        assert!(matches!(given.finish(), Err(Error::Validation(errors)) if errors.len() == 1));
        let mut given = fields(json!({"null": null}));
        assert_eq!(given.optional("null", number), None);
        assert_eq!(given.required("absent", number), None);
        assert!(matches!(given.finish(), Err(Error::Validation(errors)) if errors.len() == 2));
    }

    #[test]
    fn unknown_fields_are_pointed_at_and_never_flood_the_answer() {
        let Err(Error::Validation(errors)) = fields(json!({"a/b~c": 1})).finish() else { panic!("accepted") };
        assert_eq!(errors[0].pointer, "/a~1b~0c");
        let many: Map<String, Value> =
            (0..1000).map(|n| (format!("{n}{}", "x".repeat(1000)), Value::Null)).collect();
        let Err(Error::Validation(errors)) = Fields::of_body(many).finish() else { panic!("accepted") };
        assert_eq!(errors.len(), MOST_ERRORS);
        assert!(errors.iter().all(|error| error.pointer.len() <= LONGEST_NAME_TOLD + 1));
    }
}
